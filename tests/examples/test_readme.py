"""The README, run as it is."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types
from telebot.storage import StatePickleStorage

import telesession
from support.bots import ROOT
from support.clocks import PATIENCE
from telesession import Sessions
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.usefixtures("fresh_process")


README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
HEADINGS = [
    re.findall(r"^#+ (.*)$", README[: README.index(block)], re.MULTILINE)[-1] for block in BLOCKS
]
BOT, *REST = BLOCKS
BEFORE, AFTER = (block for block in REST if "fetch_rate" in block)
TEST_FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", README, re.DOTALL))


class TestReadme:
    def test_the_bot_is_short(self) -> None:
        """The bot on the first screen has fewer than fifteen lines."""
        assert 15 > len(BOT.splitlines()) > 0

    def test_the_bot_is_the_counter(self) -> None:
        """The bot on the first screen is examples/counter.py, but for how it is run."""
        counter = (ROOT / "examples" / "counter.py").read_text().splitlines()
        different = [line for line in BOT.splitlines() if line not in counter]
        assert ['bot = TeleBot(os.environ["BOT_TOKEN"])', "bot.infinity_polling()"] == different
        handler = BOT[BOT.index("@bot") : BOT.index("bot.infinity")].rstrip()
        assert handler in "\n".join(counter)

    def test_the_bot_runs_as_it_is(self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pasted and run with a token, the bot polls and counts each user alone."""
        monkeypatch.setenv("BOT_TOKEN", "1:pasted")
        program: dict[str, Any] = {}
        thread = threading.Thread(target=lambda: exec(BOT, program), daemon=True)
        thread.start()
        try:
            for number, user in enumerate((1, 2, 1), start=1):
                bot_api.user(user).send("hi")
                messages = bot_api.wait_for_messages(number, PATIENCE)
        finally:
            with bot_api.short_polls():
                program["bot"].stop_bot()
                thread.join(PATIENCE)
        assert False is thread.is_alive()
        assert [(1, 1), (2, 1), (1, 2)] == [
            (message.chat_id, int(re.sub(r"\D", "", message.text))) for message in messages
        ]
        assert "you called the bot 2 times!" == messages[-1].text
        assert {"1:pasted"} == {call.token for call in bot_api.calls}

    @pytest.mark.parametrize("block", BLOCKS, ids=HEADINGS)
    def test_every_block_is_python(self, block: str) -> None:
        """Every block of code compiles."""
        assert [] != compile(block, "README.md", "exec", ast.PyCF_ONLY_AST).body

    def test_every_block_does_what_it_says(self) -> None:
        """The blocks run one after the other, and say of each value what it is."""
        names: dict[str, Any] = {name: getattr(telesession, name) for name in telesession.__all__}
        names.update(TeleBot=TeleBot, TOKEN=OFFLINE_TOKEN, fetch_rate=lambda: 7)
        names.update(Message=types.Message, redis=SimpleNamespace(Redis=EmptyServer))
        # What is to be imported.
        StatePickleStorage(file_path=".state-save/states.pkl").set_state(1, 1, "name")
        bot = names["bot"] = TeleBot(OFFLINE_TOKEN)
        claims = []
        for block in REST:
            if block.startswith("# "):
                continue
            names["session"] = telesession.Session({"code": "1234"})
            claims += run_block(block, names)
        for used in {bot, names["bot"]}:
            used.stop_bot()
        assert ["{'visits': 1}", "['42']", "True", "None"] == [claim for claim, _ in claims]
        assert [claim for claim, _ in claims] == [repr(value) for _, value in claims]

    def test_a_global_dict_loses_messages(self, bot_api: BotAPI) -> None:
        """Control: the bot that the README warns of does not count one of two messages."""
        both = threading.Barrier(2, timeout=PATIENCE)
        assert ["message 1", "message 1"] == talk(bot_api, BEFORE, both.wait, [1, 1])

    def test_a_session_loses_none(self, bot_api: BotAPI) -> None:
        """Two messages of one user are handled one after the other, and both are counted."""
        alone = threading.Semaphore()

        def fetch() -> None:
            assert alone.acquire(blocking=False)
            alone.release()

        assert ["message 1", "message 2"] == talk(bot_api, AFTER, fetch, [1, 1])

    def test_other_users_do_not_wait(self, bot_api: BotAPI) -> None:
        """Messages of two users are handled at the same time."""
        both = threading.Barrier(2, timeout=PATIENCE)
        assert ["message 1", "message 1"] == talk(bot_api, AFTER, both.wait, [1, 2])

    def test_the_tests_pass(self, pytester: pytest.Pytester) -> None:
        """The tests that the README shows pass, beside the examples they are about."""
        for name, source in TEST_FILES.items():
            pytester.path.joinpath(name).write_text(source)
            module = pytester.path / name.removeprefix("test_")
            if not module.exists():
                module.write_text((ROOT / "examples" / module.name).read_text())
        assert ["conftest.py", "test_counter.py", "test_login_code.py"] == list(TEST_FILES)
        pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=2)

    def test_its_links_lead_somewhere(self) -> None:
        """Every link inside the repository leads to a file or to a heading."""
        headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
        anchors = {f"#{re.sub(r'[^a-z0-9 -]', '', h.lower()).replace(' ', '-')}" for h in headings}
        links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
        lost = [link for link in links if link not in anchors and not (ROOT / link).is_file()]
        assert (True, []) == (len(links) > 0, lost)

    def test_every_example_is_listed(self) -> None:
        """The table of examples has every file of the folder."""
        names = [path.stem for path in (ROOT / "examples").glob("*.py")]
        listed = re.findall(r"^\| \[\w+\.py\]\(examples/(\w+)\.py\)", README, re.MULTILINE)
        assert sorted(names) == sorted(listed)

    def test_every_option_is_listed_with_its_default(self) -> None:
        """The table of options has every option and its default, in the order of the signature."""
        options = inspect.signature(Sessions).parameters.values()
        expected = {option.name: shown_default(option.default) for option in options}
        table = README[README.index("| option |") : README.index("To give several handlers")]
        rows = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`|(one .*?)) \|", table, re.MULTILINE)
        actual = {name: code or words for name, code, words in rows}
        assert "one `MemoryStorage` for the whole process" == actual.pop("storage")
        assert "None" == expected.pop("storage")
        assert ("None", "{}") == (expected.pop("migrations"), actual.pop("migrations"))
        assert (list(expected), expected) == (list(actual), actual)

    def test_every_public_name_is_explained(self) -> None:
        """Each name that can be imported is mentioned."""
        unexplained = [name for name in telesession.__all__ if name not in README]
        assert [] == unexplained

    def test_every_error_has_a_remedy(self) -> None:
        """The table of errors has every subclass of `SessionError`."""
        names = re.findall(r"^\| `(\w+Error)`", README, re.MULTILINE)
        public = [getattr(telesession, name) for name in telesession.__all__]
        errors = [kind.__name__ for kind in public if is_session_error(kind)]
        assert sorted(errors) == sorted(names)


class EmptyServer:
    """A client of a server that has nothing to import."""

    def scan_iter(self, **_: object) -> Iterator[str]:
        return iter(())


def run_block(block: str, names: dict[str, Any]) -> list[tuple[str, Any]]:
    """Run a block, and return the values that it shows in comments, with what they really are."""
    claims = []
    for statement in ast.parse(block).body:
        source = ast.get_source_segment(block, statement) or ""
        decorated = textwrap.dedent(ast.unparse(statement))
        comment = block.splitlines()[(statement.end_lineno or 0) - 1].partition("# ")[2]
        if isinstance(statement, ast.Expr) and is_literal(comment):
            claims.append((comment, eval(source, names)))
        else:
            exec(decorated, names)
    return claims


def is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True


def talk(api: BotAPI, block: str, fetch: Any, users: list[int]) -> list[str]:
    """Let users write at the same time to a bot whose handlers fetch something."""
    bot = TeleBot(OFFLINE_TOKEN)
    names = {"bot": bot, "fetch_rate": fetch, "with_session": telesession.with_session}
    exec(block, names)
    with run_polling(bot, api, timeout=PATIENCE) as polling:
        for user in users:
            api.user(user).send("hi")
        polling.wait_idle(PATIENCE)
    return sorted(message.text.partition(",")[0] for message in api.messages)


def shown_default(default: Any) -> str:
    shown = getattr(default, "__name__", None) or repr(default)
    return shown.replace("'", '"')


def is_session_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, telesession.SessionError)
