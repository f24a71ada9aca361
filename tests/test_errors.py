"""The tree of exceptions: what each carries, what it says, and that it survives pickling."""

from __future__ import annotations

import ast
import copy
import pickle
import sys
import threading
import traceback
import zlib
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cachetools import LRUCache
from telebot import TeleBot

import telesession
from support.bots import ROOT
from telesession import (
    DeadlockError,
    DecodeError,
    EncodeError,
    EncryptedCodec,
    LockLostError,
    LockTimeoutError,
    MemoryStorage,
    NoSessionKeyError,
    PickleCodec,
    PostgresStorage,
    RedisStorage,
    Session,
    SessionClosedError,
    SessionError,
    Sessions,
    StorageError,
    ask,
    forget,
    import_telebot_pickle,
    save,
)
from telesession.storage import postgres, postgres_errors, redis, redis_errors, sqlite_errors
from telesession.testing import OFFLINE_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECRET = "hunter2"

MADE: dict[str, tuple[SessionError, dict[str, Any]]] = {
    "SessionError": (SessionError("could not make session '1': initial raised"), {}),
    "NoSessionKeyError": (
        NoSessionKeyError("Poll", "returned None"),
        {"update_type": "Poll", "reason": "returned None"},
    ),
    "SessionClosedError": (
        SessionClosedError("1", "set field 'counter'"),
        {"key": "1", "attempt": "set field 'counter'"},
    ),
    "LockTimeoutError": (
        LockTimeoutError("1", 60),
        {"key": "1", "seconds": 60, "holder": "another handler", "held": None},
    ),
    "LockTimeoutError-with-holder": (
        LockTimeoutError("1", 60, "handler shop.checkout", 75.5),
        {"key": "1", "seconds": 60, "holder": "handler shop.checkout", "held": 75.5},
    ),
    "LockLostError": (LockLostError("1"), {"key": "1"}),
    "EncodeError": (
        EncodeError("1", "cart[<str>][0]", "generator", "which pickle cannot bring back"),
        {
            "key": "1",
            "path": "cart[<str>][0]",
            "type_name": "generator",
            "reason": "which pickle cannot bring back",
        },
    ),
    "DecodeError": (
        DecodeError("1", "it is damaged", "delete it"),
        {"key": "1", "reason": "it is damaged", "remedy": "delete it"},
    ),
    "StorageError": (
        StorageError("write", "1", "the disk is full"),
        {
            "action": "write",
            "key": "1",
            "reason": "the disk is full",
            "remedy": "see __cause__, fix it and retry",
            "outcome": None,
        },
    ),
    "StorageError-with-remedy": (
        StorageError("write", "1", "the disk is full", "free some space"),
        {
            "action": "write",
            "key": "1",
            "reason": "the disk is full",
            "remedy": "free some space",
            "outcome": None,
        },
    ),
    "StorageError-with-outcome": (
        StorageError("write", "1", "the server is away", "retry", "unknown"),
        {
            "action": "write",
            "key": "1",
            "reason": "the server is away",
            "remedy": "retry",
            "outcome": "unknown",
        },
    ),
    "StorageError-without-key": (
        StorageError("list the keys", None, "the server is away"),
        {
            "action": "list the keys",
            "key": None,
            "reason": "the server is away",
            "remedy": "see __cause__, fix it and retry",
            "outcome": None,
        },
    ),
}

with_each_made = pytest.mark.parametrize("name", list(MADE))


def test_the_tree_has_one_root_and_no_branches() -> None:
    """Each error is a `SessionError`, and none is a kind of another."""
    subclasses = {
        DecodeError,
        EncodeError,
        LockLostError,
        LockTimeoutError,
        NoSessionKeyError,
        SessionClosedError,
        StorageError,
    }

    assert subclasses == set(SessionError.__subclasses__())
    assert {(SessionError,)} == {cls.__bases__ for cls in subclasses}
    assert (Exception,) == SessionError.__bases__


def test_every_error_has_a_row_in_this_table() -> None:
    """No error of the tree goes without the checks below."""
    assert {SessionError, *SessionError.__subclasses__()} == {type(row[0]) for row in MADE.values()}


@with_each_made
def test_an_error_carries_its_data_as_attributes(name: str) -> None:
    """What a handler may want to know is an attribute, under the name of its argument."""
    error, data = MADE[name]

    assert data == vars(error)


