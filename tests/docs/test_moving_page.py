"""The page on moving here: old and new code talk alike, and the scripts bring the data over."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from telebot.storage import StateMemoryStorage, StatePickleStorage

import telesession
from support.clocks import PATIENCE
from support.pages import ROOT, blocks_of, read
from support.servers import patient_url
from telesession import MemoryStorage, SessionStateStorage
from telesession.testing import OFFLINE_TOKEN, run_polling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.servers import Server
    from telesession.testing import BotAPI

PAGE = ROOT / "docs" / "moving.md"

pytestmark = pytest.mark.usefixtures("fresh_process")


def code_of(heading: str) -> list[str]:
    """The blocks of Python of a section; those before the first section for an empty heading."""
    lines = read(PAGE).splitlines()
    begin = lines.index(f"## {heading}") if heading else 0
    later = [number for number, line in enumerate(lines) if line[:3] == "## " and number > begin]
    end = min(later, default=len(lines))
    return [block.code for block in blocks_of(PAGE, "python") if begin < block.line <= end]


def run_code(*codes: str) -> dict[str, Any]:
    """The names of a program that begins with the lines that the page names first."""
    names = {name: getattr(telesession, name) for name in telesession.__all__}
    names["TOKEN"] = OFFLINE_TOKEN
    for code in [*code_of(""), *codes]:
        exec(compile(code, "moving.md", "exec", dont_inherit=True), names)
    return names


@contextmanager
def program(*codes: str) -> Iterator[dict[str, Any]]:
    """The same, with an end."""
    names = run_code(*codes)
    try:
        yield names
    finally:
        names["bot"].stop_bot()
        names["storage"].close()


def talk(api: BotAPI, names: dict[str, Any], texts: list[str]) -> list[str]:
    """The replies of the bot to user 1, whose last text comes after one of another user."""
    ada, bob = api.user(1), api.user(2)
    replies = []
    with run_polling(names["bot"], api, timeout=PATIENCE) as polling:
        for text in texts[:-1]:
            replies += polling.say(ada, text).texts
        replies += polling.say(bob, texts[0]).texts
        replies += polling.say(ada, texts[-1]).texts
    return replies


class Move(NamedTuple):
    """A section, the numbers of its old and its new blocks, and a conversation."""

    heading: str
    before: list[int]
    after: list[int]
    texts: list[str]
    replies: list[str]


COUNT = ["/drink", "/drink", "/drink"]
COUNTED = ["drink 1", "drink 2", "drink 1", "drink 3"]
DIALOG = ["/join", "Ada", "12"]
ANSWERED = ["your name?", "your age?", "your name?", "Ada, 12"]
MOVES = [
    Move("Global dicts", [0], [1], COUNT, COUNTED),
    Move("retrieve_data", [0], [1], COUNT, COUNTED),
    # Questions, and before them the same states in the new storage.
    Move("telebot's states", [2, 3], [1, 2, 4], DIALOG, ANSWERED),
    Move("telebot's states", [2, 3], [1, 2, 3], DIALOG, ANSWERED),
]
NEW = [
    Move("aiogram", [], [0], ["/trip", "Oslo"], ["which city?"] * 2 + ["Oslo is noted"]),
    Move("grammY", [], [0], COUNT, COUNTED),
    Move("@puregram/session", [], [0], COUNT, COUNTED),
]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: f"{move.heading} {move.after}")
def test_old_and_new_code_talk_alike(move: Move, bot_api: BotAPI) -> None:
    """A bot of telebot's own means and its successor give the same replies."""
    code = code_of(move.heading)
    # Not in a file of StatePickleStorage: telebot pickles `Form`, which has to be in a module.
    memory = "from telebot.storage import StateMemoryStorage as S; state_storage = S()"
    for numbers in (move.before, move.after):
        with program(memory, *(code[number] for number in numbers)) as names:
            assert move.replies == talk(bot_api, names, move.texts)


@pytest.mark.parametrize("move", NEW, ids=lambda move: move.heading)
def test_the_new_code_talks_as_the_old_one_says(move: Move, bot_api: BotAPI) -> None:
    """The successor of a bot that telebot cannot run gives the replies that its code has."""
    code = code_of(move.heading)
    with program(*(code[number] for number in move.after)) as names:
        assert move.replies == talk(bot_api, names, move.texts)


@pytest.mark.parametrize(
    ("heading", "number"),
    [("Global dicts", 1), ("retrieve_data", 1), ("grammY", 0), ("@puregram/session", 0)],
)
def test_updates_that_come_at_once_all_count(heading: str, number: int, bot_api: BotAPI) -> None:
    """Eight updates of a user with one poll leave a count of 8."""
    ada = bot_api.user(1)
    with (
        program(code_of(heading)[number]) as names,
        run_polling(names["bot"], bot_api, timeout=PATIENCE) as polling,
    ):
        with bot_api.batch():
            for _ in range(8):
                ada.send("/drink")
        polling.wait_idle(PATIENCE)
    assert [f"drink {count}" for count in range(1, 9)] == ada.messages.texts


