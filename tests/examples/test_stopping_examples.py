"""The examples and the README's first bot, stopped by SIGTERM in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.bots import ROOT
from support.clocks import PATIENCE
from support.pages import README, blocks_of, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from telesession.testing import BotAPI


COUNTER = (ROOT / "examples" / "counter.py").read_text()
ON_SIGTERM = "signal.signal(signal.SIGTERM, signal.default_int_handler)"

# Runs a bot whose handlers answer only when the input ends.
PROGRAM = """
import runpy, sys
from telebot import TeleBot, apihelper

apihelper.API_URL = sys.argv[1]
apihelper.proxy = {"no_proxy": "127.0.0.1"}
reply_to = TeleBot.reply_to

def reply_late(*arguments):
    sys.stdin.read()
    return reply_to(*arguments)

TeleBot.reply_to = reply_late
runpy.run_path(sys.argv[2], run_name="__main__")
"""


def readme_bot() -> str:
    """The first bot of the README with the line for SIGTERM where the README says."""
    bot = next(block.code for block in blocks_of(README, "python"))
    (line,) = re.findall(r"`(signal\.signal\(.+?\))`", read(README))
    return bot.replace("bot.infinity_polling()", f"import signal\n{line}\nbot.infinity_polling()")


def stopped_with_a_backlog(source: str, api: BotAPI, folder: Path) -> tuple[int, list[str]]:
    """The exit code of a bot that gets SIGTERM with 20 confirmed updates, and its answers."""
    (folder / "bot.py").write_text(source)
    for _ in range(20):
        api.user(1).send("hi")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, api.url, "bot.py"],
        stdin=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "BOT_TOKEN": "1:stopped", "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            api.wait_until_confirmed(PATIENCE)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    return process.returncode, [message.text for message in api.messages]


@pytest.mark.parametrize("source_of", [lambda: COUNTER, readme_bot], ids=["example", "readme"])
def test_sigterm_loses_no_update(
    source_of: Callable[[], str], bot_api: BotAPI, tmp_path: Path
) -> None:
    """SIGTERM ends polling, and all 20 confirmed updates are answered, in order."""
    answers = [f"you called the bot {number} times!" for number in range(1, 21)]
    assert (0, answers) == stopped_with_a_backlog(source_of(), bot_api, tmp_path)


def test_without_its_line_sigterm_kills_the_bot(bot_api: BotAPI, tmp_path: Path) -> None:
    """Control: without the line the same example answers none of the 20."""
    source = COUNTER.replace(ON_SIGTERM, "pass")
    assert (-signal.SIGTERM, []) == stopped_with_a_backlog(source, bot_api, tmp_path)
