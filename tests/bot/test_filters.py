"""Filters: handlers that are chosen by `session_filter`, over a real bot."""

from __future__ import annotations

import json
from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types

from support.clocks import MICROSECOND
from support.sessions import set_fields
from support.updates import ANNA, BORIS, GROUP, UPDATE_IDS, button_press, message, private
from telesession import (
    DecodeError,
    JSONCodec,
    MemoryStorage,
    Session,
    SessionError,
    Sessions,
    SQLiteStorage,
    StorageError,
    by_chat,
    session_filter,
    ttl,
)

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from support.bots import Host, Stage
    from support.storages import SpyStorage

pytestmark = pytest.mark.usefixtures("frozen_module")


KEY = str(ANNA["id"])


def update(kind: str, payload: dict[str, Any]) -> types.Update:
    return types.Update.de_json(json.dumps({"update_id": next(UPDATE_IDS), kind: payload}))


def said(text: str = "hi", person: dict[str, Any] = ANNA) -> types.Update:
    """A message, in the private chat with its sender."""
    return update("message", {**message(private(person), person), "text": text})


def nobody() -> Any:
    """An update without a sender."""
    poll = {"id": "1", "question": "Tea?", "options": [], "total_voter_count": 0}
    flags = {"is_closed": False, "is_anonymous": True, "allows_multiple_answers": False}
    return update("poll", {**poll, **flags, "type": "regular"}).poll


HI = said().message


class TestInAHandler:
    def test_func_chooses_the_handler(self, host: Host, sessions: Sessions[Session]) -> None:
        """
        As `func=` it sends an update to the handler whose predicate the session meets.
        """
        heard: list[str] = []
        bot = host.bot
        has_name = session_filter(sessions, lambda fields: "name" in fields)
        bot.register_message_handler(lambda m: heard.append(f"named {m.text}"), func=has_name)
        bot.register_message_handler(lambda m: heard.append(f"new {m.text}"))
        host.deliver(said("one"))
        set_fields(sessions, KEY, name="Anna")
        host.deliver(said("two"), said("three", BORIS))
        assert (["new one", "named two", "new three"], []) == (heard, host.raised)

    def test_a_custom_filter_chooses_the_handler(
        self, host: Host, sessions: Sessions[Session]
    ) -> None:
        """
        Registered once, it takes what each handler says of its session: a mapping of fields, a
        predicate, or whether there is one.
        """
        heard: list[str] = []
        bot = host.bot
        bot.add_custom_filter(session_filter(sessions))
        conditions = {
            "naming": {"step": "name"},
            "adult": lambda fields: fields.get("age", 0) >= 18,
            "known": True,
            "unknown": False,
        }
        for name, condition in conditions.items():
            bot.register_message_handler(lambda _, name=name: heard.append(name), session=condition)
        host.deliver(said())
        for fields in ({"step": "name"}, {"step": "age", "age": 17}, {"age": 18}):
            set_fields(sessions, KEY, **fields)
            host.deliver(said())
        assert (["unknown", "naming", "known", "adult"], []) == (heard, host.raised)

    def test_it_works_for_other_kinds_of_updates(
        self, host: Host, sessions: Sessions[Session]
    ) -> None:
        """
        A button and a poll answer are filtered by the session of whoever sent them.
        """
        heard: list[str] = []
        bot = host.bot
        bot.add_custom_filter(session_filter(sessions))
        bot.register_callback_query_handler(
            lambda _: heard.append("button"), func=None, session={"step": "buttons"}
        )
        bot.register_poll_answer_handler(
            lambda _: heard.append("poll"), func=session_filter(sessions)
        )
        press = button_press(ANNA, message=message(GROUP, BORIS))
        vote = {"poll_id": "1", "user": ANNA, "option_ids": [0], "option_persistent_ids": ["0"]}
        before = update("callback_query", press), update("poll_answer", vote)
        host.deliver(*before)
        set_fields(sessions, KEY, step="buttons")
        host.deliver(update("callback_query", press), update("poll_answer", vote))
        assert (["button", "poll"], []) == (heard, host.raised)

    def test_it_agrees_with_the_session_that_the_handler_gets(
        self, host: Host, sessions: Sessions[Session]
    ) -> None:
        """
        On an attached bot a dialog of three steps goes from handler to handler.
        """
        bot = host.bot
        sessions.attach(bot)
        bot.add_custom_filter(session_filter(sessions))

        @bot.message_handler(session={"step": "age"})
        def take_age(message: Any, session: Session) -> None:
            session.update(step="done", age=int(message.text))

        @bot.message_handler(session={"step": "name"})
        def take_name(message: Any, session: Session) -> None:
            session.update(step="age", name=message.text)

        @bot.message_handler(session=False)
        def begin(message: Any, session: Session) -> None:
            session.step = "name"

        host.deliver(said("hi"), said("Anna"), said("33"), said("bye"))
        assert {"step": "done", "name": "Anna", "age": 33} == sessions.peek(KEY)
        assert [] == host.raised

    def test_it_is_named_after_the_session_parameter(self, simple_host: Host) -> None:
        """
        Two kinds of sessions are two custom filters, which one handler may both name.
        """
        heard: list[str] = []
        storage = MemoryStorage()
        people = Sessions(storage=storage, name="person")
        chats = Sessions(storage=storage, name="chat", get_storage_key=by_chat)
        for sessions in (people, chats):
            simple_host.bot.add_custom_filter(session_filter(sessions))
        simple_host.bot.register_message_handler(
            lambda m: heard.append(m.text), person={"step": "name"}, chat=True
        )
        set_fields(people, KEY, step="name")
        simple_host.deliver(said("one"))
        set_fields(chats, f"chat:{KEY}", open=True)
        simple_host.deliver(said("two"))
        assert (["two"], "person", "chat") == (
            heard,
            session_filter(people).key,
            session_filter(chats).key,
        )


