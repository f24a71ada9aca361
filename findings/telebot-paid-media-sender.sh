#!/usr/bin/env bash
# telebot cannot read the update that tells of a purchase of paid media.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: the Bot API documents two fields of PaidMediaPurchased, `from` and `paid_media_payload`.
# telebot looks for `from_user`, its own name of the attribute, and raises KeyError for every such
# update. A pre-checkout query, which has `from` as well, is read without an error.
#
# Output seen:
#   pre_checkout_query with `from`: sender 7
#   purchased_paid_media with `from`: KeyError 'from_user'
#
# For a bot author: as soon as `allowed_updates` names "purchased_paid_media", the first sale raises
# while telebot reads the updates, before any handler. In a webhook of your own, rename the field in the
# JSON before `Update.de_json`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys

from telebot.types import Update

USER = {"id": 7, "is_bot": False, "first_name": "A"}
CHECKOUT = {
    "id": "1",
    "from": USER,
    "currency": "XTR",
    "total_amount": 5,
    "invoice_payload": "p",
}
PURCHASE = {"from": USER, "paid_media_payload": "p"}

checkout = Update.de_json({"update_id": 1, "pre_checkout_query": CHECKOUT}).pre_checkout_query
print("pre_checkout_query with `from`: sender", checkout.from_user.id)
try:
    Update.de_json({"update_id": 2, "purchased_paid_media": PURCHASE})
except KeyError as error:
    print("purchased_paid_media with `from`: KeyError", error)
    if error.args != ("from_user",) or checkout.from_user.id != 7:
        sys.exit("CHANGED: another field is missing")
else:
    sys.exit("CHANGED: the purchase was read")
PYTHON