@with_each_made
def test_a_message_quotes_the_data(name: str) -> None:
    """The message has all the data in it: keys as they were given, numbers with their unit."""
    error, data = MADE[name]
    shown = [f"{value} s" if key == "seconds" else str(value) for key, value in data.items()]

    assert [part for part in shown if part != "None"] == [
        part for part in shown if part in str(error)
    ]


@with_each_made
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling(name: str, protocol: int) -> None:
    """Pickled and loaded, an error is of the same class, with the same data, text and notes."""
    error = copy.deepcopy(MADE[name][0])
    error.add_note("seen by the second worker")

    loaded = pickle.loads(pickle.dumps(error, protocol))

    assert [type(error), str(error), vars(error)] == [type(loaded), str(loaded), vars(loaded)]
    assert ["seen by the second worker"] == loaded.__notes__


@with_each_made
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_an_error_survives_copying(name: str, duplicate: Callable[[Any], Any]) -> None:
    """A copy of an error is of the same class, with the same data and text."""
    error = MADE[name][0]
    copied = duplicate(error)

    assert error is not copied
    assert [type(error), str(error), vars(error)] == [type(copied), str(copied), vars(copied)]


# The same errors as the library raises them.


class Poll:
    """An update that names nobody."""

    text = SECRET


class NoWrites(UserDict[str, bytes]):
    """The store of a backend that takes nothing."""

    def fail(self, *_args: object) -> Any:
        raise OSError(f"connection lost while sending {SECRET}")

    __setitem__ = __delitem__ = fail


class BrokenStore(NoWrites):
    """The store of a backend that is down."""

    __getitem__ = __contains__ = __iter__ = NoWrites.fail


def no_key() -> None:
    Sessions(storage=MemoryStorage()).with_session(lambda update, session: None)(Poll())


def no_usable_key() -> None:
    sessions = Sessions(storage=MemoryStorage(), get_storage_key=lambda update: [SECRET])
    sessions.with_session(lambda update, session: None)(Poll())


def raising_key_function() -> None:
    def get_storage_key(update: Any) -> str:
        raise ValueError(SECRET)

    sessions = Sessions(storage=MemoryStorage(), get_storage_key=get_storage_key)
    sessions.with_session(lambda update, session: None)(Poll())


def raising_initial() -> None:
    def initial() -> dict[str, Any]:
        raise ValueError(SECRET)

    with Sessions(storage=MemoryStorage(), initial=initial).open("1"):
        pass


def closed_session() -> Any:
    with Sessions(storage=MemoryStorage()).open("1") as session:
        session.text = SECRET
    return session


def set_in_closed() -> None:
    closed_session().text = SECRET


def delete_from_closed() -> None:
    del closed_session().text


def clear_closed() -> None:
    closed_session().clear()


def save_closed() -> None:
    save(closed_session())


def forget_closed() -> None:
    forget(closed_session())


def busy() -> None:
    sessions = Sessions(storage=MemoryStorage(), lock_timeout=0.001)

    def wait() -> None:
        with sessions.open("1") as session:
            session.text = SECRET

    with sessions.open("1"), ThreadPoolExecutor(1) as pool:
        pool.submit(wait).result(30)


def not_storable() -> None:
    with Sessions(storage=MemoryStorage()).open("1") as session:
        session.update(text=SECRET, cart={"apple": [threading.Lock()], "text": SECRET})


def of_another_format() -> None:
    with Sessions(storage=MemoryStorage({"1": SECRET.encode()})).open("1"):
        pass


def damaged() -> None:
    with Sessions(storage=MemoryStorage({"1": b"\x80\x05" + SECRET.encode()})).open("1"):
        pass


def not_unpickling() -> None:
    pickled = b"\x80\x05" + SECRET.encode()
    payload = pickled + zlib.crc32(pickled).to_bytes(4, "little")
    with Sessions(storage=MemoryStorage({"1": payload})).open("1"):
        pass


def of_another_shape() -> None:
    payload = PickleCodec().encode({"text": SECRET}, "1")
    with Sessions(storage=MemoryStorage({"1": payload})).open("1"):
        pass


def not_readable() -> None:
    with Sessions(storage=MemoryStorage(BrokenStore())).open("1"):
        pass


def not_writable() -> None:
    MemoryStorage(NoWrites()).set("1", SECRET.encode())


def not_deletable() -> None:
    MemoryStorage(BrokenStore()).delete("1")


