#!/usr/bin/env bash
# telebot's `TextFilter(..., ignore_case=True)` ignores the case of its first pattern only.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: a filter may have several patterns, and matches if one of them does. With ignore_case=True the
# text is made lower case, and so is the first given of `equals`, `contains`, `starts_with`, `ends_with`, by
# a chain of `elif`. A capital letter in any other pattern never matches, not even the very same text.
#
# Output seen:
#   starts_with="Order": "Order 5" matches True
#   equals="Buy", starts_with="Order": "Order 5" matches False, "buy" matches True
#   the same without ignore_case: "Order 5" matches True, "buy" matches False
#
# For a bot author: a second pattern silently switches itself off. Write all patterns in lower case.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys

from telebot.custom_filters import TextFilter
from telebot.types import Message


def message(text):
    chat = {"id": 7, "type": "private"}
    return Message.de_json({"message_id": 1, "date": 1, "chat": chat, "text": text})


one = TextFilter(starts_with="Order", ignore_case=True)
two = TextFilter(equals="Buy", starts_with="Order", ignore_case=True)
exact = TextFilter(equals="Buy", starts_with="Order")
seen = [one.check(message("Order 5"))]
print(f'starts_with="Order": "Order 5" matches {seen[0]}')
for name, text_filter in (
    ('equals="Buy", starts_with="Order"', two),
    ("the same without ignore_case", exact),
):
    order, buy = text_filter.check(message("Order 5")), text_filter.check(message("buy"))
    print(f'{name}: "Order 5" matches {order}, "buy" matches {buy}')
    seen += [order, buy]
if seen != [True, False, True, True, False]:
    sys.exit("CHANGED: other texts match")
PYTHON
