"""Telegram as far as a bot and its users see it: chats, messages, updates and answers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from telesession.testing.server.methods import Methods
from telesession.testing.server.updates import Updates, payload_of
from telesession.testing.server.webhook import Webhook
from telesession.testing.telegram.alerts import Alerts
from telesession.testing.telegram.bot_commands import BotCommands
from telesession.testing.telegram.bot_messages import BotMessages
from telesession.testing.telegram.business import BusinessAccounts
from telesession.testing.telegram.community import Community
from telesession.testing.telegram.directory import Directory
from telesession.testing.telegram.files import Files
from telesession.testing.telegram.games import Games
from telesession.testing.telegram.gifts import Gifts
from telesession.testing.telegram.history import Address, History, Messages, address_of
from telesession.testing.telegram.inline import InlineAnswers
from telesession.testing.telegram.managed_bots import ManagedBots
from telesession.testing.telegram.media import Media
from telesession.testing.telegram.message_methods import MessageMethods
from telesession.testing.telegram.open_queries import OpenQueries
from telesession.testing.telegram.payments import Payments
from telesession.testing.telegram.polls import Polls
from telesession.testing.telegram.profile import Profile
from telesession.testing.telegram.reactions import Reactions
from telesession.testing.telegram.service_messages import ServiceMessages
from telesession.testing.telegram.stickers import Stickers
from telesession.testing.telegram.stories import Stories
from telesession.testing.telegram.suggested_posts import SuggestedPosts
from telesession.testing.telegram.transcript import Transcript
from telesession.testing.telegram.user_profiles import UserProfiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telesession.testing.server.call import JSON, Call
    from telesession.testing.telegram.history import SentMessage
    from telesession.testing.telegram.inline import Offer


class Telegram:
    """
    The state that a bot and its users share: they act on it, and it answers.

    Threads may share it: a condition is held while a method runs, and notified of changes.

    Args:
        last_update_id: The number before the first update.
        last_message_id: The number before the first message of each chat.
    """

    def __init__(self, last_update_id: int, last_message_id: int) -> None:
        self._changed = threading.Condition()
        self._directory = Directory()
        self._history = History(self._directory, last_message_id)
        self._updates = Updates(self._changed, last_update_id)
        self._updates.listeners.append(self._note_update)
        self._webhook = Webhook(self._updates, self._changed)
        self._files = Files()
        self._queries = OpenQueries()
        self._transcript = Transcript(self._queries)
        self._history.listeners.append(self._transcript.add_message)
        self._alerts = Alerts(self._transcript.add_alert)
        service = ServiceMessages(self._history, self._updates)
        self.community = Community(
            self._changed, self._directory, self._history, self._updates, service, self._files
        )
        self._updates.is_heard = self.community.hears
        messages = BotMessages(self._directory, self._history, self.community.topics)
        self._messages = messages
        media = Media(self._files, self._directory)
        self._polls = Polls(messages, self._history, media, self._updates)
        self._payments = Payments(
            messages,
            media,
            directory=self._directory,
            service=service,
            updates=self._updates,
            alerts=self._alerts,
        )
        self._commands = BotCommands(self._directory)
        self._inline = InlineAnswers(messages, media)
        self._reactions = Reactions(messages, self._updates)
        accounts = BusinessAccounts(self._directory, messages, self._payments, self._updates)
        self._accounts = accounts
        self._methods = Methods(
            [
                {
                    "getUpdates": self._updates.poll,
                    "setWebhook": self._webhook.set,
                    "deleteWebhook": self._webhook.delete,
                    "getWebhookInfo": self._webhook.info,
                },
                MessageMethods(
                    messages, self._history, media, polls=self._polls, service=service
                ).methods(),
                self._alerts.methods(),
                self.community.methods(),
                self._files.methods(),
                self._payments.methods(),
                self._polls.methods(),
                self._commands.methods(),
                Profile(self._directory).methods(),
                UserProfiles(self._directory, media).methods(),
                Stickers(self._files, media).methods(),
                Gifts(self._directory, accounts, self._payments, media).methods(),
                accounts.methods(),
                Stories(self._directory).methods(),
                ManagedBots(self._directory).methods(),
                Games(messages, self._directory).methods(),
                SuggestedPosts(messages, self._history).methods(),
                self._inline.methods(),
                self._reactions.methods(),
            ],
            self.community.check_call,
        )
        self._calls: list[Call] = []
        # update id -> how many messages the bot had sent before
        self._sent_before: dict[int, int] = {}

    @property
    def calls(self) -> list[Call]:
        """Every call so far, in the order of arrival."""
        with self._changed:
            return list(self._calls)

    def calls_of(self, method: str) -> list[Call]:
        """
        Every call of one method so far, in the order of arrival.

        Raises `ValueError` if there was none, and the server has no such method.
        """
        with self._changed:
            found = [call for call in self._calls if call.method == method]
            if not found:
                self._methods.check(method)
            return found

    @property
    def messages(self) -> Messages:
        """
        Every message that the bot has sent so far, in order.

        An edited message is there as it reads now, in its old place; a deleted one stays.
        """
        with self._changed:
            self._polls.close_due()
            return Messages(self._history.sent)

    @property
    def updates(self) -> list[JSON]:
        """
        Every update so far, in the order of arrival, whether the bot was given it or not.

        It also has the updates that no act of a user returns, such as the message with a
        `successful_payment`. An update that was delivered several times is there once.
        """
        with self._changed:
            return list(self._updates.arrived)

    @property
    def unconfirmed(self) -> list[JSON]:
        """The updates that the bot was not given yet, or has not asked beyond."""
        with self._changed:
            self._polls.close_due()
            return list(self._updates.pending)

    def add_user(self, user: JSON, private_chat: JSON) -> None:
        """Store a user and the private chat with the bot."""
        with self._changed:
            self._directory.add_user(user)
            self._directory.add_chat(private_chat)

    def known_user(self, user_id: int) -> JSON:
        """A user as Telegram would send them now; an unknown one is made up."""
        with self._changed:
            return dict(self._directory.user(user_id))

    def add_chat(self, chat: JSON) -> None:
        """Store a chat, in place of its former fields."""
        with self._changed:
            self._directory.add_chat(chat)

    def connect_business(self, connection_id: str, *, is_enabled: bool) -> JSON:
        """Let a business account connect the bot or end that; see `BusinessChat.connect`."""
        with self._changed:
            return self._accounts.connect(connection_id, is_enabled=is_enabled)

    def is_business_connected(self, connection_id: str) -> bool:
        """Whether a connection to a business account is enabled."""
        with self._changed:
            return self._directory.is_connected(connection_id)

    def migrate(self, chat_id: int, supergroup_id: int) -> None:
        """Refuse the bot's messages to a group that is a supergroup now; see `User.upgrade`."""
        with self._changed:
            self._directory.migrate(chat_id, supergroup_id)

    def chat(self, chat_id: int) -> JSON:
        """A chat as Telegram would send it now; an unknown one is made up."""
        with self._changed:
            return dict(self._directory.chat(chat_id))

    def business_owner(self, connection_id: str) -> JSON:
        """The owner of the business account that a connection belongs to; may be made up."""
        with self._changed:
            return self._directory.owner(connection_id)

    def push(self, update: JSON) -> JSON:
        """
        Give an update to the bot, and return it with its `update_id`.

        For the kinds of updates that `User` has no method for. An `update_id` is filled in if
        there is none, and the message in the update, if any, becomes known to the server. Raises
        `ValueError` unless the update has exactly one payload, such as `message`, and
        `RuntimeError` after the server was closed.
        """
        with self._changed:
            pushed = self._updates.push(update)
            self._history.remember_update(pushed)
            self.community.note(pushed)
            return pushed

    def push_messages(
        self, kind: str, messages: list[JSON], *, ephemeral: bool = False
    ) -> list[JSON]:
        """
        Give new messages to the bot, with the next numbers of their chat, and return the updates.

        Args:
            kind: The kind of the updates, such as `message` or `business_message`.
            messages: The messages, without a `message_id`.
            ephemeral: Whether only the bot sees them. Their `message_id` is 0.
        """
        with self._changed:
            numbered = [self._history.number(one, ephemeral=ephemeral) for one in messages]
            return [self.push({kind: message}) for message in numbered]

    def begin_payment(
        self,
        payer: JSON,
        invoice: JSON | str,
        *,
        tip: int,
        shipping: str | None,
        address: Mapping[str, str | None],
    ) -> JSON:
        """
        Give the first query of a user who pays an invoice to the bot; see `User.pay`.

        Once the bot has answered that it agrees, the message with the `successful_payment` follows.

        Args:
            payer: The user.
            invoice: The message with the invoice, or the link of one.
            tip: The sum that the user adds, in the smallest units of the currency.
            shipping: The id or the title of a shipping option, or `None` for the first one.
            address: Fields of the `ShippingAddress` that differ from the made-up one; `None` for
                those that do not.
        """
        with self._changed:
            return self._payments.begin(payer, invoice, tip=tip, shipping=shipping, address=address)

    def buy_media(self, buyer: JSON, message: JSON) -> JSON:
        """Give the `purchased_paid_media` of a user to the bot; see `User.buy`."""
        with self._changed:
            return self._payments.buy_media(buyer, message)

    def vote(self, message: JSON, voter: JSON, options: Sequence[str | int]) -> JSON:
        """Let someone vote in a poll of the bot; see `User.vote`."""
        with self._changed, self._transcript.vote(message, voter, options):
            return self._polls.vote(message, voter, options)

    def react(self, message: JSON, actor: JSON, emoji: Sequence[str]) -> JSON:
        """Let someone put emoji under a message; see `User.react`."""
        with self._changed:
            return self._reactions.react(message, actor, emoji)

    def alerts_of(self, user_id: int) -> list[str]:
        """Every notice that a user was shown so far; see `User.alerts`."""
        with self._changed:
            return self._alerts.of(user_id)

    def commands_of(self, user_id: int) -> list[JSON]:
        """
        The commands that a user sees in the private chat with the bot, each as a `BotCommand`.

        They depend on the `language_code` of the user.
        """
        with self._changed:
            return self._commands.of(user_id)

    def inline_results(self, query: JSON | str) -> list[JSON]:
        """
        The results that the bot has offered in answer to a query, each as an `InlineQueryResult`.

        Args:
            query: The update that `User.inline` returned, the id of the query of a web app, or
                the id of a prepared inline message.
        """
        return [offer.result for offer in self.offers(query)]

    def offers(self, query: JSON | str) -> list[Offer]:
        """The results of a query with the messages that they become; see `User.choose`."""
        with self._changed:
            return self._inline.offers(query)

    def name_inline(self, message: Any) -> str:
        """Give a message an `inline_message_id`, and return it; see `User.choose`."""
        with self._changed:
            return self._messages.name_inline(address_of(message))

    def inline_id_of(self, message: JSON) -> str | None:
        """The `inline_message_id` of a message; `None` if it is known by its chat."""
        with self._changed:
            return self._messages.inline_id_of(Address.of(message))

    def reactions_of(self, message: Any) -> list[str]:
        """
        The emoji under a message, those of the bot and of users, in the order of the reactions.

        Args:
            message: A `SentMessage`, an update that a method of `User` returned, or telebot's
                `Message`.
        """
        with self._changed:
            return self._reactions.of(address_of(message))

    def add_stars(self, stars: int) -> None:
        """Give the bot Telegram Stars, which it spends on gifts; it has none at first."""
        with self._changed:
            self._payments.earn(stars, {"type": "other"})

    def shown(self, is_there: Callable[[SentMessage], bool]) -> Messages:
        """The bot's messages that were not deleted and for which a function is true, in order."""
        with self._changed:
            self._polls.close_due()
            sent = self._history.sent
            return Messages(one for one in sent if not one.is_deleted and is_there(one))

    def replies_to(self, update: JSON) -> Messages:
        """
        The messages that the bot has sent since an update, in the chat of it.

        An update without a chat, such as a vote, has the private chat of its user. Messages that
        were deleted since are left out.

        Raises `RuntimeError` if the update waits for the end of a block of `batch`.
        """
        with self._changed:
            if self._updates.is_in_batch(update):
                raise RuntimeError(
                    "the bot cannot have replied to an update that waits for the end of a "
                    "`with bot_api.batch():` block: ask for its replies after the block"
                )
            before = self._sent_before[update["update_id"]]
            chat_id, connection_id = _chat_of(update)
            return Messages(
                one
                for one in self._history.sent[before:]
                if one.chat_id == chat_id
                and one.business_connection_id == connection_id
                and not one.is_deleted
            )

    @property
    def transcript(self) -> str:
        """The conversation so far in words, its latest 50 lines."""
        with self._changed:
            return self._transcript.text()

    def next_message_id(self, chat_id: int) -> int:
        """A number for a new message in a chat: one more than the latest there."""
        with self._changed:
            return self._history.next_message_id(chat_id)

    def find_message(
        self,
        chat_id: int,
        message_id: int,
        *,
        business_connection_id: str | None = None,
        ephemeral_message_id: int | None = None,
    ) -> JSON | None:
        """
        A message as its chat shows it now, or `None` if it is unknown or was deleted.

        Args:
            chat_id: The chat that it is in.
            message_id: Its number there; 0 for an ephemeral message.
            business_connection_id: The connection of a chat with a business account.
            ephemeral_message_id: The number of an ephemeral message.
        """
        return self.find(Address(chat_id, message_id, business_connection_id, ephemeral_message_id))

    def find(self, address: Address) -> JSON | None:
        """A message as its chat shows it now, or `None` if it is unknown or was deleted."""
        with self._changed:
            self._polls.close_due()
            return self._history.find(address)

    def markup_of(self, message: JSON) -> JSON:
        """The keyboard of any kind that a message has now; empty if it has none."""
        with self._changed:
            return self._history.markup(Address.of(message))

    def notify(self) -> None:
        """
        Let waiting predicates look again, after a change that the server cannot know of.

        One such change is the time of a clock that stands still. Polls whose time is over close.
        """
        with self._changed:
            self._polls.close_due()
            self._changed.notify_all()

    def answer(self, call: Call) -> Any:
        """
        The `result` of a call; raises `RefusedError` where Telegram would refuse.

        Runs in a thread of the server, one call at a time.
        """
        self._polls.close_due()
        return self._methods.answer(call)

    def answer_with(self, method: str, result: Any) -> None:
        """
        Give a method an answer from now on, instead of the server's own.

        Args:
            method: The method's name, such as `"getStarTransactions"`. It may be newer than this
                server.
            result: The `result` as Telegram would send it, of JSON types.

        Raises `ValueError` for a name with `_`, such as `"get_me"`.
        """
        with self._changed:
            self._methods.give(method, result)

    def put_file(self, file_id: str, content: bytes) -> None:
        """
        Let a file have a content that a bot downloads; others have a made-up one.

        Args:
            file_id: The id of the file, as in the message of a user.
            content: The bytes of the file.
        """
        with self._changed:
            self._files.put(file_id, content)

    def _note_update(self, update: JSON) -> None:
        """Store the chat, the messages and the queries of an update."""
        self._directory.note(update)
        self._alerts.note(update)
        self._queries.note(update)
        self._inline.note(update)
        self._reactions.note(update)
        self._sent_before[update["update_id"]] = len(self._history.sent)
        self._transcript.add_update(update)


def _chat_of(update: JSON) -> tuple[int | None, str | None]:
    """The chat of an update, and its business connection if there is one."""
    _, payload = payload_of(update)
    place = payload.get("message") if "chat" not in payload else payload
    if isinstance(place, dict) and "chat" in place:
        return place["chat"]["id"], place.get("business_connection_id")
    user = payload.get("from") or payload.get("user") or payload.get("voter_chat") or {}
    return user.get("id"), None
