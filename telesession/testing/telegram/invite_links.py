"""The invite links that the bot has made, and the users who come through them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.bot_messages import require, without
from telesession.testing.telegram.rights import MEMBER

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.members import Members


class InviteLinks:
    """
    Makes, changes and revokes invite links, and lets users join.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The chats and the bot.
        members: The members of the chats.
    """

    def __init__(self, directory: Directory, members: Members) -> None:
        self._directory = directory
        self._members = members
        # (chat id, link) -> the `ChatInviteLink`
        self._links: dict[tuple[int, str], JSON] = {}
        # link -> the ids of the users who have joined through it
        self._joined: dict[str, set[int]] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "exportChatInviteLink": self._export,
            "createChatInviteLink": self._create,
            "editChatInviteLink": self._edit,
            "revokeChatInviteLink": self._revoke,
            "createChatSubscriptionInviteLink": self._create_subscription,
            "editChatSubscriptionInviteLink": self._rename,
        }

    def primary(self, chat: JSON) -> str | None:
        """The primary link of a chat, or `None` before the bot has exported one."""
        links = [link for (chat_id, _), link in self._links.items() if chat_id == chat["id"]]
        return next((str(link["invite_link"]) for link in links if _is_primary(link)), None)

    def find(self, chat: JSON, name: str) -> JSON:
        """
        The `ChatInviteLink` that leads to a chat now.

        Raises `ValueError` if it is unknown, revoked, expired or used up.
        """
        link = self._links.get((chat["id"], name))
        reason = "the bot has made no such link"
        if link is not None:
            reason = self._refusal(chat, link)
        if link is None or reason:
            raise ValueError(f"no user can join chat {chat['id']} through {name}: {reason}")
        return link

    def join(self, chat: JSON, user: JSON, name: str | None) -> JSON:
        """
        Let a user join a chat, and return the first update about it; see `Members.add`.

        Args:
            chat: The chat.
            user: The user.
            name: The link, if any.

        Raises `ValueError` if Telegram's apps would not let the user do so.
        """
        if self._members.get(chat, user["id"])["status"] == "kicked":
            raise ValueError(f"user {user['id']} cannot join chat {chat['id']}: the user is banned")
        if name is None:
            return self._members.add(chat, [user], {"from": user})
        link = self.find(chat, name)
        if link["creates_join_request"]:
            raise ValueError(f"{name} makes join requests: use request_to_join")
        return self.admit(chat, user, link, user)

    def admit(self, chat: JSON, user: JSON, link: JSON, by: JSON) -> JSON:
        """
        Let a user become a member through a link, and return the first update about it.

        Args:
            chat: The chat.
            user: The user.
            link: The `ChatInviteLink`.
            by: The `User` who lets the user in: the user, or the bot that approves a request.
        """
        record = None
        if period := link.get("subscription_period"):
            record = {**MEMBER, "until_date": int(time.time()) + period}
        self._joined.setdefault(link["invite_link"], set()).add(user["id"])
        return self._members.add(chat, [user], {"from": user}, record, by=by, invite_link=link)

    def _refusal(self, chat: JSON, link: JSON) -> str:
        """The reason why a link leads nowhere; empty if it leads to its chat."""
        present = {member["user"]["id"] for member in self._members.present(chat)}
        limit = link.get("member_limit")
        if link["is_revoked"]:
            return "it is revoked"
        if time.time() >= link.get("expire_date", float("inf")):
            return "it has expired"
        if limit and len(self._joined.get(link["invite_link"], set()) & present) >= limit:
            return f"its limit is {limit} members"
        return ""

    def _export(self, call: Call) -> str:
        chat = self._chat(call)
        if (primary := self.primary(chat)) is not None:
            self._put(chat, {**self._links[chat["id"], primary], "is_revoked": True})
        link = self._make(chat, {"creates_join_request": False}, is_primary=True)
        return str(link["invite_link"])

    def _create(self, call: Call) -> JSON:
        return self._make(self._chat(call), _settings(call))

    def _create_subscription(self, call: Call) -> JSON:
        chat = self._chat(call)
        if chat["type"] != "channel":
            raise bad_request("CHAT_INVALID")
        prices = {
            name: call.integer(name) or 0 for name in ("subscription_period", "subscription_price")
        }
        return self._make(chat, {**_name_field(call), "creates_join_request": False, **prices})

    def _edit(self, call: Call) -> JSON:
        chat, link = self._chat_and_link(call)
        fixed = ("invite_link", "creator", "is_primary", "is_revoked")
        return self._put(chat, {**{name: link[name] for name in fixed}, **_settings(call)})

    def _rename(self, call: Call) -> JSON:
        chat, link = self._chat_and_link(call)
        return self._put(chat, {**without(link, "name"), **_name_field(call)})

    def _revoke(self, call: Call) -> JSON:
        chat, link = self._chat_and_link(call)
        if _is_primary(link):
            self._make(chat, {"creates_join_request": False}, is_primary=True)
        return self._put(chat, {**link, "is_revoked": True})

    def _make(self, chat: JSON, settings: JSON, *, is_primary: bool = False) -> JSON:
        link = {
            "invite_link": f"https://t.me/+{uuid4().hex[:16]}",
            "creator": self._directory.bot,
            **settings,
            "is_primary": is_primary,
            "is_revoked": False,
        }
        return self._put(chat, link)

    def _put(self, chat: JSON, link: JSON) -> JSON:
        self._links[chat["id"], link["invite_link"]] = link
        return link

    def _chat_and_link(self, call: Call) -> tuple[JSON, JSON]:
        """The chat and the link that a call names."""
        chat = self._chat(call)
        link = self._links.get((chat["id"], str(require(call, "invite_link"))))
        if link is None:
            raise bad_request("INVITE_HASH_EXPIRED")
        return chat, link

    def _chat(self, call: Call) -> JSON:
        chat = self._directory.chat_to_write(require(call, "chat_id"))
        if chat["type"] == "private":
            raise bad_request("can't invite members to a private chat")
        return chat


def _is_primary(link: JSON) -> bool:
    """Whether a link is the primary one of its chat."""
    return bool(link["is_primary"] and not link["is_revoked"])


def _settings(call: Call) -> JSON:
    """The fields of a link that a call gives it."""
    limit = call.integer("member_limit") or 0
    asks = call.flag("creates_join_request")
    if limit and asks:
        raise bad_request(
            "member limit can't be specified for links requiring administrator approval",
        )
    # telebot sends a fraction of a second too.
    expire_date = int(float(call.params.get("expire_date") or 0))
    return {
        **_name_field(call),
        **({"expire_date": expire_date} if expire_date else {}),
        **({"member_limit": limit} if limit else {}),
        "creates_join_request": asks,
    }


def _name_field(call: Call) -> JSON:
    name = str(call.params.get("name") or "")
    return {"name": name} if name else {}