def test_telebot_ends_an_exception_in_a_block() -> None:
    """The exception goes on with the new storage, and not with telebot's, which saves the half."""
    seen = []
    for states in (StateMemoryStorage(), SessionStateStorage(MemoryStorage())):
        states.set_state(1, 1, "drinking")
        goes_on = False
        try:
            with states.get_interactive_data(1, 1) as data:
                data["drinks"] = 1
                data["price"] = data["no such field"]
        except KeyError:
            goes_on = True
        seen.append((goes_on, dict(states.get_data(1, 1))))
    assert [(False, {"drinks": 1}), (True, {})] == seen


def test_a_file_of_a_dict_comes_over(tmp_path: Path) -> None:
    """Each user has the fields of the file."""
    path = tmp_path / "drinks.json"
    path.write_text(json.dumps({"1": {"drinks": 3}, "2": {"drinks": 1}}))
    with program(code_of("Global dicts")[2]) as names:
        names["import_file"](path)
        found = {key: dict(session) for key, session in names["sessions"].items()}
    assert {"1": {"drinks": 3}, "2": {"drinks": 1}} == found


def test_data_of_states_come_over_with_the_next_update(bot_api: BotAPI) -> None:
    """The count of a user goes on, and another user begins anew."""
    _, after, move = code_of("retrieve_data")
    handler = after.partition("@bot.")[1] + after.partition("@bot.")[2]
    with program(move, handler) as names:
        old = StatePickleStorage()
        old.set_state(1, 1, "drinking", bot_id=names["bot"].bot_id)
        old.set_data(1, 1, "drinks", 6, bot_id=names["bot"].bot_id)
        assert 1 == names["import_all"](".state-save/states.pkl")
        assert ["drink 7", "drink 1", "drink 8"] == talk(bot_api, names, COUNT[:2])


def with_server(code: str, server: Server) -> str:
    return code.replace("redis://localhost:6379/0", patient_url(server))


# As aiogram 3.31.0 writes them: a user in the private chat, in a group, and in a topic.
AIOGRAM = {
    "fsm:42:42:state": "Trip:city",
    "fsm:42:42:data": '{"city": "Oslo"}',
    "fsm:-1001:42:data": '{"n": 2}',
    "fsm:-1001:7:42:data": '{"n": 3}',
    "fsm:-1001:7:42:state": "Trip:day",
}


def test_records_of_aiogram_come_over(server: Server) -> None:
    """Data come over once, without those of topics, and states with those of topics."""
    after, *scripts = code_of("aiogram")
    with program(after, *(with_server(script, server) for script in scripts)) as names:
        client, members = names["client"], names["members"]
        client.mset(AIOGRAM)
        counts = [names["import_aiogram"](client, members) for _ in range(2)]
        found = {key: dict(session) for key, session in members.items()}
        states = SessionStateStorage(names["storage"])
        names["import_aiogram_states"](client, states, 123456)
        in_private = states.get_state(42, 42, bot_id=123456)
        in_topic = states.get_state(-1001, 42, message_thread_id=7, bot_id=123456)
        client.close()
    assert [2, 0] == counts
    expected = {"sender_in_chat:42:42": {"city": "Oslo"}, "sender_in_chat:-1001:42": {"n": 2}}
    assert (expected, "Trip:city", "Trip:day") == (found, in_private, in_topic)


# As the storages of grammY 2.6.0 write them, the second one under `enhanceStorage`.
GRAMMY = {
    "-1001": '{"drinks":1}',
    "42": '{"v":1,"__d":{"drinks":2},"e":1795867596985}',
}
FOUND = {"chat:-1001": {"drinks": 1}, "chat:42": {"drinks": 2}}


def test_files_of_grammy_come_over(tmp_path: Path) -> None:
    """Each chat has its session, with and without the features of `enhanceStorage`."""
    after, files, _ = code_of("grammY")
    with program(after, files) as names:
        for key, text in GRAMMY.items():
            path = tmp_path / "sessions" / key[-2:] / f"{key}.json"
            path.parent.mkdir(parents=True)
            path.write_text(text)
        pairs = lambda: names["grammy_files"]("sessions")  # noqa: E731
        counts = [names["import_grammy"](pairs(), names["chats"]) for _ in range(2)]
        found = {key: dict(session) for key, session in names["chats"].items()}
    assert ([2, 0], FOUND) == (counts, found)


def test_records_of_grammy_come_over(server: Server) -> None:
    """Keys of other programs on the server are left out."""
    after, files, redis = code_of("grammY")
    connect = re.findall(r"^from redis.*|^client = .*", "\n".join(code_of("aiogram")), re.MULTILINE)
    codes = [with_server(line, server) for line in connect]
    with program(after, files, *codes, redis) as names:
        client = names["client"]
        client.mset({**GRAMMY, "shop:42": "7"})
        count = names["import_grammy"](names["grammy_redis"](client), names["chats"])
        found = {key: dict(session) for key, session in names["chats"].items()}
        client.close()
    assert (2, FOUND) == (count, found)
