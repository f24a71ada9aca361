"""People who use the bot."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self, Unpack

from telesession.testing.people.buttons import content_of, find_data, find_reply_button
from telesession.testing.people.chats import Chat, DirectMessages, Group, private_json
from telesession.testing.people.membership import Membership
from telesession.testing.people.moderation import Moderation
from telesession.testing.people.outbox import Outbox, Where
from telesession.testing.people.senders import Sender
from telesession.testing.telegram import content
from telesession.testing.telegram.history import inline_buttons
from telesession.testing.telegram.ids import new_id
from telesession.testing.telegram.inline import find_offer

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.history import Messages
    from telesession.testing.telegram.telegram import Telegram


class User(Membership, Moderation, Sender):
    """
    A Telegram user who acts on the bot: each method is one update, pushed and returned.

    Methods that send a message take the options `chat`, `topic`, `reply_to` and `ephemeral`; see
    `Where`. An act that Telegram's apps do not offer, such as one in the private chat of another
    user, is a `ValueError`.

    Args:
        telegram: The server whose bot gets the updates.
        user_id: The user's id, which is also the id of the private chat with the bot.
        profile: Further fields of https://core.telegram.org/bots/api#user, such as `username`;
            `first_name` has a default. A user who is known keeps the others.

    Raises `ValueError` if the id is not a positive number.
    """

    def __init__(self, telegram: Telegram, user_id: int, **profile: Any) -> None:
        self.id = user_id
        if user_id < 1:
            raise ValueError(f"user {user_id}: their id is a positive number")
        self.json = {**telegram.known_user(user_id), **profile}
        telegram.add_user(self.json, private_json(self.json))
        self.private_chat = Chat(user_id, telegram)
        """The private chat of this user with the bot."""
        super().__init__(telegram, Outbox(telegram, {"from": self.json}, self.private_chat))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id})"

    @property
    def messages(self) -> Messages:
        """
        The messages of the bot that only this user sees now, in order.

        They are those of the private chat, and the ephemeral ones that groups show to this user.
        """
        return self._telegram.shown(
            lambda sent: (
                sent.receiver_id == self.id
                or (sent.receiver_id is None and self.private_chat.shows(sent))
            )
        )

    @property
    def alerts(self) -> list[str]:
        """
        The notices that the bot has shown to this user, in order.

        They are the texts of its answers to presses on buttons, and the reasons why it refused a
        payment.
        """
        return self._telegram.alerts_of(self.id)

    def anonymous_in(self, group: Group) -> Self:
        """
        The same person as an anonymous administrator of a group; no update is pushed.

        There, messages, reactions and votes are those of the group. The user presses buttons, and
        writes in other chats, under the real id.
        """
        self._telegram.community.put_administrator(group.id, self.json, is_anonymous=True)
        admin: Self = copy.copy(self)
        admin._outbox = Outbox(
            self._telegram, {"from": self.json}, self.private_chat, anonymous_in=group.id
        )
        return admin

    def contact(
        self, phone_number: str = "15550100", *, person: User | None = None, **where: Unpack[Where]
    ) -> JSON:
        """
        Send a contact: the user's own, or that of another person.

        Raises `TypeError` for a phone number that is no `str`.
        """
        if not isinstance(phone_number, str):
            raise TypeError(
                f"{phone_number!r} is no phone number: give a str, and another user as person="
            )
        return self.send_content(content.contact((person or self).json, phone_number), **where)

    def suggest(
        self,
        text: str,
        *,
        photo: bool = False,
        stars: int | None = None,
        chat: DirectMessages,
        topic: int | None = None,
        reply_to: Any = None,
    ) -> JSON:
        """
        Suggest a post to a channel: a text, or a photo with the text as its caption.

        telebot 4.37.1 gives it the `content_type` `"suggested_post_info"`.

        Args:
            text: The text of the post.
            photo: Whether it is a photo.
            stars: The price that the user offers, if any.
            chat: The direct messages of the channel.
            topic: The topic there, by default the user's own.
            reply_to: The message it answers.
        """
        post = {**content.photo(), **content.caption(text)} if photo else content.text(text)
        post.update(content.suggested_post(stars))
        return self.send_content(post, chat=chat, topic=topic, reply_to=reply_to)

    def share_users(
        self, *people: User, request_id: int = 1, names: bool = False, **where: Unpack[Where]
    ) -> JSON:
        """
        Choose users, as after a press on a button that requests them (`users_shared`).

        Args:
            people: The chosen users.
            request_id: The id of the request, from the button.
            names: Whether the bot gets their names too, which the button can ask for.
            where: As for every message.
        """
        shared = content.users_shared([p.json for p in people], request_id, names=names)
        return self.send_content(shared, **where)

    def share_chat(
        self, shared: Chat, *, request_id: int = 1, names: bool = False, **where: Unpack[Where]
    ) -> JSON:
        """
        Choose a chat, as after a press on a button that requests one (`chat_shared`).

        The options are those of `share_users`; the names are the title and the username.
        """
        chosen = content.chat_shared(shared.json, request_id, names=names)
        return self.send_content(chosen, **where)

    def web_app_data(self, data: str, *, button_text: str = "Open", **where: Unpack[Where]) -> JSON:
        """Send data from a web app that a button of a reply keyboard has opened."""
        return self.send_content(content.web_app_data(data, button_text), **where)

    def summon(self, text: str, chat: Chat, *, reply_to: Any = None) -> JSON:
        """
        Mention the bot in a chat that it is no member of (`guest_message`).

        Args:
            text: The text.
            chat: The chat: a group, or the `private_chat` of another user.
            reply_to: The message it answers.
        """
        where: Where = {"chat": chat, "reply_to": reply_to}
        summons = {**content.text(text), "guest_query_id": new_id()}
        [update] = self._outbox.push([summons], kind="guest_message", **where)
        return update

    def upgrade(self, group: Group, chat_id: int) -> Group:
        """
        Make a supergroup of a group, and return it.

        Telegram tells it in both chats: two updates are pushed, first that with
        `migrate_to_chat_id` in the group, then that with `migrate_from_chat_id` in the supergroup.
        From then on the bot's messages to the group are refused with code 400, and the parameters
        of the refusal have the `migrate_to_chat_id`.

        Args:
            group: The group until now.
            chat_id: The id of the supergroup; supergroups start with `-100`.
        """
        title = group.json["title"]
        self._telegram.add_chat({"id": chat_id, "title": title, "type": "supergroup"})
        supergroup = Group(chat_id, self._telegram)
        self.send_content({"migrate_to_chat_id": chat_id}, chat=group)
        self._telegram.migrate(group.id, chat_id)
        self.send_content({"migrate_from_chat_id": group.id}, chat=supergroup)
        return supergroup

    def press(self, message: Any, data: str) -> JSON:
        """
        Press a button of a message: an inline one under it, or one of its reply keyboard.

        The button of an invoice begins a payment: a `pre_checkout_query` is pushed. Once the bot
        has agreed, the message with the `successful_payment` follows.

        A button of a reply keyboard sends its label, or the requested thing: the user's contact, a
        location, a made-up user or chat, or the data `{}` of a web app. `share_users`, `share_chat`
        and `web_app_data` send others.

        Args:
            message: A `SentMessage` or telebot's `Message`; the buttons are those it has now.
            data: The `callback_data` of the button, or its label.

        Raises `ValueError` if there is no such button, if it is an inline one that has no
        `callback_data`, or if it requests something else.
        """
        shown = self._outbox.find_to_use(message)
        markup = self._telegram.markup_of(shown)
        if any(button.get("pay") and button["text"] == data for button in inline_buttons(markup)):
            return self.pay(shown)
        if button := find_reply_button(markup, data):
            return self._outbox.push_near(shown, content_of(button, self.json))
        inline_id = self._telegram.inline_id_of(shown)
        query = {
            "id": new_id(),
            "from": self.json,
            **({"inline_message_id": inline_id} if inline_id else {"message": shown}),
            "chat_instance": str(shown["chat"]["id"]),
            "data": find_data(markup, data),
        }
        return self._telegram.push({"callback_query": query})

    def pay(
        self,
        invoice: Any,
        *,
        tip: int = 0,
        shipping: str | None = None,
        country: str | None = None,
        city: str | None = None,
    ) -> JSON:
        """
        Pay an invoice, and return the first query about it.

        That is a `pre_checkout_query`, or for an invoice with `is_flexible` a `shipping_query`,
        after which one of the bot's shipping options is chosen. The bot has 10 seconds for its
        answer to the `pre_checkout_query`. Once it has agreed, the message with the
        `successful_payment` follows. If it refuses, its reason is in `alerts`. See
        https://core.telegram.org/bots/payments.

        Args:
            invoice: The message with the invoice, or the link of `create_invoice_link`.
            tip: The sum that the user adds, in the smallest units of the currency, up to the
                `max_tip_amount` of the invoice.
            shipping: The id or the title of a shipping option, by default the first one. If the bot
                does not offer it, nothing is paid, and `alerts` has a notice.
            country: The code of the country of the user's address, by default `DE`.
            city: The city of the user's address, by default `Berlin`.

        Raises `ValueError` if there is no such invoice, or if it takes no such tip, has no shipping
        options, or asks for no address.
        """
        found = invoice if isinstance(invoice, str) else self._outbox.find_to_use(invoice)
        address = {"country_code": country, "city": city}
        return self._telegram.begin_payment(
            self.json, found, tip=tip, shipping=shipping, address=address
        )

    def buy(self, message: Any) -> JSON:
        """
        Buy the paid media in a message of the bot (`purchased_paid_media`).

        telebot 4.37.1 cannot read this update: it looks for `from_user`, where Telegram sends
        `from`, and raises `KeyError` while it polls.

        Raises `ValueError` if the message has none.
        """
        return self._telegram.buy_media(self.json, self._outbox.find_to_use(message))

    def vote(self, message: Any, *options: str | int) -> JSON:
        """
        Vote in a poll of the bot, and return the last update about it.

        The bot gets the new state of the poll, and if the poll is not anonymous then a
        `poll_answer`. An anonymous administrator of the group votes as the group (`voter_chat`).

        Args:
            message: The message with the poll.
            options: The texts or the numbers, from 0, of the chosen options; none takes the vote
                back.

        Raises `ValueError` if Telegram's apps would not offer it: the poll is closed, it takes one
        answer, or it is a quiz and the user has voted.
        """
        shown = self._outbox.find_to_use(message)
        voter = self._outbox.actor_on(shown, "voter_chat")
        return self._telegram.vote(shown, voter, options)

    def react(self, message: Any, *emoji: str) -> JSON:
        """
        Put emoji under a message, in place of this user's former ones (`message_reaction`).

        Under a post of a channel reactions are anonymous: the bot gets their counts alone
        (`message_reaction_count`).

        Args:
            message: The message, in any form.
            emoji: One of https://core.telegram.org/bots/api#reactiontypeemoji, or up to three as
                users of Telegram Premium have; none takes the former ones back.

        Raises `ValueError` if Telegram's apps would not offer it: they have no such emoji, or
        nothing would change.
        """
        shown = self._outbox.find_to_use(message)
        actor = self._outbox.actor_on(shown, "actor_chat")
        return self._telegram.react(shown, actor, emoji)

    def inline(self, query: str) -> JSON:
        """Type an inline query after the bot's name, in some chat."""
        payload = {"id": new_id(), "from": self.json, "query": query, "offset": ""}
        return self._telegram.push({"inline_query": {**payload, "chat_type": "sender"}})

    def choose(self, query: JSON, result: str, *, chat: Chat | None = None) -> JSON:
        """
        Choose a result that the bot has offered for an inline query (`chosen_inline_result`).

        Args:
            query: The update that `inline` returned.
            result: The id or the title of the result.
            chat: A chat that the bot is in, if the query was typed there. The bot gets the message
                too, before the choice, with itself as `via_bot`.

        If the result has buttons, the choice has an `inline_message_id`, by which the bot edits the
        message, and which a press on a button has in place of the message.

        Raises `ValueError` if there is no such result.
        """
        offer = find_offer(self._telegram.offers(query), result)
        asked = query["inline_query"]["query"]
        chosen = {"result_id": offer.result["id"], "from": self.json, "query": asked}
        sent = None if chat is None else self.send_content(offer.content, chat=chat)
        if "reply_markup" in offer.result:
            # Telegram tells the id only of a message that has a keyboard.
            chosen["inline_message_id"] = (
                new_id() if sent is None else self._telegram.name_inline(sent)
            )
        return self._telegram.push({"chosen_inline_result": chosen})
