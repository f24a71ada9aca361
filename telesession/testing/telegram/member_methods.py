"""The methods of the Bot API for the members of chats."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from telesession.testing.server.call import JSON, Call, RefusedError, bad_request
from telesession.testing.telegram.bot_messages import require, without
from telesession.testing.telegram.directory import GROUPS
from telesession.testing.telegram.members import is_present
from telesession.testing.telegram.rights import (
    ALL_RIGHTS,
    BANNED,
    LEFT,
    MEMBER,
    administrator,
    permissions,
    restricted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.members import Members

# A ban or a restriction of a shorter or a longer time is for ever.
_MIN_SECONDS = 30
_MAX_SECONDS = 366 * 86400


class _Scope(NamedTuple):
    """The types of chats that a method is for, and the refusal in others."""

    types: frozenset[str]
    refusal: str


_ALL_BUT_PRIVATE = _Scope(GROUPS | {"channel"}, "can't ban members in private chats")
_GROUPS = _Scope(GROUPS, "method is available only for groups and supergroups")
_SUPERGROUPS_AND_CHANNELS = _Scope(
    frozenset({"supergroup", "channel"}),
    "method is available for supergroup and channel chats only",
)
_SUPERGROUPS = _Scope(frozenset({"supergroup"}), "method is available only for supergroups")


class MemberMethods:
    """
    Shows, bans, restricts and promotes the members of chats.

    Args:
        directory: The chats and the bot.
        members: The members of the chats.
    """

    def __init__(self, directory: Directory, members: Members) -> None:
        self._directory = directory
        self._members = members

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "getChatMember": self._get,
            "getChatAdministrators": self._list_administrators,
            "getChatMemberCount": self._count,
            "banChatMember": self._ban,
            "unbanChatMember": self._unban,
            "restrictChatMember": self._restrict,
            "promoteChatMember": self._promote,
            "setChatAdministratorCustomTitle": self._set_custom_title,
            "setChatMemberTag": self._set_tag,
            "banChatSenderChat": self._check_sender_chat,
            "unbanChatSenderChat": self._check_sender_chat,
            "leaveChat": self._leave,
        }

    def _get(self, call: Call) -> JSON:
        chat = self._directory.chat_to_read(require(call, "chat_id"))
        return self._members.get(chat, user_id_of(call))

    def _list_administrators(self, call: Call) -> list[JSON]:
        chat = self._directory.chat_to_read(require(call, "chat_id"))
        if chat["type"] == "private":
            raise bad_request("there are no administrators in the private chat")
        found = self._members.administrators(chat)
        me = self._directory.bot
        # Telegram leaves other bots out by default.
        return [
            one
            for one in found
            if call.flag("return_bots") or not one["user"]["is_bot"] or one["user"] == me
        ]

    def _count(self, call: Call) -> int:
        chat = self._directory.chat_to_read(require(call, "chat_id"))
        return 2 if chat["type"] == "private" else len(self._members.present(chat))

    def _ban(self, call: Call) -> bool:
        chat, member = self._editable(call, _ALL_BUT_PRIVATE)
        banned = {**BANNED, "until_date": _until(call)}
        self._remove(chat, member, banned)
        return True

    def _unban(self, call: Call) -> bool:
        chat, member = self._member(call, _SUPERGROUPS_AND_CHANNELS)
        if call.flag("only_if_banned") and member["status"] != "kicked":
            return True
        _refuse_owner(member)
        self._remove(chat, member, LEFT)
        return True

    def _remove(self, chat: JSON, member: JSON, record: JSON) -> None:
        if record != without(member, "user"):
            self._members.remove(chat, member["user"], self._directory.sender, record)

    def _restrict(self, call: Call) -> bool:
        chat, member = self._editable(call, _SUPERGROUPS)
        given = permissions(
            call.json("permissions") or {},
            independent=call.flag("use_independent_chat_permissions"),
        )
        record = restricted(given, _until(call), is_member=is_present(member))
        self._change(chat, member, record)
        return True

    def _promote(self, call: Call) -> bool:
        chat, member = self._editable(call, _SUPERGROUPS_AND_CHANNELS)
        granted = {name for name in ALL_RIGHTS if call.flag(name)}
        is_anonymous = call.flag("is_anonymous")
        record = MEMBER
        if granted or is_anonymous:
            record = administrator(chat, granted, can_be_edited=True, is_anonymous=is_anonymous)
        elif not is_present(member):
            return True
        self._change(chat, member, record)
        return True

    def _set_custom_title(self, call: Call) -> bool:
        chat, member = self._member(call, _GROUPS)
        if member["status"] == "creator":
            raise bad_request("only the owner can edit their custom title")
        if member["status"] != "administrator":
            raise bad_request("user is not an administrator")
        if not member["can_be_edited"]:
            raise bad_request("not enough rights to change custom title of the user")
        self._label(chat, member, "custom_title", call.params.get("custom_title"))
        return True

    def _set_tag(self, call: Call) -> bool:
        chat, member = self._member(call, _GROUPS)
        self._label(chat, member, "tag", call.params.get("tag"))
        return True

    def _label(self, chat: JSON, member: JSON, name: str, text: str | None) -> None:
        """Give a member a title or a tag; an empty one takes it away."""
        record = without(member, "user", name)
        label = {name: text} if text else {}
        self._members.put(chat, member["user"], {**record, **label})

    def _check_sender_chat(self, call: Call) -> bool:
        self._directory.chat_to_write(require(call, "chat_id"))
        self._directory.chat(require(call, "sender_chat_id"))
        return True

    def _leave(self, call: Call) -> bool:
        chat = self._directory.chat_to_write(require(call, "chat_id"))
        if chat["type"] == "private":
            raise bad_request("can't leave private chats")
        self._members.remove_bot(chat, self._directory.sender, LEFT)
        return True

    def _change(self, chat: JSON, member: JSON, record: JSON) -> None:
        if record != without(member, "user"):
            self._members.change(chat, member["user"], record, self._directory.bot)

    def _editable(self, call: Call, scope: _Scope) -> tuple[JSON, JSON]:
        """The chat and the member that a call names, if the bot may take rights from it."""
        chat, member = self._member(call, scope)
        _refuse_owner(member)
        if member["status"] == "administrator" and not member["can_be_edited"]:
            raise bad_request("user is an administrator of the chat")
        return chat, member

    def _member(self, call: Call, scope: _Scope) -> tuple[JSON, JSON]:
        """The chat and the member that a call names, if the method is for such chats."""
        chat = self._directory.chat_to_write(require(call, "chat_id"))
        if chat["type"] not in scope.types:
            raise bad_request(f"{scope.refusal}")
        return chat, self._members.get(chat, user_id_of(call))


def user_id_of(call: Call) -> int:
    """The `user_id` of a call; raises `RefusedError` if it is no id of a user."""
    try:
        user_id = call.integer("user_id") or 0
    except RefusedError:
        user_id = 0
    if user_id <= 0:
        raise bad_request("invalid user_id specified")
    return user_id


def _refuse_owner(member: JSON) -> None:
    if member["status"] == "creator":
        raise bad_request("can't remove chat owner")


def _until(call: Call) -> int:
    """The `until_date` of a call, in seconds since 1970; 0 is for ever."""
    # telebot sends a fraction of a second too.
    until = int(float(call.params.get("until_date") or 0))
    return until if _MIN_SECONDS <= until - time.time() <= _MAX_SECONDS else 0