def not_touchable() -> None:
    MemoryStorage(BrokenStore()).touch("1", 60)


def not_listable() -> None:
    list(MemoryStorage(BrokenStore()).keys())


def too_large() -> None:
    with Sessions(storage=MemoryStorage(LRUCache(50, getsizeof=len))).open("1") as session:
        session.text = SECRET * 10


def made_by_hand() -> None:
    save(Session({"text": SECRET}))


class Uncopyable:
    """A value that pickle brings back, and that cannot be copied."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise ValueError(SECRET)


def not_copyable() -> None:
    with Sessions(storage=MemoryStorage(), initial=lambda: {"made": Uncopyable()}).open("1"):
        pass


def taken() -> None:
    sessions = Sessions(storage=MemoryStorage())
    for key in ("1", "2"):
        with sessions.open(key) as session:
            session.text = SECRET + key
    sessions.move("1", "2")


def moved_while_open() -> None:
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open("1"):
        sessions.move("1", "2")


def newer() -> None:
    storage = MemoryStorage()
    with Sessions(storage=storage, version=1, migrations={1: dict}).open("1") as session:
        session.text = SECRET
    with Sessions(storage=storage).open("1"):
        pass


def raising_migration() -> None:
    storage = MemoryStorage()
    with Sessions(storage=storage).open("1") as session:
        session.text = SECRET
    with Sessions(storage=storage, version=1, migrations={1: lambda fields: fields[0]}).open("1"):
        pass


def asked_without_sender() -> None:
    ask(TeleBot(OFFLINE_TOKEN), Poll(), SECRET, no_key)


def not_there() -> None:
    import_telebot_pickle("nowhere/states.pkl", MemoryStorage())


# What raises, the class of the error, what was attempted, and why it failed.
RAISED: list[tuple[Callable[[], None], type[SessionError], str, str]] = [
    (no_key, NoSessionKeyError, "no session for this Poll", "get_storage_key returned None"),
    (
        no_usable_key,
        NoSessionKeyError,
        "no session for this Poll",
        "returned an object of type list",
    ),
    (raising_key_function, SessionError, "no session for this Poll", "raised ValueError"),
    (raising_initial, SessionError, "could not make session '1'", "initial raised ValueError"),
    (set_in_closed, SessionClosedError, "set field 'text' of session '1'", "has returned"),
    (delete_from_closed, SessionClosedError, "delete field 'text' of session '1'", "has returned"),
    (clear_closed, SessionClosedError, "delete the fields of session '1'", "has returned"),
    (save_closed, SessionClosedError, "save the fields of session '1'", "has returned"),
    (forget_closed, SessionClosedError, "forget the record of session '1'", "has returned"),
    (
        busy,
        LockTimeoutError,
        "could not lock session '1' within 0.001 s",
        "a block of open in the thread MainThread has held it for",
    ),
    (not_storable, EncodeError, "could not save session '1'", "cart[<str>][0] is of type lock"),
    (
        of_another_format,
        DecodeError,
        "could not read the stored record of session '1'",
        "PickleCodec",
    ),
    (damaged, DecodeError, "could not read the stored record of session '1'", "damaged"),
    (not_unpickling, DecodeError, "could not read the stored record of session '1'", "unpickling"),
    (
        of_another_shape,
        DecodeError,
        "could not read the stored record of session '1'",
        "not the record",
    ),
    (not_readable, StorageError, "could not read the record of session '1'", "raised OSError"),
    (not_writable, StorageError, "could not write the record of session '1'", "raised OSError"),
    (not_deletable, StorageError, "could not delete the record of session '1'", "raised OSError"),
    (not_touchable, StorageError, "the record of session '1'", "raised OSError"),
    (not_listable, StorageError, "could not list the keys", "raised OSError"),
    (too_large, StorageError, "could not write the record of session '1'", "raised ValueError"),
    (made_by_hand, SessionError, "could not save a session", "no storage"),
    (not_copyable, SessionError, "could not make session '1'", "raised ValueError"),
    (taken, SessionError, "could not move session '1' to '2'", "there is one already"),
    (moved_while_open, SessionError, "could not move session '1' to '2'", "has one of them"),
    (newer, DecodeError, "could not read the stored record of session '1'", "version 1"),
    (
        raising_migration,
        DecodeError,
        "could not read the stored record of session '1'",
        "migration 1 raised KeyError",
    ),
    (asked_without_sender, SessionError, "could not ask", "has no sender"),
    (not_there, SessionError, "could not import states", "raised FileNotFoundError"),
]

with_each_raised = pytest.mark.parametrize(
    ("act", "kind", "attempt", "reason"),
    [pytest.param(*row, id=row[0].__name__.replace("_", "-")) for row in RAISED],
)


def raised_by(act: Callable[[], None]) -> SessionError:
    with pytest.raises(SessionError) as caught:
        act()
    return caught.value


@with_each_raised
def test_a_message_says_what_was_attempted_and_why_it_failed(
    act: Callable[[], None], kind: type[SessionError], attempt: str, reason: str
) -> None:
    """A message says what was attempted, of which session, and why it failed."""
    error = raised_by(act)

    assert kind is type(error)
    assert attempt in str(error)
    assert reason in str(error).partition(attempt)[2]


STATEMENTS = {
    "the record was left as it was",
    "the stored record was left as it was",
    "nothing was stored",
    "the outcome is unknown",
}


def remedies(message: str) -> list[str]:
    """The clauses of a message that follow the attempt and the reason, without statements."""
    _reason, *clauses = message.partition(": ")[2].split("; ")
    return [clause for clause in clauses if clause not in STATEMENTS]


@with_each_raised
def test_a_message_says_once_what_to_do(
    act: Callable[[], None], kind: type[SessionError], attempt: str, reason: str
) -> None:
    """After the attempt and the reason, a message names exactly one remedy."""
    message = str(raised_by(act))

    assert 1 == len(remedies(message)), message


def text_of(argument: ast.expr) -> str | None:
    """The text of an argument, with "X" for each value in it; `None` if it is no text."""
    if isinstance(argument, ast.Constant):
        return argument.value if isinstance(argument.value, str) else None
    if isinstance(argument, ast.JoinedStr):
        return "".join(text_of(part) or "X" for part in argument.values)
    return None


SUBCLASSES = {kind.__name__: kind for kind in (SessionError, *SessionError.__subclasses__())}
# `(file:line, class, texts of the arguments)`; "X" stands for a value in an f-string, `None` for
# an argument that is not a text.
CALLS = [
    (f"{path.name}:{node.lineno}", node.func.id, [text_of(argument) for argument in node.args])
    for path in sorted(Path(telesession.__file__).parent.rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SUBCLASSES
]


@pytest.mark.parametrize(("place", "name", "texts"), CALLS, ids=[call[0] for call in CALLS])
def test_every_error_of_the_package_names_one_remedy(
    place: str, name: str, texts: list[str | None]
) -> None:
    """No call in the package makes a message without a remedy, or with two."""
    if name == "SessionError" and texts[0] is not None and "X: X" not in texts[0]:
        assert 1 == len(remedies(str(texts[0]))), texts
    elif name in {"DecodeError", "StorageError"}:
        # The class adds the remedy.
        assert [] == [text for text in texts if text and "; " in text]
    elif name == "EncodeError" and texts[-1] is not None:
        assert 1 == texts[-1].count("; ")
    assert issubclass(SUBCLASSES[name], SessionError)


DIAGNOSES = {
    "redis": redis_errors.DIAGNOSES,
    "redis-plain": redis_errors.PLAIN_DIAGNOSES,
    "redis-cluster": redis_errors.CLUSTER_DIAGNOSES,
    "sqlite": sqlite_errors.DIAGNOSES,
    "postgres": postgres_errors._CODES,
    "postgres-connecting": postgres_errors._PHRASES,
}


@pytest.mark.parametrize("table", DIAGNOSES.values(), ids=DIAGNOSES)
def test_every_diagnosis_of_a_backend_names_one_remedy(table: Mapping[str, Any]) -> None:
    """The tables of what a backend may raise have a reason and a remedy in each row."""
    rows = set(table.values())
    messages = [str(StorageError("read", "1", *row)) for row in rows]

    assert [] != rows
    assert {1} == {len(remedies(message)) for message in messages}


@with_each_raised
def test_no_message_shows_a_stored_value(
    act: Callable[[], None], kind: type[SessionError], attempt: str, reason: str
) -> None:
    """Neither text nor data of an error holds a value, or what a backend said about one."""
    error = raised_by(act)

    assert SECRET not in f"{error} {error!r} {error.args} {vars(error)}"
    assert SECRET not in "".join(traceback.format_exception(error, chain=False))


@with_each_raised
def test_what_the_library_raises_survives_pickling(
    act: Callable[[], None], kind: type[SessionError], attempt: str, reason: str
) -> None:
    """An error goes to another process with its data and its text."""
    error = raised_by(act)
    loaded = pickle.loads(pickle.dumps(error))

    assert [kind, str(error), vars(error)] == [type(loaded), str(loaded), vars(loaded)]


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        (raising_key_function, ValueError),
        (raising_initial, ValueError),
        (not_readable, OSError),
        (not_writable, OSError),
        (not_deletable, OSError),
        (not_touchable, OSError),
        (not_listable, OSError),
        (too_large, ValueError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_exception_behind_an_error_is_its_cause(
    act: Callable[[], None], cause: type[Exception]
) -> None:
    """What the author's code or the backend raised is the `__cause__`."""
    assert cause is type(raised_by(act).__cause__)


