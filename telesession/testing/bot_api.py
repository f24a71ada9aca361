"""A small Telegram Bot API server on the loopback interface, for tests without a network."""

from __future__ import annotations

import threading
from collections import Counter, deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from telebot import apihelper

from telesession.testing.alerts import Alerts
from telesession.testing.boosts import Boosts
from telesession.testing.bot_messages import BotMessages
from telesession.testing.call import JSON, Call, RefusedError
from telesession.testing.chat_settings import ChatSettings
from telesession.testing.chats import BusinessChat, Chat, DirectMessages, Group
from telesession.testing.directory import Directory, bot_user
from telesession.testing.files import Files
from telesession.testing.history import Address, History, Messages
from telesession.testing.invite_links import InviteLinks
from telesession.testing.join_requests import JoinRequests
from telesession.testing.media import Media
from telesession.testing.member_methods import MemberMethods
from telesession.testing.members import BANNED, Members
from telesession.testing.message_methods import MessageMethods
from telesession.testing.methods import Methods
from telesession.testing.payments import Payments
from telesession.testing.polls import Polls
from telesession.testing.rights import ALL_RIGHTS, administrator
from telesession.testing.server import Server
from telesession.testing.service_messages import ServiceMessages
from telesession.testing.topics import Topics
from telesession.testing.updates import Updates
from telesession.testing.users import User
from telesession.testing.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

_DESCRIPTIONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    409: "Conflict: terminated by other getUpdates request; make sure that only one bot instance "
    "is running",
    429: "Too Many Requests: retry after {retry_after}",
    500: "Internal Server Error",
    502: "Bad Gateway",
}


