"""Files that are no plain pickle of telebot's states: refused, and nothing of them is run."""

from __future__ import annotations

import datetime
import enum
import os
import pickle
import subprocess
import uuid
from collections import Counter, OrderedDict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from telebot.states import State
from telebot.storage import StatePickleStorage

from support.bots import WHEN, state_record, write_pickle
from telesession import MemoryStorage, SessionError, import_telebot_pickle
from telesession.bot import plain_pickle

if TYPE_CHECKING:
    from collections.abc import Callable


class Size(enum.Enum):
    BIG = 1


class Running:
    """Pickles as a call of something."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Plain:
    """An object of somebody's class."""

    def __repr__(self) -> str:
        return "Plain()"


def touching(path: Path) -> dict[str, Any]:
    """Values that would make a file when loaded, by the name that is refused."""
    return {
        "posix.system": Running(os.system, f"touch {path}"),
        "builtins.exec": Running(exec, f"open({str(path)!r}, 'w')"),
        "builtins.eval": Running(eval, f"open({str(path)!r}, 'w')"),
        # Where Python 3.13 says that it is.
        f"{open.__module__}.open": Running(open, str(path), "w"),
        "subprocess.Popen": Running(subprocess.Popen, ["touch", str(path)]),
        "builtins.getattr": Running(getattr, os, "system"),
    }