def test_the_data_of_raised_errors() -> None:
    """The attributes hold what a handler needs in order to answer."""
    waited = dict(vars(raised_by(busy)))
    held = waited.pop("held")
    expected = [
        {"key": "1", "seconds": 0.001, "holder": "a block of open in the thread MainThread"},
        {"update_type": "Poll", "reason": "returned None"},
        {"key": "1", "attempt": "set field 'text'"},
    ]

    assert expected == [waited, *(vars(raised_by(act)) for act in (no_key, set_in_closed))]
    assert held > 0


def test_the_path_and_the_type_of_what_could_not_be_stored() -> None:
    """`EncodeError` has the path of the value and the name of its type."""
    error = raised_by(not_storable)

    assert ("1", "cart[<str>][0]", "lock") == (error.key, error.path, error.type_name)


@with_each_raised
def test_one_except_catches_everything(
    act: Callable[[], None], kind: type[SessionError], attempt: str, reason: str
) -> None:
    """Whatever the library raises on purpose while a bot runs is a `SessionError`."""
    caught: list[SessionError] = []
    try:
        act()
    except SessionError as error:
        caught.append(error)

    assert [kind] == [type(error) for error in caught]


INSTALLED_BY_HAND: dict[str, tuple[str, Callable[[], object]]] = {
    "redis": ("redis", lambda: RedisStorage("redis://localhost")),
    "postgres": ("psycopg", lambda: PostgresStorage("postgresql://localhost")),
    "encryption": ("cryptography.fernet", lambda: EncryptedCodec(PickleCodec(), [])),
}


