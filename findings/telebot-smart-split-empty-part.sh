#!/usr/bin/env bash
# telebot's `smart_split` ends with an empty part when the text fills its last part exactly.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: the loop of `smart_split` stops when the rest is shorter than the limit, not when it fits. A
# text of exactly 4096 characters that ends with a line break, or has no space at all, gives one full part
# and an empty one. A text of 4096 characters with a space is cut in two although one message holds it.
#
# Output seen (lengths of the parts):
#   4095 characters: [4095]
#   4096 characters: [4096, 0]
#   4096 characters that end with a line break: [4096, 0]
#   4096 characters, one space after the tenth: [11, 4085]
#
# For a bot author: Telegram refuses the empty message with an error, after all others were sent; a handler
# that is repeated then sends them all again. Use `[part for part in smart_split(text) if part]`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys

from telebot.util import smart_split

TEXTS = {
    "4095 characters": "x" * 4095,
    "4096 characters": "x" * 4096,
    "4096 characters that end with a line break": ("x" * 63 + "\n") * 64,
    "4096 characters, one space after the tenth": "x" * 10 + " " + "x" * 4085,
}
seen = {name: [len(part) for part in smart_split(text)] for name, text in TEXTS.items()}
for name, lengths in seen.items():
    print(f"{name}: {lengths}")
if list(seen.values()) != [[4095], [4096, 0], [4096, 0], [11, 4085]]:
    sys.exit("CHANGED: the text is cut in other places")
PYTHON
