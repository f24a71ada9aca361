#!/usr/bin/env bash
# telebot's `escape_markdown` loses a backslash before a reserved character, so another text is shown.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: the function takes `\.` in its input for a dot that is escaped already, and adds nothing. Two
# backslashes count as one. The same holds for `mbold`, `mcode` and all others that escape their text. The
# script reads the result by the rule of https://core.telegram.org/bots/api#markdownv2-style: a backslash
# before a character of ASCII stands for that character.
#
# Output seen:
#   price: 1.50 (net): shown as price: 1.50 (net)
#   ^\d+\.\d+$: shown as ^\d+.\d+$
#   \\server\share: shown as \server\share
#   D:\bot\_old: shown as D:\bot_old
#   mcode of \.: shown as .
#
# For a bot author: a bot that repeats a pattern or a Windows path of its user shows another one, and only
# sometimes. Escape with `re.sub(r"([_*\[\]()~`>#+\-=|{}.!\\])", r"\\\1", text)`, or send HTML.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import re
import sys

from telebot.formatting import escape_markdown, mcode


def shown(markdown):
    return re.sub(r"\\([\x01-\x7e])", r"\1", markdown)


texts = ["price: 1.50 (net)", r"^\d+\.\d+$", r"\\server\share", r"D:\bot\_old"]
seen = [shown(escape_markdown(text)) for text in texts]
code = shown(mcode(r"\.").strip("`\n"))
for text, result in zip([*texts, r"mcode of \."], [*seen, code], strict=True):
    print(f"{text}: shown as {result}")
if [*seen, code] != [texts[0], r"^\d+.\d+$", r"\server\share", r"D:\bot_old", "."]:
    sys.exit("CHANGED: other texts are shown")
whole = [shown(re.sub(r"([_*\[\]()~`>#+\-=|{}.!\\])", r"\\\1", text)) for text in texts]
if whole != texts:
    sys.exit("CHANGED: the plain rule does not bring the text back")
PYTHON
