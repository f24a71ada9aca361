#!/usr/bin/env bash
# telebot's `message.html_text` raises KeyError for a text with a date.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: telebot reads entities of the type "date_time", and `html_text` and `html_caption` have a template
# for them. The template asks for `unix_time`, and telebot fills in `unix`. Bold text, links and all other
# entities work, so the handler fails only for users who write a date.
#
# Output seen:
#   bold: Doors open at <b>20:00</b>
#   date_time: KeyError('unix_time')
#   date_time, own template: Doors open at <tg-time unix="1800000000" format="t">20:00</tg-time>
#
# For a bot author: a bot that repeats the texts of its users, as a support desk does, drops these. Set
# `message.custom_subs` to a template that has `{unix}`, before `html_text` is read.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys

from telebot.types import Message

TEMPLATE = '<tg-time unix="{unix}" format="{date_time_format}">{text}</tg-time>'
DATE = {"unix_time": 1800000000, "date_time_format": "t"}


def html(kind, fields, substitutes=None):
    message = Message.de_json(
        {
            "message_id": 1,
            "date": 1,
            "chat": {"id": 7, "type": "private"},
            "text": "Doors open at 20:00",
            "entities": [{"type": kind, "offset": 14, "length": 5, **fields}],
        }
    )
    message.custom_subs = substitutes
    try:
        return message.html_text
    except KeyError as error:
        return repr(error)


bold, date = html("bold", {}), html("date_time", DATE)
own = html("date_time", DATE, {"date_time": TEMPLATE})
print(f"bold: {bold}")
print(f"date_time: {date}")
print(f"date_time, own template: {own}")
if (bold, date) != ("Doors open at <b>20:00</b>", "KeyError('unix_time')"):
    sys.exit("CHANGED: the text is written in another way")
if own != 'Doors open at <tg-time unix="1800000000" format="t">20:00</tg-time>':
    sys.exit("CHANGED: an own template gives another text")
PYTHON