class TestWhatItSees:
    def test_without_a_predicate_it_asks_for_a_session(self, sessions: Sessions[Session]) -> None:
        """
        It is true for senders who have a session, and for nobody else, whatever `initial` has.
        """
        known = session_filter(sessions)
        before = known(HI)
        set_fields(sessions, KEY, name="Anna")
        assert (False, True, False) == (before, known(HI), known(said("hi", BORIS).message))
        assert False is session_filter(Sessions(initial={"a": 1}, storage=MemoryStorage()))(HI)

    def test_a_predicate_gets_nothing_of_initial(self, spy_storage: SpyStorage) -> None:
        """
        Where nothing is stored, the predicate gets an empty dict, and `initial` is not called.
        """
        calls: list[int] = []
        seen: list[Any] = []

        def initial() -> dict[str, int]:
            calls.append(1)
            return {"counter": 0}

        session_filter(Sessions(initial=initial, storage=spy_storage), seen.append)(HI)
        assert ([{}], []) == (seen, calls)

    def test_what_a_predicate_returns_is_taken_as_a_bool(self, sessions: Sessions[Session]) -> None:
        """
        A filter is true or false, as `func=` of telebot wants it, whatever the predicate returns.
        """
        set_fields(sessions, KEY, items=["tea"], none=[])
        results = [session_filter(sessions, lambda f, n=n: f.get(n))(HI) for n in ("items", "none")]
        assert [True, False] == results

    def test_true_and_false_are_what_the_predicate_says(self, sessions: Sessions[Session]) -> None:
        """
        `session=False` wants a session that does not meet the predicate of the filter.
        """
        adult = session_filter(sessions, lambda fields: fields.get("age", 0) >= 18)
        young = [adult.check(HI, wanted) for wanted in (True, False)]
        set_fields(sessions, KEY, age=18)
        assert ([False, True], [True, False]) == (
            young,
            [adult.check(HI, wanted) for wanted in (True, False)],
        )

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({}, True),
            ({"step": "name"}, True),
            ({"step": "name", "tags": ["a"]}, True),
            ({"step": "age"}, False),
            ({"step": "name", "other": None}, False),
            ({"other": None}, False),
            ({"tags": []}, False),
            (MappingProxyType({"step": "name"}), True),
            (UserDict({"step": "name", "tags": ["a"]}), True),
            (UserDict({"step": "age"}), False),
        ],
        ids=repr,
    )
    def test_a_mapping_names_fields_and_their_values(
        self, wanted: Mapping[str, Any], expected: bool, sessions: Sessions[Session]
    ) -> None:
        """
        Each field that a mapping names must be there and be equal, and others do not matter.
        """
        set_fields(sessions, KEY, step="name", tags=["a"], more=1)
        assert expected is session_filter(sessions).check(HI, wanted)

    def test_it_does_not_see_expired_fields(
        self,
        clock: FrozenDateTimeFactory,
        sessions: Sessions[Session],
    ) -> None:
        """
        A field is seen until its deadline and not at it, and its neighbours remain.
        """
        has_code = session_filter(sessions, lambda fields: "code" in fields)
        set_fields(sessions, KEY, code=ttl("1234", 30), name="Anna")
        clock.tick(30 - MICROSECOND)
        just_before = has_code(HI), has_code.check(HI, {"code": "1234", "name": "Anna"})
        clock.tick(MICROSECOND)
        assert ((True, True), False) == (just_before, has_code(HI))
        assert (False, True) == (
            has_code.check(HI, {"code": "1234"}),
            has_code.check(HI, {"name": "Anna"}),
        )

    def test_a_session_whose_fields_have_expired_is_one(
        self, clock: FrozenDateTimeFactory, sessions: Sessions[Session]
    ) -> None:
        """
        As for `peek`, a record with no live fields is a session, an empty one, until a handler
        has had it.
        """
        set_fields(sessions, KEY, code=ttl("1234", 30))
        clock.tick(30)
        before = sessions.peek(KEY), session_filter(sessions)(HI)
        set_fields(sessions, KEY)
        assert (({}, True), (None, False)) == (
            before,
            (sessions.peek(KEY), session_filter(sessions)(HI)),
        )

    def test_it_does_not_see_what_a_handler_has_not_saved(
        self, sessions: Sessions[Session]
    ) -> None:
        """
        It sees the session as it was last saved, while a handler changes it, and does not wait.
        """
        named = session_filter(sessions, lambda fields: fields.get("name"))
        with sessions.open(KEY) as session:
            session.name = "Anna"
            assert False is named(HI)
        assert True is named(HI)

    @pytest.mark.parametrize("storage_kind", ["memory", "sqlite"])
    def test_typed_sessions_are_plain_data(self, storage_kind: str, tmp_path: Path) -> None:
        """
        Of a dataclass the predicate gets a plain dict of what is stored, without its defaults.
        """

        @dataclass
        class Cart:
            items: dict[str, int] = field(default_factory=dict)
            coupon: str = ""

        seen: list[Any] = []
        with SQLiteStorage(tmp_path / "carts.db") as file:
            storage = file if storage_kind == "sqlite" else MemoryStorage(codec=JSONCodec())
            carts = Sessions(initial=Cart, storage=storage, name="cart")
            session_filter(carts, seen.append)(HI)
            with carts.open(KEY) as cart:
                cart.items["tea"] = 2
            session_filter(carts, seen.append)(HI)
            found = session_filter(carts).check(HI, {"items": {"tea": 2}})
        assert ([{}, {"items": {"tea": 2}}], True) == ([seen[0], pick(seen[1], "items")], found)
        assert [dict, dict] == [type(fields) for fields in seen]

    def test_a_predicate_cannot_change_the_session(self, sessions: Sessions[Session]) -> None:
        """
        What a predicate does to its fields, nested ones too, is done to a copy.
        """
        set_fields(sessions, KEY, tags=["a"])

        def meddle(fields: dict[str, Any]) -> bool:
            fields["tags"].append("b")
            fields["new"] = 1
            return True

        assert (True, {"tags": ["a"]}) == (
            session_filter(sessions, meddle)(HI),
            sessions.peek(KEY),
        )


