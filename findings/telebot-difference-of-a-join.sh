#!/usr/bin/env bash
# telebot's `ChatMemberUpdated.difference` raises KeyError for a user who joins.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: Telegram describes a member by another type for each status. `difference` looks up every attribute
# of the new type in the old one, where it may not exist. All changes to a status with more fields raise: join,
# promotion, restriction. The changes to a status with fewer fields work, and the fields that go are not in it.
#
# Output seen:
#   left -> member: KeyError('until_date')
#   member -> administrator: KeyError('can_be_edited')
#   member -> restricted: KeyError('is_member')
#   administrator -> member: KeyError('until_date')
#   member -> left: {'status': ['member', 'left']}
#   member -> kicked: {'status': ['member', 'kicked'], 'until_date': [None, 0]}
#
# For a bot author: a log of members works in the test with a ban and fails with the first user who joins.
# Compare `old_chat_member.status` with `new_chat_member.status`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys

from telebot.types import ChatMemberUpdated

ADA = {"id": 7, "is_bot": False, "first_name": "Ada"}
ADMINISTRATOR = [
    "can_be_edited",
    "is_anonymous",
    "can_manage_chat",
    "can_delete_messages",
    "can_manage_video_chats",
    "can_restrict_members",
    "can_promote_members",
    "can_change_info",
    "can_invite_users",
    "can_post_stories",
    "can_edit_stories",
    "can_delete_stories",
]
RESTRICTED = [
    "is_member",
    "can_send_messages",
    "can_send_audios",
    "can_send_documents",
    "can_send_photos",
    "can_send_videos",
    "can_send_video_notes",
    "can_send_voice_notes",
    "can_send_polls",
    "can_send_other_messages",
    "can_add_web_page_previews",
    "can_change_info",
    "can_invite_users",
    "can_pin_messages",
    "can_manage_topics",
    "can_edit_tag",
    "can_react_to_messages",
]
FIELDS = {
    "left": {},
    "member": {},
    "kicked": {"until_date": 0},
    "administrator": dict.fromkeys(ADMINISTRATOR, False),
    "restricted": dict.fromkeys(RESTRICTED, False) | {"until_date": 0},
}


def difference(old, new):
    member = {"user": ADA}
    update = {
        "chat": {"id": -5, "type": "supergroup", "title": "g"},
        "from": ADA,
        "date": 1,
        "old_chat_member": {**member, "status": old, **FIELDS[old]},
        "new_chat_member": {**member, "status": new, **FIELDS[new]},
    }
    try:
        return str(ChatMemberUpdated.de_json(update).difference)
    except KeyError as error:
        return repr(error)


seen = {}
for old, new in (
    ("left", "member"),
    ("member", "administrator"),
    ("member", "restricted"),
    ("administrator", "member"),
    ("member", "left"),
    ("member", "kicked"),
):
    seen[old, new] = difference(old, new)
    print(f"{old} -> {new}: {seen[old, new]}")
if [value.startswith("KeyError") for value in seen.values()] != [True] * 4 + [False] * 2:
    sys.exit("CHANGED: other changes raise")
PYTHON
