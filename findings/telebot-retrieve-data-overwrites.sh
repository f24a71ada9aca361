#!/usr/bin/env bash
# telebot's `retrieve_data` writes a whole old copy back, also when its block raises.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: `with bot.retrieve_data(user) as data` copies the user's data on entry and stores the copy on
# exit, without a lock, a comparison or a look at the exception. Two handlers of one user that are inside
# at once lose one of two changes, even of different fields. `add_data` inside the block is lost as well.
# A block that raises in its middle stores its first half.
#
# Output seen:
#   two handlers, each sets a field of its own: {'second': 2}
#   add_data inside the block: {'inside': True}
#   block that raises between two fields: {'paid': True}
#
# For a bot author: telebot handles two messages of one user in two threads, so this happens to users who
# write quickly. Keep the block free of other calls, and hold a lock for each user, or use sessions that
# do so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys
import threading

import telebot
from telebot.storage import StateMemoryStorage


def make_bot():
    bot = telebot.TeleBot("1:token", threaded=False, state_storage=StateMemoryStorage())
    bot.set_state(7, "ordering")
    return bot


def stored(bot):
    return dict(bot.current_states.get_data(7, 7, bot_id=bot.bot_id))


bot = make_bot()
entered = threading.Barrier(2)
left = threading.Event()


def first():
    with bot.retrieve_data(7) as data:
        entered.wait()
        data["first"] = 1
    left.set()


def second():
    with bot.retrieve_data(7) as data:
        entered.wait()
        left.wait()
        data["second"] = 2


threads = [threading.Thread(target=target) for target in (first, second)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
two = stored(bot)

bot = make_bot()
with bot.retrieve_data(7) as data:
    bot.add_data(7, added=True)
    data["inside"] = True
inside = stored(bot)

bot = make_bot()
try:
    with bot.retrieve_data(7) as data:
        data["paid"] = True
        data["address"] = {}["address"]
except KeyError:
    pass
raised = stored(bot)

print("two handlers, each sets a field of its own:", two)
print("add_data inside the block:", inside)
print("block that raises between two fields:", raised)
if (two, inside, raised) != ({"second": 2}, {"inside": True}, {"paid": True}):
    sys.exit("CHANGED: other data was stored")
PYTHON