def pick(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: fields[name] for name in names}


class TestWhatItDoesNot:
    def test_it_only_reads(
        self,
        host: Host,
        spy_storage: SpyStorage,
        sessions: Sessions[Session],
    ) -> None:
        """
        Each handler that is tried is one read; nothing is locked, created, written or touched.
        """
        timed = Sessions(storage=spy_storage, lifetime=60)
        host.bot.add_custom_filter(session_filter(timed))
        host.bot.register_message_handler(print, session={"step": "name"})
        host.bot.register_message_handler(print, func=session_filter(sessions))
        host.deliver(said())
        keys = list(spy_storage.keys())
        set_fields(timed, KEY, step="age")
        spy_storage.calls.clear()
        host.bot.message_handlers.pop()
        host.deliver(said(), said())
        assert ([], {"get": 2}, []) == (keys, dict(spy_storage.calls), host.raised)

    def test_it_waits_for_no_lock(self, spy_storage: SpyStorage) -> None:
        """
        While somebody else has the session, the filter is there at once.
        """
        impatient = Sessions(storage=spy_storage, lock_timeout=0)
        set_fields(impatient, KEY, name="Anna")
        with spy_storage.hold(KEY, 0):
            assert True is session_filter(impatient)(HI)

    def test_it_does_not_renew_the_session(
        self,
        clock: FrozenDateTimeFactory,
        spy_storage: SpyStorage,
    ) -> None:
        """
        A session that filters looked at until the end of its lifetime ends all the same.
        """
        known = session_filter(Sessions(storage=spy_storage, lifetime=60))
        set_fields(Sessions(storage=spy_storage, lifetime=60), KEY, name="Anna")
        seen = []
        for seconds in (59, 1 - MICROSECOND, MICROSECOND):
            clock.tick(seconds)
            seen.append(known(HI))
        assert ([True, True, False], []) == (seen, list(spy_storage.keys()))

    def test_it_does_not_renew_fields(
        self,
        clock: FrozenDateTimeFactory,
        sessions: Sessions[Session],
    ) -> None:
        """
        A field that filters looked at ends at its deadline, and so it does in the handler.
        """
        set_fields(sessions, KEY, code=ttl(["1234"], 60), name="Anna")
        has_code = session_filter(sessions, lambda fields: fields["code"].append("x") or True)
        clock.tick(59)
        seen = has_code(HI)
        clock.tick(1)
        assert (True, {"name": "Anna"}) == (seen, sessions.peek(KEY))

    def test_nobody_has_no_session(self, sessions: Sessions[Session]) -> None:
        """
        For an update without a key every question about its session is answered with no, the
        one that wants none, too, and the predicate is not asked.
        """
        calls: list[Any] = []
        always = session_filter(sessions, lambda fields: calls.append(fields) or True)
        wanted = [True, False, {}, {"a": 1}, lambda fields: calls.append(fields) or True]
        assert [False] * 5 == [always.check(nobody(), value) for value in wanted]
        assert [False] * 2 == [session_filter(sessions).check(nobody(), v) for v in (True, False)]
        assert (False, []) == (always(nobody()), calls)


