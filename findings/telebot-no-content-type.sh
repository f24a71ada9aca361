#!/usr/bin/env bash
# telebot gives three kinds of messages no content type, so no `content_types` can match them.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: telebot reads the fields `paid_media`, `checklist` and `refunded_payment` of a message, but
# leaves `message.content_type` None. A handler for content_types=["refunded_payment"] is never called,
# while "successful_payment", its twin, works.
#
# Output seen:
#   successful_payment: content_type 'successful_payment', handler called True
#   refunded_payment: content_type None, handler called False
#   paid_media: content_type None, handler called False
#   checklist: content_type None, handler called False
#
# For a bot author: the bot takes money and never notices that it was given back. Register
# `register_message_handler(f, func=lambda m: m.refunded_payment)` before all others, without
# `content_types` (the decorator would add "text").
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys

import telebot
from telebot.types import Update

BASE = {
    "message_id": 1,
    "date": 1,
    "chat": {"id": 7, "type": "private"},
    "from": {"id": 7, "is_bot": False, "first_name": "A"},
}
PAYMENT = {
    "currency": "XTR",
    "total_amount": 5,
    "invoice_payload": "p",
    "telegram_payment_charge_id": "c",
    "provider_payment_charge_id": "d",
}
KINDS = {
    "successful_payment": PAYMENT,
    "refunded_payment": PAYMENT,
    "paid_media": {"star_count": 5, "paid_media": [{"type": "preview", "width": 1, "height": 1}]},
    "checklist": {"title": "t", "tasks": [{"id": 1, "text": "x"}]},
}

seen = {}
for kind, value in KINDS.items():
    bot = telebot.TeleBot("1:token", threaded=False)
    calls = []
    bot.message_handler(content_types=[kind])(calls.append)
    update = Update.de_json({"update_id": 1, "message": {**BASE, kind: value}})
    bot.process_new_updates([update])
    if getattr(update.message, kind) is None:
        sys.exit(f"CHANGED: telebot does not read {kind}")
    seen[kind] = (update.message.content_type, bool(calls))
    print(f"{kind}: content_type {seen[kind][0]!r}, handler called {seen[kind][1]}")

expected = dict.fromkeys(KINDS, (None, False)) | {"successful_payment": ("successful_payment", True)}
if seen != expected:
    sys.exit("CHANGED: other kinds of messages have a content type")
PYTHON
