"""People who write to the bot."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import uuid4

from telesession.testing import content
from telesession.testing.bot_messages import without
from telesession.testing.buttons import content_of, find_data, find_reply_button
from telesession.testing.chats import Chat, DirectMessages, Group, private_chat_of
from telesession.testing.history import inline_buttons
from telesession.testing.membership import Membership
from telesession.testing.outbox import Outbox, Where

if TYPE_CHECKING:
    from telesession.testing.bot_api import BotAPI
    from telesession.testing.call import JSON


class User(Membership):
    """
    A Telegram user who acts on the bot: each method is one update, pushed and returned.

    Methods that send a message take the options `chat`, `topic`, `reply_to` and `ephemeral`; see
    `Where`.

    Args:
        api: The server whose bot gets the updates.
        user_id: The user's id, which is also the id of the private chat with the bot.
        profile: Further fields of https://core.telegram.org/bots/api#user, such as `username`;
            `first_name` has a default.
    """

    def __init__(self, api: BotAPI, user_id: int, **profile: Any) -> None:
        self._api = api
        self.id = user_id
        self.json: JSON = {
            "id": user_id,
            "is_bot": False,
            "first_name": f"User {user_id}",
            **profile,
        }
        self._outbox = Outbox(api, self.json)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id})"

    @property
    def private_chat(self) -> Chat:
        """The private chat of this user with the bot."""
        return private_chat_of(self.json)

    def anonymous_in(self, group: Group) -> Self:
        """
        The same person as an anonymous administrator of a group; no update is pushed.

        There, messages and reactions are those of the group. Buttons are pressed, and other
        chats written to, under the real id.
        """
        admin = copy.copy(self)
        admin._outbox = Outbox(self._api, self.json, anonymous_in=group.id)
        return admin

    def send(self, text: str, **where: Unpack[Where]) -> JSON:
        """Send a text message; commands in it are marked, as Telegram does."""
        return self.send_content(content.text(text), **where)

    def photo(self, caption: str = "", **where: Unpack[Where]) -> JSON:
        """Send a photo."""
        return self.send_content({**content.photo(), **content.caption(caption)}, **where)

    def album(self, count: int = 2, caption: str = "", **where: Unpack[Where]) -> list[JSON]:
        """
        Send photos as one album: a message for each, with one `media_group_id`, in a row.

        The first one has the caption.
        """
        album = {"media_group_id": str(uuid4().int >> 65)}
        photos = [{**content.photo(), **album} for _ in range(count)]
        photos[0].update(content.caption(caption))
        return self._outbox.push(photos, **where)

    def document(
        self, caption: str = "", *, name: str = "notes.txt", **where: Unpack[Where]
    ) -> JSON:
        """Send a file with a name."""
        return self.send_content({**content.document(name), **content.caption(caption)}, **where)

    def voice(self, seconds: int = 3, **where: Unpack[Where]) -> JSON:
        """Send a voice message."""
        return self.send_content(content.voice(seconds), **where)

    def contact(
        self, phone_number: str = "15550100", *, person: User | None = None, **where: Unpack[Where]
    ) -> JSON:
        """Send a contact: the user's own, or that of another person."""
        return self.send_content(content.contact((person or self).json, phone_number), **where)

    def location(
        self, latitude: float = 52.52, longitude: float = 13.405, **where: Unpack[Where]
    ) -> JSON:
        """Send a place on the map, in degrees."""
        return self.send_content(content.location(latitude, longitude), **where)

    def checklist(self, title: str, *tasks: str, **where: Unpack[Where]) -> JSON:
        """Send a checklist; telebot 4.37.1 gives it no `content_type`."""
        return self.send_content(content.checklist(title, tasks), **where)

    def paid_media(self, stars: int = 5, caption: str = "", **where: Unpack[Where]) -> JSON:
        """Send a photo that costs stars; telebot 4.37.1 gives it no `content_type`."""
        paid = {**content.paid_media(stars), **content.caption(caption)}
        return self.send_content(paid, **where)

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

    def send_content(self, message: Mapping[str, Any], **where: Unpack[Where]) -> JSON:
        """
        Send a message of a kind that this class has no method for.

        Args:
            message: The fields of its content, such as
                `{"dice": {"emoji": "🎲", "value": 4}}`.
            where: As for every message.
        """
        [update] = self._outbox.push([dict(message)], **where)
        return update

    def summon(self, text: str, chat: Chat, *, reply_to: Any = None) -> JSON:
        """
        Mention the bot in a chat that it is no member of (`guest_message`).

        Args:
            text: The text.
            chat: The chat: a group, or the `private_chat` of another user.
            reply_to: The message it answers.
        """
        summons = {**content.text(text), "guest_query_id": _query_id()}
        [update] = self._outbox.push([summons], chat, reply_to=reply_to, kind="guest_message")
        return update

    def upgrade(self, group: Group, chat_id: int) -> Group:
        """
        Make a supergroup of a group, and return it.

        Telegram tells it in both chats: two updates are pushed, first that with
        `migrate_to_chat_id` in the group, then that with `migrate_from_chat_id` in the supergroup.

        Args:
            group: What it was until now.
            chat_id: The id of the supergroup; supergroups start with `-100`.
        """
        supergroup = self._api.group(chat_id, title=group.json.get("title"))
        self.send_content({"migrate_to_chat_id": chat_id}, chat=group)
        self.send_content({"migrate_from_chat_id": group.id}, chat=supergroup)
        return supergroup

    def edit(self, message: Any, text: str) -> JSON:
        """Edit a message that this user sent; `message` is the update that `send` returned."""
        former = without(self._outbox.find(message), "entities")
        edited = {**former, "edit_date": int(time.time()), **content.text(text)}
        kind = "business_message" if "business_connection_id" in former else "message"
        return self._api.push({f"edited_{kind}": edited})

    def press(self, message: Any, data: str) -> JSON:
        """
        Press a button of a message: an inline one under it, or one of its reply keyboard.

        The button of an invoice begins a payment: a `pre_checkout_query` is pushed. Once the bot
        has agreed, the message with the `successful_payment` follows.

        A button of a reply keyboard sends its label, or what it requests: the user's contact, a
        location, a made-up user or chat, or the data `{}` of a web app. `share_users`,
        `share_chat` and `web_app_data` send others.

        Args:
            message: A `SentMessage` or telebot's `Message`; the buttons are those it has now.
            data: The `callback_data` of the button, or its label.

        Raises `ValueError` if there is no such button, if it is an inline one that has no
        `callback_data`, or if it requests something else.
        """
        shown = self._outbox.find(message)
        markup = self._api.markup_of(shown)
        if "invoice" in shown and any(
            button.get("pay") and button["text"] == data for button in inline_buttons(markup)
        ):
            return self._api.begin_payment(self.json, shown)
        if button := find_reply_button(markup, data):
            return self._outbox.push_near(shown, content_of(button, self.json))
        query = {
            "id": _query_id(),
            "from": self.json,
            "message": shown,
            "chat_instance": str(shown["chat"]["id"]),
            "data": find_data(markup, data),
        }
        return self._api.push({"callback_query": query})

    def react(self, message: Any, emoji: str) -> JSON:
        """Put an emoji under a message, in place of this user's former ones."""
        shown = self._outbox.find(message)
        is_anonymous = shown["chat"]["id"] == self._outbox.anonymous_in
        reaction = {
            "chat": shown["chat"],
            "message_id": shown["message_id"],
            **({"actor_chat": shown["chat"]} if is_anonymous else {"user": self.json}),
            "date": int(time.time()),
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": emoji}],
        }
        return self._api.push({"message_reaction": reaction})

    def inline(self, query: str) -> JSON:
        """Type an inline query after the bot's name, in some chat."""
        payload = {"id": _query_id(), "from": self.json, "query": query, "offset": ""}
        return self._api.push({"inline_query": {**payload, "chat_type": "sender"}})


def _query_id() -> str:
    # Not from the clock: it may be frozen.
    return str(uuid4().int >> 65)