@pytest.mark.parametrize("extra", list(INSTALLED_BY_HAND))
def test_a_missing_package_is_named_with_its_version(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an optional package, the error says the `pip install` of what the extra asks for."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    requirement = settings["options.extras_require"][extra].strip()
    module, make = INSTALLED_BY_HAND[extra]
    monkeypatch.setitem(sys.modules, module, None)
    for storage in (postgres, redis):
        monkeypatch.setattr(storage, "find_spec", lambda name: None)

    with pytest.raises(ImportError) as caught:
        make()

    assert f"pip install '{requirement}'" == str(caught.value).partition("; ")[2]


def test_a_message_shows_no_key_of_a_dict() -> None:
    """Messages never show a value, nor a dict's key, which is a user's word too."""
    sessions = Sessions(storage=MemoryStorage())
    for word in ("hunter2", "it's hunter2", "'hunter2'] \"hunter2"):
        with pytest.raises(EncodeError) as caught, sessions.open(1) as session:
            session.words = {word: {word: threading.Lock()}}
        assert "words[<str>][<str>] is of type lock" in str(caught.value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            StorageError("write", "2", "the disk is full"),
            "the disk is full; written before: '1'; see __cause__",
        ),
        (LockLostError("2"), "nothing was written to its storage; written before: '1'; try again"),
    ],
    ids=["StorageError", "LockLostError"],
)
def test_a_message_says_which_sessions_were_written_before(
    error: StorageError | LockLostError, text: str
) -> None:
    """An error after other storages were written names the sessions that are saved."""
    error.written = ("1",)
    assert text in str(error)
    assert error.written == pickle.loads(pickle.dumps(error)).written


def test_a_thread_that_waits_for_itself_gets_a_remedy_of_its_own() -> None:
    """A circle of one session has nothing to open together."""
    error = DeadlockError("1", ("1",))
    assert "leave out independent=True" in str(error)
    assert "open(a, b)" not in str(error)