class TestMalice:
    @pytest.mark.parametrize("name", list(touching(Path())))
    @pytest.mark.parametrize("where", ["value", "key", "state", "whole"])
    def test_nothing_is_run(
        self, name: str, where: str, pickle_path: Path, tmp_path: Path, json_memory: MemoryStorage
    ) -> None:
        """A file that calls a function when loaded is refused, names it, and runs nothing."""
        target = tmp_path / "touched"
        bad = touching(target)[name]
        if name == "builtins.getattr":
            # A module cannot be pickled; a class can, and its methods are as good.
            bad = Running(getattr, datetime.datetime, "now")
        whole = {
            "value": {"telebot:1:1:1": state_record(), "telebot:1:42:42": state_record(value=bad)},
            "key": {"telebot:1:42:42": state_record(), bad: state_record()},
            "state": {"telebot:1:42:42": {"state": bad, "data": {}}},
            "whole": bad,
        }[where]
        write_pickle(pickle_path, whole)
        with pytest.raises(SessionError, match=f"asks for {name}, .* nothing of it was run"):
            import_telebot_pickle(pickle_path, json_memory)
        assert (False, []) == (target.exists(), list(json_memory.keys()))

    def test_the_attack_is_real(self, pickle_path: Path, tmp_path: Path) -> None:
        """A control: telebot's own storage runs what such a file says."""
        target = tmp_path / "touched"
        write_pickle(
            pickle_path, {"telebot:1:42:42": state_record(value=touching(target)["posix.system"])}
        )
        StatePickleStorage(str(pickle_path)).get_state(42, 42, bot_id=1)
        assert target.exists() is True

    @pytest.mark.parametrize(
        ("value", "name"),
        [
            (Plain(), f"{__name__}.Plain"),
            (Size.BIG, f"{__name__}.Size"),
            (Counter("aa"), "collections.Counter"),
            (Plain, f"{__name__}.Plain"),
            ([{"a": (Plain,)}], f"{__name__}.Plain"),
            (datetime.date, "date"),
            (os.system, "posix.system"),
            (State, "telebot.states.State"),
            (getattr, "builtins.getattr"),
        ],
        ids=repr,
    )
    def test_other_classes_are_refused_by_name(
        self, value: Any, name: str, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """What is no plain data is named, with what to do, and nothing is imported."""
        write_pickle(
            pickle_path,
            {"telebot:1:1:1": state_record(), "telebot:1:42:42": state_record(value=value)},
        )
        with pytest.raises(SessionError, match=rf"asks for {name}, which is no plain data.*again"):
            import_telebot_pickle(pickle_path, json_memory)
        assert [] == list(json_memory.keys())

    @pytest.mark.parametrize(
        "name",
        [
            "datetime datetime",
            "decimal Decimal",
            "uuid UUID",
            "zoneinfo ZoneInfo",
            "builtins set",
            "telebot.states State",
            "collections OrderedDict",
            "builtins getattr",
        ],
    )
    @pytest.mark.parametrize(
        "state", [b"(dVchanged\nI1\ns", b"(N(dVchanged\nI1\nst"], ids=["dict", "slots"]
    )
    def test_what_is_admitted_cannot_be_changed(
        self, name: str, state: bytes, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """A file that sets attributes of a class sets none of those that the program uses."""
        pickle_path.write_bytes(
            b"\x80\x03c" + name.replace(" ", "\n").encode() + b"\n" + state + b"b."
        )
        with pytest.raises(SessionError):
            import_telebot_pickle(pickle_path, json_memory)
        ours = [value for value in vars(plain_pickle).values() if callable(value)]
        used = [datetime.datetime, Decimal, uuid.UUID, ZoneInfo, set, State, OrderedDict, getattr]
        assert [] == [kind for kind in ours + used if hasattr(kind, "changed")]


GOOD = pickle.dumps(
    {"telebot:1:42:42": state_record(when=WHEN), "telebot:1:1:1": state_record(a=[1])}
)


class TestBadFiles:
    def test_a_truncated_file_is_refused(
        self, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """A file that ends too early, wherever, is refused as a whole."""
        for length in range(len(GOOD)):
            pickle_path.write_bytes(GOOD[:length])
            with pytest.raises(SessionError, match=r"^could not import states from .*damaged"):
                import_telebot_pickle(pickle_path, json_memory)
        assert [] == list(json_memory.keys())
        pickle_path.write_bytes(GOOD)
        assert 2 == import_telebot_pickle(pickle_path, json_memory)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"no pickle", "damaged or no pickle"),
            (b'{"telebot:1:42:42": {"state": "here", "data": {}}}', "damaged or no pickle"),
            (b"SQLite format 3\x00", "damaged or no pickle"),
            (pickle.dumps([1]), "holds a list, and no states"),
            (pickle.dumps(None), "holds a NoneType, and no states"),
            (pickle.dumps({"telebot:1:42:42": "secret"}), "chat 42, user 42 it has no state"),
            (pickle.dumps({"telebot:1:42:42": {"state": "secret"}}), "it has no state with its"),
            (pickle.dumps({"telebot:1:42:42": {"data": {}}}), "it has no state with its data"),
            (
                pickle.dumps({"telebot:1:42:42": {"state": "x", "data": ["secret"]}}),
                "it has no state with its data",
            ),
            (pickle.dumps({42: {"state": "secret", "data": {}}}), "user state it has no state"),
            (pickle.dumps({42: "secret"}), "record 42 is no chat with its users"),
            (pickle.dumps({(1, 2): {}}), r"record \(1, 2\) is no chat with its users"),
            (
                pickle.dumps({"mybot:1:42:42": state_record()}),
                "does not begin with 'telebot:'.* pass",
            ),
            (
                pickle.dumps({"telebot:1:42": state_record(), "telebot:1": state_record()}),
                "end with a chat",
            ),
            (pickle.dumps({"telebot:1:42:@me": state_record()}), "end with a chat and a user"),
            (pickle.dumps({"telebot42:42": state_record()}), "does not begin with 'telebot:'"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_anything_else_is_refused(
        self, content: bytes, reason: str, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """A file of something else says what it is, shows no value, and imports nothing."""
        pickle_path.write_bytes(content)
        with pytest.raises(SessionError, match=reason) as raised:
            import_telebot_pickle(pickle_path, json_memory, bot_id=1)
        assert (True, False, []) == (
            str(raised.value).startswith(f"could not import states from {str(pickle_path)!r}: "),
            "secret" in str(raised.value),
            list(json_memory.keys()),
        )

    @pytest.mark.parametrize("depth", [2000, 200_000])
    def test_data_without_a_bottom_is_refused(
        self, depth: int, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """Data that is nested without measure is refused, and does not end the program."""
        pickle_path.write_bytes(b"\x80\x03" + b"(" * depth + b"t" * depth + b".")
        with pytest.raises(SessionError):
            import_telebot_pickle(pickle_path, json_memory)
        assert [] == list(json_memory.keys())

    def test_data_that_holds_itself_is_refused(
        self, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """A list that is in itself is refused."""
        endless: list[Any] = []
        endless.append(endless)
        write_pickle(pickle_path, {"telebot:1:42:42": state_record(endless=endless)})
        with pytest.raises(SessionError, match="RecursionError"):
            import_telebot_pickle(pickle_path, json_memory)
        assert [] == list(json_memory.keys())

    def test_a_missing_file_says_so(self, pickle_path: Path, json_memory: MemoryStorage) -> None:
        """Where there is no file, the error says which one, and makes none."""
        with pytest.raises(SessionError, match=r"FileNotFoundError; pass the file_path") as raised:
            import_telebot_pickle(pickle_path, json_memory)
        assert (FileNotFoundError, False) == (type(raised.value.__cause__), pickle_path.exists())

    def test_a_folder_is_no_file(self, pickle_path: Path, json_memory: MemoryStorage) -> None:
        """The folder of the file, given instead of it, is refused."""
        with pytest.raises(SessionError, match="IsADirectoryError"):
            import_telebot_pickle(pickle_path.parent, json_memory)

    def test_an_empty_separator_is_refused(
        self, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """Without a separator nobody can tell the parts of a key."""
        with pytest.raises(ValueError, match="separator must not be empty"):
            import_telebot_pickle(pickle_path, json_memory, separator="")
