"""Several sessions at once: `open(a, b)`, `open_all`, stacked and attached decorators."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import KEY, UPDATE, fields_of
from support.storages import FiveMethods, fields_by_key
from support.updates import said
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    by_chat,
    session_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from support.bots import Host
    from telesession.storage.base import Hold

# Every order of three keys.
ORDERS = list(itertools.permutations(("1", "2", "3")))
each_order = pytest.mark.parametrize("order", ORDERS, ids="".join)


class Ordered:
    """The first base class of a storage that lists the keys in the order of their locks."""

    def __init__(self, *args: Any, log: list[str] | None = None, name: str = "") -> None:
        super().__init__(*args)
        self.name = name
        self.locked: list[str] = [] if log is None else log

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        self.locked.append(f"{self.name}{key}")
        return super().hold(key, timeout)  # type: ignore[misc, no-any-return]


class OrderedMemory(Ordered, MemoryStorage):
    """A storage in memory that lists its locks."""


class OrderedFiveMethods(Ordered, FiveMethods):
    """A custom storage that lists its locks."""

    def __repr__(self) -> str:
        return f"<{self.name}>"


@pytest.fixture
def storage() -> OrderedMemory:
    return OrderedMemory()


@pytest.fixture
def counting(storage: OrderedMemory) -> Sessions[Session]:
    """Sessions with a counter in a storage that lists its locks."""
    return Sessions(initial={"counter": 0}, storage=storage)


class TestOpen:
    """`open(a, b)` gives a tuple, `open_all(keys)` a list, in the order asked for."""

    @each_order
    def test_a_tuple_in_the_order_asked_for(
        self, each_storage: Storage, order: tuple[str, ...]
    ) -> None:
        """Each target of the `with` statement is the session of its key, and all are saved."""
        sessions = Sessions(storage=each_storage)

        with sessions.open(*order) as opened:
            for session in opened:
                session.key = session_key(session)

        assert (tuple, order) == (type(opened), tuple(map(session_key, opened)))
        assert {key: {"key": key} for key in order} == fields_by_key(sessions)

    @pytest.mark.parametrize("count", [0, 1, 2, 5])
    def test_a_list_of_any_length(self, each_storage: Storage, count: int) -> None:
        """`open_all` takes any number of keys, none and one too, from any iterable."""
        sessions = Sessions(storage=each_storage)
        keys = [str(number) for number in range(count)][::-1]

        with sessions.open_all(iter(keys)) as opened:
            for session in opened:
                session.counter = 1

        assert (list, keys) == (type(opened), [session_key(session) for session in opened])
        assert {key: {"counter": 1} for key in keys} == fields_by_key(sessions)

    def test_one_key_gives_the_session_itself(self, each_storage: Storage) -> None:
        """`open(a)` gives no tuple."""
        with Sessions(storage=each_storage).open(1) as session:
            assert isinstance(session, Session)

    def test_a_key_twice_is_one_session(self, each_storage: Storage) -> None:
        """However it is spelled, one key is one session, whose lock is taken once."""
        sessions = Sessions(storage=each_storage, lock_timeout=0)

        with sessions.open(1, "1", 2) as (first, second, third):
            first.counter = 1
            assert (True, False) == (first is second, first is third)

        assert {"counter": 1} == sessions.peek(1)

    def test_a_wrong_key_locks_nothing(
        self, counting: Sessions[Session], storage: OrderedMemory
    ) -> None:
        """A key that is none is refused before any lock is taken."""
        with pytest.raises(TypeError, match="the key of a session"):
            counting.open(1, None)  # type: ignore[call-overload]

        assert [] == storage.locked

    def test_the_update_is_by_keyword_only(self, storage: OrderedMemory) -> None:
        """A second argument by position is a key; an `initial` gets the update by keyword."""
        sessions = Sessions(initial=lambda update: {"update": update}, storage=storage)

        with sessions.open(1, 2, update="the update") as (first, second):
            assert ("the update", "the update") == (first.update, second.update)

    @pytest.mark.parametrize("missing", [1, 2])
    def test_create_is_for_all_keys(
        self, counting: Sessions[Session], storage: OrderedMemory, missing: int
    ) -> None:
        """With `create=False` one missing session is a `KeyError`, and no other is touched."""
        with counting.open(3 - missing):
            pass
        before = storage.get(str(3 - missing))

        with pytest.raises(KeyError), counting.open(1, 2, create=False):
            pass

        assert ([str(3 - missing)], before) == (
            list(counting.keys()),
            storage.get(str(3 - missing)),
        )


class TestOrder:
    """Locks are taken in one order, the same in all processes: by storage and key."""

    @each_order
    def test_open_locks_by_key(
        self, counting: Sessions[Session], storage: OrderedMemory, order: tuple[str, ...]
    ) -> None:
        """In whatever order the keys are asked for, they are locked in their own."""
        with counting.open(*order):
            pass
        with counting.open_all(order):
            pass

        assert ["1", "2", "3"] * 2 == storage.locked

    def test_keys_are_compared_as_strings(
        self, counting: Sessions[Session], storage: OrderedMemory
    ) -> None:
        """The order is that of the keys in the storage, which are strings."""
        with counting.open(9, 10, "a"):
            pass

        assert ["10", "9", "a"] == storage.locked

    def test_keys_that_the_unit_has_are_not_locked_again(
        self, counting: Sessions[Session], storage: OrderedMemory
    ) -> None:
        """Of several keys those that the handler has already stay locked as they are."""
        with counting.open(2), counting.open(3, 2, 1):
            pass

        assert ["2", "1", "3"] == storage.locked

    @each_order
    def test_stacked_decorators_lock_by_key(
        self, storage: OrderedMemory, order: tuple[str, ...]
    ) -> None:
        """Whichever of the decorators is uppermost, the locks are taken by key."""

        assert list(order) == stacked(storage, order)(UPDATE.message)
        assert ["1", "2", "3"] == storage.locked

    @each_order
    @pytest.mark.parametrize("attach_first", [True, False], ids=["before", "after"])
    def test_attached_names_lock_by_key(
        self,
        storage: OrderedMemory,
        simple_host: Host,
        order: tuple[str, ...],
        attach_first: bool,
    ) -> None:
        """Sessions that are attached under several names lock together, too."""
        got: list[str] = []

        def handle(message: Any, a: Session, b: Session, c: Session) -> None:
            got.extend(map(session_key, (a, b, c)))

        if not attach_first:
            simple_host.bot.register_message_handler(handle)
        for name, key in zip("abc", order, strict=True):
            of_key(storage, name, key).attach(simple_host.bot)
        if attach_first:
            simple_host.bot.register_message_handler(handle)
        simple_host.deliver(said("hi"))

        assert ([], list(order), ["1", "2", "3"]) == (simple_host.raised, got, storage.locked)

    def test_storages_have_an_order_of_their_own(self) -> None:
        """Sessions of two storages are locked by storage first, the same in both orders."""
        log: list[str] = []
        storages = {name: OrderedFiveMethods(log=log, name=name) for name in "ab"}

        for first, second in (("a", "b"), ("b", "a")):
            upper = of_key(storages[first], "upper", "1")
            lower = of_key(storages[second], "lower", "2")

            @upper.with_session
            @lower.with_session
            def handle(message: Any, upper: Session, lower: Session) -> None:
                pass

            handle(UPDATE.message)

        assert ["a1", "b2", "a2", "b1"] == log

    def test_the_order_of_files_is_that_of_their_paths(self, tmp_path: Path) -> None:
        """Storages of files show their paths, by which all processes order them alike."""
        with (
            SQLiteStorage(tmp_path / "b.db") as one,
            SQLiteStorage(tmp_path / "a.db") as other,
        ):
            assert [other, one] == sorted([one, other], key=repr)


def of_key(storage: Storage, name: str, key: str) -> Sessions[Session]:
    """Sessions under a name, all of whose updates have one key."""
    return Sessions(
        storage=storage,
        name=name,
        prefix="",
        lock_timeout=0,
        get_storage_key=lambda message: key,
    )


def stacked(storage: Storage, keys: tuple[str, ...]) -> Callable[[Any], list[str]]:
    """A handler that returns the keys of three sessions, in the order of its parameters."""
    a, b, c = (of_key(storage, name, key) for name, key in zip("abc", keys, strict=True))

    @a.with_session
    @b.with_session
    @c.with_session
    def handle(message: Any, a: Session, b: Session, c: Session) -> list[str]:
        return [session_key(session) for session in (a, b, c)]

    return handle


class Between:
    """Decorators that are put between two of ours."""

    @staticmethod
    def adding(function: Callable[..., Any]) -> Callable[..., Any]:
        """A decorator that adds an argument, and copies all attributes by `functools.wraps`."""

        @functools.wraps(function)
        def wrapper(message: Any, **kwargs: Any) -> Any:
            return function(message, added="added", **kwargs)

        return wrapper

    @staticmethod
    def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
        """A decorator that calls nothing."""

        @functools.wraps(function)
        def wrapper(message: Any, **kwargs: Any) -> Any:
            return sorted(kwargs)

        return wrapper


class TestDecoratorsBetween:
    """Only decorators directly above each other are joined."""

    @staticmethod
    def make(storage: Storage, between: Callable[..., Any]) -> Callable[..., Any]:
        upper, lower = of_key(storage, "upper", "2"), of_key(storage, "lower", "1")

        @upper.with_session
        @between
        @lower.with_session
        def handle(message: Any, upper: Session, lower: Session, added: str = "none") -> list[str]:
            return [session_key(upper), session_key(lower), added]

        return handle

    def test_a_decorator_between_is_called(self, storage: OrderedMemory) -> None:
        """A decorator between two of ours does its work, and each of ours locks on its own."""
        handle = self.make(storage, Between.adding)

        assert ["2", "1", "added"] == handle(UPDATE.message)
        assert ["2", "1"] == storage.locked

    def test_a_decorator_between_may_call_nothing(self, storage: OrderedMemory) -> None:
        """The session below it is not even locked if it does not call its function."""
        handle = self.make(storage, Between.refusing)

        assert ["upper"] == handle(UPDATE.message)
        assert ["2"] == storage.locked

    def test_a_decorator_above_all_is_called(self, storage: OrderedMemory) -> None:
        """A decorator above ours copies our mark, and is not left out when it is decorated."""
        upper, lower = of_key(storage, "upper", "2"), of_key(storage, "lower", "1")

        @Between.adding
        @lower.with_session
        def handle(message: Any, upper: Session, lower: Session, added: str = "none") -> str:
            return added

        assert "added" == upper.with_session(handle)(UPDATE.message)

    def test_a_decorator_between_is_called_in_an_attached_handler(
        self, storage: OrderedMemory, simple_host: Host
    ) -> None:
        """So it is with a handler that gets its upper session by `attach`."""
        got: list[Any] = []
        of_key(storage, "upper", "2").attach(simple_host.bot)

        @simple_host.bot.message_handler()
        @Between.adding
        @of_key(storage, "lower", "1").with_session
        def handle(message: Any, upper: Session, lower: Session, added: str = "none") -> None:
            got.append((session_key(upper), session_key(lower), added))

        simple_host.deliver(said("hi"))

        assert ([], [("2", "1", "added")]) == (simple_host.raised, got)

    def test_the_unit_is_one_all_the_same(self, storage: OrderedMemory) -> None:
        """Decorators that are not joined are still saved together or not at all."""
        upper, lower = (Sessions(storage=storage, name=name) for name in ("upper", "lower"))

        @upper.with_session
        @Between.adding
        @lower.with_session
        def handle(message: Any, upper: Session, lower: Session, added: str) -> None:
            lower.counter = upper.counter = 1
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            handle(UPDATE.message)

        assert [] == list(storage.keys())


class TestStackedArguments:
    """Joined decorators pass the update and all other arguments on as single ones do."""

    def test_methods_and_other_arguments(self, storage: OrderedMemory) -> None:
        """A method with two sessions gets its own arguments, whatever their places."""
        upper, lower = of_key(storage, "upper", "2"), of_key(storage, "lower", "1")

        class Desk:
            @upper.with_session
            @lower.with_session
            def handle(
                self, message: Any, lower: Session, text: str, *, upper: Session, more: int = 0
            ) -> tuple[Any, ...]:
                return message, session_key(lower), text, session_key(upper), more

        message = UPDATE.message
        assert (message, "1", "hi", "2", 5) == Desk().handle(message, "hi", more=5)
        assert (message, "1", "hi", "2", 0) == Desk().handle(message=message, text="hi")

    def test_a_function_below_can_be_called_alone(self, storage: OrderedMemory) -> None:
        """The function that the upper decorator got keeps its own session, and only that."""
        upper, lower = of_key(storage, "upper", "2"), of_key(storage, "lower", "1")

        @lower.with_session
        def below(message: Any, upper: Any, lower: Session) -> tuple[Any, str]:
            return upper, session_key(lower)

        above = upper.with_session(below)

        assert ("by hand", "1") == below(UPDATE.message, upper="by hand")
        assert "1" == above(UPDATE.message)[1]

    def test_the_key_functions_see_the_same_update(self, storage: OrderedMemory) -> None:
        """Each decorator has its own key function: the user's session and the chat's."""
        user = Sessions(initial={"counter": 0}, storage=storage, name="user")
        chat = Sessions(
            initial={"counter": 0}, storage=storage, name="chat", get_storage_key=by_chat
        )

        @user.with_session
        @chat.with_session
        def handle(message: Any, user: Session, chat: Session) -> None:
            user.counter += 1
            chat.counter += 2

        handle(UPDATE.message)

        assert ({"counter": 1}, {"counter": 2}) == (
            fields_of(user, KEY),
            fields_of(chat, f"chat:{KEY}"),
        )


def test_a_block_that_was_not_entered_has_no_fields(sessions: Sessions[Session]) -> None:
    """`sessions.open(key)` without `with` neither reads nor writes, and says what to write."""
    block: Any = sessions.open(1)
    with pytest.raises(AttributeError, match=r"write with sessions.open\(key\) as session:"):
        _ = block.counter
    with pytest.raises(AttributeError):
        block.counter = 1
    assert [] == list(sessions.keys())
