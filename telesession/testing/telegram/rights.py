"""The rights of administrators and the permissions of other members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from telesession.testing.server.call import JSON

_MEDIA = (
    *("can_send_audios", "can_send_documents", "can_send_photos", "can_send_videos"),
    *("can_send_video_notes", "can_send_voice_notes"),
)

_PERMISSIONS = (
    *("can_send_messages", *_MEDIA, "can_send_polls", "can_send_other_messages"),
    *("can_add_web_page_previews", "can_react_to_messages", "can_edit_tag", "can_change_info"),
    *("can_invite_users", "can_pin_messages", "can_manage_topics"),
)

# A permission that a call leaves out -> the one that it is equal to.
_DEFAULTS = {
    "can_manage_topics": "can_pin_messages",
    "can_edit_tag": "can_pin_messages",
    "can_react_to_messages": "can_send_messages",
}

_RIGHTS = (
    *("can_manage_chat", "can_change_info", "can_delete_messages", "can_invite_users"),
    *("can_restrict_members", "can_promote_members", "can_manage_video_chats"),
    *("can_post_stories", "can_edit_stories", "can_delete_stories", "can_send_welcome_messages"),
)

# The rights that only some types of chats have.
_RIGHTS_OF_TYPES = {
    "group": ("can_pin_messages", "can_manage_tags"),
    "supergroup": ("can_pin_messages", "can_manage_tags", "can_manage_topics"),
    "channel": ("can_post_messages", "can_edit_messages", "can_manage_direct_messages"),
}

#: The fields of a `ChatMemberMember` beside the user.
MEMBER: JSON = {"status": "member"}

#: The fields of a `ChatMemberLeft` beside the user.
LEFT: JSON = {"status": "left"}

#: The fields of a `ChatMemberBanned` beside the user: those of a ban without an end.
BANNED: JSON = {"status": "kicked", "until_date": 0}

#: The permissions of a member without restrictions.
ALL_PERMISSIONS = dict.fromkeys(_PERMISSIONS, True)

_PUBLIC = ALL_PERMISSIONS | {"can_change_info": False, "can_pin_messages": False}

#: The rights of an administrator who may do everything, in any type of chat.
ALL_RIGHTS = frozenset({*_RIGHTS, *(name for of in _RIGHTS_OF_TYPES.values() for name in of)})


def usual_permissions(chat: JSON) -> JSON:
    """
    The permissions of the members of a group before any change.

    Members of a public group, which is one with a `username`, pin nothing and change no title. See
    https://core.telegram.org/bots/api#chatpermissions.
    """
    return dict(_PUBLIC if "username" in chat else ALL_PERMISSIONS)


def permissions(asked: Mapping[str, Any], *, independent: bool) -> JSON:
    """
    The `ChatPermissions` that a call asks for, all of them.

    See https://core.telegram.org/bots/api#restrictchatmember.

    Args:
        asked: The `permissions` of the call.
        independent: Whether no permission implies others.
    """
    given = {name: bool(asked.get(name)) for name in _PERMISSIONS}
    given.update((name, given[like]) for name, like in _DEFAULTS.items() if name not in asked)
    if independent:
        return given
    if given["can_send_other_messages"] or given["can_add_web_page_previews"]:
        given.update(dict.fromkeys(("can_send_messages", *_MEDIA), True))
    if given["can_send_polls"]:
        given["can_send_messages"] = True
    return given


def restricted(given: JSON, until_date: int, *, is_member: bool) -> JSON:
    """
    The fields of a `ChatMemberRestricted`, or with all permissions of a plain member.

    Args:
        given: The permissions, all of them.
        until_date: The end of the restriction, in seconds since 1970; 0 is for ever.
        is_member: Whether the user is in the chat.
    """
    if given == ALL_PERMISSIONS:
        return MEMBER if is_member else LEFT
    return {"status": "restricted", "until_date": until_date, **given, "is_member": is_member}


def owner() -> JSON:
    """The fields of a `ChatMemberOwner` beside the user, of one who writes under the own name."""
    return {"status": "creator", "is_anonymous": False}


def administrator(
    chat: JSON, granted: Container[str], *, can_be_edited: bool = False, is_anonymous: bool = False
) -> JSON:
    """
    The fields of a `ChatMemberAdministrator` beside the user.

    Args:
        chat: The chat, whose type decides the rights.
        granted: The names of the rights that are granted.
        can_be_edited: Whether the bot may change the rights.
        is_anonymous: Whether the administrator writes as the chat.
    """
    names = (*_RIGHTS, *_RIGHTS_OF_TYPES[chat["type"]])
    return {
        "status": "administrator",
        "can_be_edited": can_be_edited,
        **{name: name in granted for name in names},
        # Each other right implies this one.
        "can_manage_chat": True,
        "is_anonymous": is_anonymous,
    }