class BotAPI:
    """
    A Telegram Bot API server on a free loopback port, which every bot of this process talks to.

    From `start` to `close` telebot's `apihelper.API_URL` and `FILE_URL` point here (and
    `apihelper.proxy` keeps loopback requests off any proxy); then all are as before. Stop the bots
    before closing it: a bot that is still polling would go on with the real Telegram. Keep one for
    a test. Threads may share it.

    The server has one bot: the one that polls gets the updates, with any token. It answers every
    method of telebot, and keeps what the bot did: messages, polls, payments, members and so on. It
    refuses a method that it does not know, see `answer_with`. Subclasses may override `answer` to
    do more.

    `url` is for bots in other processes: what to assign to their `apihelper.API_URL`. It is empty
    before `start`.

    Args:
        last_update_id: The number before the first update. A bot with an inbox recognises updates
            by their numbers, also those of an earlier `BotAPI`.
        last_message_id: The number before the first message of each chat. A bot that keeps its
            questions in a file recognises their messages by these numbers.
    """

    def __init__(self, *, last_update_id: int = 0, last_message_id: int = 0) -> None:
        self.url = ""
        self._changed = threading.Condition()
        self._directory = Directory()
        self._history = History(self._directory, last_message_id)
        self._updates = Updates(self._changed, last_update_id)
        self._webhook = Webhook(self._updates, self._changed)
        self._files = Files()
        self._alerts = Alerts()
        service = ServiceMessages(self._history, self._updates)
        self._topics = Topics(self._directory, self._history, service)
        self._members = Members(self._directory, service, self._updates)
        self._links = InviteLinks(self._directory, self._members)
        self._requests = JoinRequests(self._directory, self._members, self._links)
        self._boosts = Boosts(self._directory, self._updates)
        settings = ChatSettings(
            self._directory, self._history, service, links=self._links, files=self._files
        )
        messages = BotMessages(self._directory, self._history, self._topics)
        media = Media(self._files)
        self._polls = Polls(messages, self._updates)
        self._payments = Payments(
            messages,
            media,
            directory=self._directory,
            service=service,
            updates=self._updates,
            alerts=self._alerts,
        )
        self._methods = Methods(
            [
                {
                    "getMe": _get_me,
                    "getUpdates": self._updates.poll,
                    "setWebhook": self._webhook.set,
                    "deleteWebhook": self._webhook.delete,
                    "getWebhookInfo": self._webhook.info,
                },
                MessageMethods(messages, self._history, media).methods(),
                self._alerts.methods(),
                self._boosts.methods(),
                self._files.methods(),
                self._links.methods(),
                MemberMethods(self._directory, self._members).methods(),
                self._payments.methods(),
                self._polls.methods(),
                self._requests.methods(),
                settings.methods(),
                self._topics.methods(),
            ]
        )
        self._answers: dict[str, Any] = {}
        self._calls: list[Call] = []
        self._failures: dict[str, deque[RefusedError]] = {}
        self._server: Server | None = None
        self._former: tuple[Any, Any, Any] = (None, None, None)

    @staticmethod
    def running() -> BotAPI:
        """
        The server that telebot talks to now.

        Raises `RuntimeError` if there is none.
        """
        api: BotAPI | None = getattr(apihelper.API_URL, "api", None)
        if api is None:
            raise RuntimeError(
                "no loopback Bot API is running, and this would reach the real Telegram: "
                "put it into a `with BotAPI() as api:` block"
            )
        return api

    def start(self) -> Self:
        """Start the server, unless it runs, and point telebot at it. Returns the server itself."""
        if self._server is not None:
            return self
        self._server = Server(self._receive, self._download)
        self._server.start()
        self.url = f"{self._server.url}/bot{{0}}/{{1}}"
        self._former = apihelper.API_URL, apihelper.FILE_URL, apihelper.proxy
        apihelper.API_URL = _Address(self.url, self)  # type: ignore[assignment]
        # Else a download would go to the real server, with the token in its URL.
        apihelper.FILE_URL = f"{self._server.url}/file/bot{{0}}/{{1}}"  # type: ignore[assignment]
        apihelper.proxy = {"no_proxy": "127.0.0.1"}  # type: ignore[assignment]
        return self

    def close(self) -> None:
        """
        Stop the server and point telebot where it pointed before; may be repeated.

        Polls that wait are answered at once.
        """
        if self._server is None:
            return
        self._webhook.close()
        with self.short_polls():
            self._server.stop()
        self._server = None
        apihelper.API_URL, apihelper.FILE_URL, apihelper.proxy = self._former

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def calls(self) -> list[Call]:
        """Every call so far, in the order of arrival."""
        with self._changed:
            return list(self._calls)

    def calls_of(self, method: str) -> list[Call]:
        """Every call of one method so far, in the order of arrival."""
        return [call for call in self.calls if call.method == method]

    @property
    def messages(self) -> Messages:
        """
        Every message that the bot has sent so far, in order.

        An edited message is there as it reads now, in its old place; a deleted one stays.
        """
        with self._changed:
            return Messages(self._history.sent)

    @property
    def unconfirmed(self) -> list[JSON]:
        """The updates that the bot was not given yet, or has not asked beyond."""
        with self._changed:
            return list(self._updates.pending)

    def user(self, user_id: int, **profile: Any) -> User:
        """A person who writes to the bot, see `User`."""
        user = User(self, user_id, **profile)
        with self._changed:
            self._directory.add_user(user.json)
        return user

    def group(
        self,
        chat_id: int,
        *,
        title: str | None = None,
        forum: bool = False,
        owner: User | None = None,
    ) -> Group:
        """
        A group that the bot is in, as an administrator with all rights.

        Args:
            chat_id: Its id, a negative number; supergroups start with `-100`.
            title: Its title, by default made up from the id.
            forum: Whether it has topics.
            owner: The user who has made it, its member with the status `creator`.
        """
        with self._changed:
            chat = self._directory.chat(chat_id)
            if title is not None:
                chat["title"] = title
            if forum:
                chat.update(type="supergroup", is_forum=True)
            if owner is not None:
                self._members.put(chat, owner.json, {"status": "creator", "is_anonymous": False})
        return Group(chat_id, chat)

    def direct_messages(self, chat_id: int, *, title: str = "News") -> DirectMessages:
        """
        The direct messages of a channel that the bot administers.

        Args:
            chat_id: The id of the chat with them, which differs from that of the channel.
            title: The title of the channel.
        """
        chat = {"id": chat_id, "type": "supergroup", "title": title, "is_direct_messages": True}
        with self._changed:
            self._directory.add_chat(chat)
        return DirectMessages(chat_id, chat)

    def business_chat(
        self, customer: User, *, owner: User | None = None, connection_id: str = "business-1"
    ) -> BusinessChat:
        """
        The chat of a customer with a business account that the bot answers for.

        Both write in it with `chat=`, and the bot gets `business_message` updates.

        Args:
            customer: The user who writes to the business account.
            owner: The owner of the account, by default a made-up one.
            connection_id: The id of the business connection, one for each account.
        """
        with self._changed:
            if owner is not None:
                self._directory.add_owner(connection_id, owner.json)
            known = self._directory.owner(connection_id)
        return BusinessChat(customer.id, customer.private_chat.json, connection_id, known)

    def push(self, update: JSON) -> JSON:
        """
        Give an update to the bot, and return it with its `update_id`.

        For the kinds of updates that `User` has no method for. An `update_id` is filled in if
        there is none, and the message in the update, if any, becomes known to the server. Raises
        `ValueError` unless the update has exactly one payload, such as `message`.
        """
        with self._changed:
            pushed = self._updates.push(update)
            self._history.remember_update(pushed)
            for part in (self._alerts, self._members, self._requests, self._topics):
                part.note(pushed)
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

    def begin_payment(self, payer: JSON, invoice: JSON | str, *, tip: int = 0) -> JSON:
        """
        Give the first query of a user who pays an invoice to the bot; see `User.pay`.

        Once the bot has answered that it agrees, the message with the `successful_payment` follows.

        Args:
            payer: The user.
            invoice: The message with the invoice, or the link of one.
            tip: What the user adds, in the smallest units of the currency.
        """
        with self._changed:
            return self._payments.begin(payer, invoice, tip=tip)

    def buy_media(self, buyer: JSON, message: JSON) -> JSON:
        """Give the `purchased_paid_media` of a user to the bot; see `User.buy`."""
        with self._changed:
            return self._payments.buy_media(buyer, message)

    def join(self, user: JSON, chat: Chat, link: str | None) -> JSON:
        """Let a user join a chat, through a link if there is one; see `User.join`."""
        with self._changed:
            return self._links.join(self._known(chat), user, link)

    def add_members(self, chat: Chat, people: Sequence[JSON], sender: JSON) -> JSON:
        """
        Let someone add members to a chat; see `User.invite`.

        Args:
            chat: The chat.
            people: The new members.
            sender: The fields of the message about them that say who added them.
        """
        with self._changed:
            return self._members.add(self._known(chat), people, sender)

    def remove_member(
        self, chat: Chat, user: JSON, sender: JSON, *, is_banned: bool = False
    ) -> JSON:
        """
        Let a user leave a chat, or be banned there; see `User.leave` and `User.ban`.

        Args:
            chat: The chat.
            user: The user.
            sender: The fields of the message about it that say who did so.
            is_banned: Whether the user cannot come back.
        """
        with self._changed:
            record = BANNED if is_banned else None
            return self._members.remove(self._known(chat), user, sender, record)

    def promote_member(self, chat: Chat, user: JSON, by: JSON, custom_title: str | None) -> JSON:
        """Make a user an administrator of a chat; see `User.promote`."""
        with self._changed:
            known = self._known(chat)
            record = administrator(known, ALL_RIGHTS)
            if custom_title is not None:
                record["custom_title"] = custom_title
            return self._members.change(known, user, record, by)

    def add_bot(self, chat: Chat, sender: JSON, *, is_administrator: bool = False) -> JSON:
        """Let someone add or unblock the bot; see `User.add_bot` and `User.unblock`."""
        with self._changed:
            known = self._known(chat)
            return self._members.add_bot(known, sender, is_administrator=is_administrator)

    def remove_bot(self, chat: Chat, sender: JSON) -> JSON:
        """Let someone ban or block the bot; see `User.remove_bot` and `User.block`."""
        with self._changed:
            return self._members.remove_bot(self._known(chat), sender, BANNED)

    def invite_link(self, chat: Chat, link: str) -> JSON:
        """
        The `ChatInviteLink` of a link that the bot has made.

        Raises `ValueError` if it is unknown, revoked, expired or used up.
        """
        with self._changed:
            return self._links.find(self._known(chat), link)

    def boost(self, user: JSON, chat: Chat) -> JSON:
        """Let a user boost a chat; see `User.boost`."""
        with self._changed:
            return self._boosts.add(self._known(chat), user)

    def unboost(self, user: JSON, chat: Chat) -> JSON:
        """Let a user take a boost back; see `User.unboost`."""
        with self._changed:
            return self._boosts.remove(self._known(chat), user)

    def members_of(self, chat_id: int) -> list[JSON]:
        """The `ChatMember` of everybody who is in a chat now, the bot first."""
        with self._changed:
            return self._members.present(self._directory.chat(chat_id))

    def administrators_of(self, chat_id: int) -> list[JSON]:
        """The `ChatMember` of the owner and of each administrator of a chat, the bot first."""
        with self._changed:
            return self._members.administrators(self._directory.chat(chat_id))

    def topics_of(self, chat_id: int) -> list[JSON]:
        """
        The topics that a chat has now, by their ids.

        Each is a `ForumTopic` with two more fields: `is_closed` and `is_hidden`. In a forum, the
        first one is the general topic, with the `message_thread_id` 1.
        """
        with self._changed:
            return [dict(topic) for topic in self._topics.of(self._directory.chat(chat_id))]

    def pinned_in(self, chat_id: int) -> list[JSON]:
        """The pinned messages of a chat, the latest pin first."""
        with self._changed:
            return self._history.pinned(chat_id)

    def title_of(self, chat_id: int) -> str:
        """The title that a group or a channel has now."""
        with self._changed:
            return str(self._directory.chat(chat_id)["title"])

    def vote(self, message: JSON, voter: JSON, options: Sequence[str | int]) -> JSON:
        """Let someone vote in a poll of the bot; see `User.vote`."""
        with self._changed:
            return self._polls.vote(message, voter, options)

    def alerts_of(self, user_id: int) -> list[str]:
        """Every notice that a user was shown so far; see `User.alerts`."""
        with self._changed:
            return self._alerts.of(user_id)

    def shown_in(self, *chat_ids: int) -> Messages:
        """The bot's messages that some chats show now to everybody there, in order."""
        with self._changed:
            return self._history.shown(chat_ids)

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
            return self._history.find(address)

    def markup_of(self, message: JSON) -> JSON:
        """The keyboard of any kind that a message has now; empty if it has none."""
        with self._changed:
            return self._history.markup(Address.of(message))

    def fail_next(
        self,
        method: str,
        code: int,
        *,
        description: str | None = None,
        retry_after: int = 1,
        times: int = 1,
    ) -> None:
        """
        Refuse the next calls of a method.

        Args:
            method: The method's name, such as `"sendMessage"`.
            code: The error code: 429 for too many requests, 403 for a user who blocked the bot.
            description: The error's description, by default as Telegram words it for the code.
            retry_after: Seconds to wait that the error asks for, with code 429 only.
            times: How many calls to refuse.
        """
        if description is None:
            description = _DESCRIPTIONS.get(code, "Error").format(retry_after=retry_after)
        limited = code == HTTPStatus.TOO_MANY_REQUESTS
        failure = RefusedError(code, description, retry_after if limited else None)
        with self._changed:
            self._failures.setdefault(method, deque()).extend([failure] * times)

    def wait_for(
        self, predicate: Callable[[], Any], timeout: float | None = 10, *, what: str = "it"
    ) -> Any:
        """
        Wait until a predicate is true, and return what it returned.

        Args:
            predicate: Called at once and then after each call of a bot, each update and each
                `notify`, while the server stands still. It may look at anything, but must not
                wait itself.
            timeout: Real seconds to wait at most, even while the clock is frozen; `None` waits
                for ever.
            what: What is being waited for, for the error message.

        Raises `TimeoutError`, saying what was there instead.
        """
        with self._changed:
            result = self._changed.wait_for(predicate, timeout)
            if not result:
                raise TimeoutError(f"waited {timeout:g} s for {what}, in vain: {self._summary()}")
            return result

    def wait_for_messages(self, count: int, timeout: float | None = 10) -> Messages:
        """
        Wait until the bot has sent so many messages, and return all that it has sent.

        Raises `TimeoutError` after `timeout` real seconds, saying what it had sent by then.
        """
        self.wait_for(
            lambda: len(self._history.sent) >= count, timeout, what=f"{count} messages of the bot"
        )
        return self.messages

    def wait_until_confirmed(self, timeout: float | None = 10) -> None:
        """
        Wait until the bot has confirmed every update, by asking for later ones.

        A bot without threads has then handled them all; for others see `Polling.wait_idle`.
        Raises `TimeoutError` after `timeout` real seconds.
        """
        self.wait_for(lambda: not self._updates.pending, timeout, what="updates to be confirmed")

    def notify(self) -> None:
        """Let waiting predicates look again, after a change that the server cannot know of."""
        with self._changed:
            self._changed.notify_all()

    def short_polls(self) -> AbstractContextManager[None]:
        """A `with` block in which `getUpdates` never waits; entering it ends the waits."""
        return self._updates.short()

    def answer(self, call: Call) -> Any:
        """
        The `result` of a call; raises `RefusedError` where Telegram would refuse.

        Runs in a thread of the server, one call at a time.
        """
        if call.method in self._answers:
            return self._answers[call.method]
        return self._methods.answer(call)

    def answer_with(self, method: str, result: Any) -> None:
        """
        Give a method an answer from now on, instead of the server's own.

        Args:
            method: The method's name, such as `"getStarTransactions"`.
            result: The `result` as Telegram would send it, of JSON types.
        """
        with self._changed:
            self._answers[method] = result

    def put_file(self, file_id: str, content: bytes) -> None:
        """
        Let a file have a content that a bot downloads; others have a made-up one.

        Args:
            file_id: The id of the file, as in the message of a user.
            content: The bytes of the file.
        """
        with self._changed:
            self._files.put(file_id, content)

    def _known(self, chat: Chat) -> JSON:
        """A chat as the server knows it, from now on if it did not."""
        self._directory.add_chat(dict(chat.json))
        return self._directory.chat(chat.id)

    def _download(self, path: str) -> bytes:
        with self._changed:
            return self._files.download(path)

    def _receive(self, call: Call) -> Any:
        with self._changed:
            self._calls.append(call)
            self._directory.bot = bot_user(call.token)
            self._changed.notify_all()
            if failures := self._failures.get(call.method):
                raise failures.popleft()
            try:
                return self.answer(call)
            finally:
                self._changed.notify_all()

    def _summary(self) -> str:
        calls = Counter(call.method for call in self._calls)
        return (
            f"the bot has sent {[message.text for message in self._history.sent]}, called "
            f"{dict(calls)}, and left {len(self._updates.pending)} updates unconfirmed"
        )


def _get_me(call: Call) -> JSON:
    return {
        **bot_user(call.token),
        "can_join_groups": True,
        "can_read_all_group_messages": True,
        "supports_inline_queries": True,
    }


class _Address(str):
    """The url of a `BotAPI`, which knows its server."""

    api: BotAPI

    def __new__(cls, url: str, api: BotAPI) -> Self:
        address = super().__new__(cls, url)
        address.api = api
        return address