class TestErrors:
    def test_a_failed_read_is_an_error(self, host: Host, spy_storage: SpyStorage) -> None:
        """
        A storage that cannot be read is an error for the exception handler, and no handler runs,
        not even the one that wants no session.
        """
        heard: list[str] = []
        spy_storage.fail("get")
        host.bot.add_custom_filter(session_filter(Sessions(storage=spy_storage)))
        host.bot.register_message_handler(lambda m: heard.append(m.text), session=False)
        host.bot.register_message_handler(lambda m: heard.append(m.text))
        host.deliver(said())
        assert ([StorageError], []) == ([type(error) for error in host.raised], heard)

    def test_a_damaged_record_is_an_error(self, host: Host, spy_storage: SpyStorage) -> None:
        """
        A record that cannot be decoded, or is of a newer version, is an error and stays.
        """
        heard: list[str] = []
        newer: Sessions[Session] = Sessions(storage=spy_storage, version=3)
        set_fields(newer, KEY, name="Anna")
        spy_storage.set(str(BORIS["id"]), b"damaged")
        older = Sessions(storage=spy_storage, version=2)
        host.bot.register_message_handler(
            lambda m: heard.append(m.text), func=session_filter(older, lambda fields: not fields)
        )
        host.deliver(said("hi", ANNA), said("hi", BORIS))
        assert ([DecodeError] * 2, []) == ([type(error) for error in host.raised], heard)
        assert (b"damaged", {"name": "Anna"}) == (
            spy_storage.get(str(BORIS["id"])),
            newer.peek(KEY),
        )

    def test_a_key_function_that_raises_is_an_error(self, spy_storage: SpyStorage) -> None:
        """
        A `get_storage_key` that raises is not taken for an update without a key.
        """

        def get_storage_key(update: Any) -> str:
            raise LookupError

        sessions = Sessions(storage=spy_storage, get_storage_key=get_storage_key)
        with pytest.raises(SessionError, match="get_storage_key raised LookupError") as caught:
            session_filter(sessions)(HI)
        assert LookupError is type(caught.value.__cause__)

    def test_what_a_predicate_raises_reaches_the_bot(
        self, host: Host, sessions: Sessions[Session]
    ) -> None:
        """
        An exception of the predicate goes to the exception handler as it is.
        """
        host.bot.register_message_handler(
            print, func=session_filter(sessions, lambda fields: fields["age"] >= 18)
        )
        host.deliver(said())
        assert ["KeyError('age')"] == [repr(error) for error in host.raised]

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (lambda sessions: (MemoryStorage(),), "takes Sessions and a predicate, not MemoryS"),
            (lambda sessions: (None,), "takes Sessions and a predicate, not NoneType"),
            (lambda sessions: (sessions, {"step": "name"}), "must be a function, not dict"),
            (lambda sessions: (sessions, "name"), "must be a function, not str"),
            (lambda sessions: (sessions, True), "must be a function, not bool"),
            (lambda sessions: (sessions, always_async), "not async; write it with def"),
        ],
        ids=["storage", "none", "mapping", "text", "bool", "async"],
    )
    def test_wrong_arguments_are_refused(
        self, arguments: Any, reason: str, sessions: Sessions[Session]
    ) -> None:
        """
        What is no Sessions, or no blocking function, is refused when the filter is made.
        """
        with pytest.raises(TypeError, match=reason):
            session_filter(*arguments(sessions))

    @pytest.mark.parametrize("wanted", ["name", 1, ["step"], ("step", "name")], ids=repr)
    def test_a_handler_that_wants_something_else_is_refused(
        self, wanted: Any, host: Host, spy_storage: SpyStorage
    ) -> None:
        """
        A value in a handler that is no condition is an error that names the filter.
        """
        host.bot.add_custom_filter(session_filter(Sessions(storage=spy_storage, name="cart")))
        host.bot.register_message_handler(print, cart=wanted)
        host.deliver(said())
        (error,) = host.raised
        expected = "cart=... must be a function, a mapping of fields or a bool, not "
        assert (TypeError, f"{expected}{type(wanted).__name__}") == (type(error), str(error))

    def test_an_async_condition_of_a_handler_is_refused(
        self, host: Host, sessions: Sessions[Session]
    ) -> None:
        """
        A coroutine would be true for everybody.
        """
        host.bot.add_custom_filter(session_filter(sessions))
        host.bot.register_message_handler(print, session=always_async)
        host.deliver(said())
        assert [TypeError] == [type(error) for error in host.raised]


async def always_async(fields: dict[str, Any]) -> bool:
    return True


class TestFiltersExample:
    example = "filters"

    def test_each_player_has_a_cellar(self, stage: Stage) -> None:
        """
        What one player has taken, another has not.
        """
        start = "you are in a cellar; a lamp stands here, and a door leads out"
        assert [[start], [start]] == [stage.say(user, "hello") for user in (1, 2)]
        assert ["it is bright now, and something glitters"] == stage.say(1, "take lamp")
        assert ["the door is locked"] == stage.say(1, "open")
        assert ["you find no door in the dark"] == stage.say(2, "open")
        assert ["open, or take something?"] == stage.say(2, "take key")

    def test_who_is_out_may_come_again(self, stage: Stage) -> None:
        """
        Whoever has left has no session, and begins anew.
        """
        for text in ("hi", "take lamp", "take key"):
            stage.say(1, text)
        assert ["you are out, and the next player may come"] == stage.say(1, "open")
        assert [] == list(stage.module.sessions.keys())
        assert "cellar" in stage.say(1, "open")[0]
