#!/usr/bin/env bash
# telebot's `hpre(text, language=...)` writes a language that Telegram does not read.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: Telegram reads the language of a block from `class="language-python"` (see
# https://core.telegram.org/bots/api#html-style). `hpre` writes `class="python"`. telebot's own way from a
# message to HTML, `html_text`, writes the prefix. The order of the arguments is a second trap: the second one
# of `mcode` is the language, the second one of `hpre` is `escape`, which takes any text for "yes".
#
# Output seen:
#   hpre(text, language="python"): <pre><code class="python">x = 1</code></pre>
#   hpre(text, "python"): <pre><code class="">x = 1</code></pre>
#   html_text of such a block: <pre><code class="language-python">x = 1</code></pre>
#   hpre(text, language="language-python"): <pre><code class="language-python">x = 1</code></pre>
#
# For a bot author: the code is sent without an error and shown without its language. Write
# `language="language-python"`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys

from telebot.formatting import hpre
from telebot.types import Message

message = Message.de_json(
    {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 7, "type": "private"},
        "text": "x = 1",
        "entities": [{"type": "pre", "offset": 0, "length": 5, "language": "python"}],
    }
)
seen = {
    'hpre(text, language="python")': hpre("x = 1", language="python"),
    'hpre(text, "python")': hpre("x = 1", "python"),
    "html_text of such a block": message.html_text,
    'hpre(text, language="language-python")': hpre("x = 1", language="language-python"),
}
for name, html in seen.items():
    print(f"{name}: {html}")
block = '<pre><code class="{}">x = 1</code></pre>'.format
if list(seen.values()) != [block(x) for x in ("python", "", "language-python", "language-python")]:
    sys.exit("CHANGED: the language is written in another way")
PYTHON
