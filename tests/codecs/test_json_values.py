"""JSONCodec brings back what was saved, as readable JSON, and of the same types."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from functools import partial
from typing import Any

import pytest
from freezegun import freeze_time
from hypothesis import given, settings, strategies as st

from support.clocks import examples
from support.storages import SpyStore
from support.threads import in_threads
from support.values import (
    CODEC,
    FIELDS,
    MARKS,
    TAGGED,
    TEXT,
    VALUES,
    decode,
    encode,
    many,
    shape,
    written,
)
from telesession import JSONCodec, MemoryStorage, PickleCodec, Sessions, Storage, as_dict, ttl


@many
@given(fields=FIELDS)
def test_what_you_save_is_what_you_load(fields: dict[str, Any]) -> None:
    """Any value of the supported types, nested, comes back equal and of the same type."""
    payload = CODEC.encode({"fields": fields}, "1")

    assert shape(fields) == shape(decode(payload)["fields"])
    assert payload == CODEC.encode(decode(payload), "1")


# No storage knows a codec, so a few values are enough for each.
@settings(max_examples=examples(40))
@given(key=TEXT.filter(bool), fields=FIELDS)
def test_a_session_brings_back_what_was_saved(
    storage: Storage, key: str, fields: dict[str, Any]
) -> None:
    """In each storage and under any key, what a handler saved comes back; reading keeps it."""
    sessions = Sessions(storage=storage)
    sessions.delete(key)
    with sessions.open(key) as session:
        session.update(fields)
    payload = storage.get(key)
    with sessions.open(key) as session:
        read = dict(session)

    assert shape(fields) == shape(read)
    assert payload == storage.get(key)


@many
@given(fields=FIELDS)
def test_reading_writes_nothing(fields: dict[str, Any]) -> None:
    """A handler that only reads writes nothing, whatever it reads."""
    store = SpyStore()
    sessions = Sessions(storage=MemoryStorage(store, codec=CODEC))
    with sessions.open(1) as session:
        session.update(fields)
    with sessions.open(1) as session:
        read = dict(session)

    assert shape(fields) == shape(read)
    assert 1 == store.writes


@many
@given(value=st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*MARKS, "a"]), inner, max_size=2),
    ),
))  # fmt: skip
def test_a_tag_cannot_be_forged(value: Any) -> None:
    """Data that looks like a tag comes back as the data that it is."""
    assert shape(value) == shape(decode(encode(value))["fields"]["value"])


@many
@given(tag=st.sampled_from([tag for tag in MARKS if tag.startswith("$")]), value=VALUES)
def test_what_was_written_can_itself_be_saved(tag: str, value: Any) -> None:
    """The very text of a tag, read as plain JSON and saved as data, is not taken for the tag."""
    forged = written({tag: [value], "again": value})
    once = {tag: written(value)}

    assert shape([forged, once]) == shape(decode(encode([forged, once]))["fields"]["value"])


PLAIN: dict[str, Any] = {
    "nothing": None,
    "bools": [True, False],
    "ints": [0, -1, 2**63 - 1, -(2**63)],
    "floats": [0.5, -0.0, 1e300, 5e-324],
    "text": ["", "ä", "\U0001f600", "\x00", '"\\/'],
    "dict": {"apple": {"count": 1}, "": []},
    "dollars": {"$a": 1, "$b": 2},
}


@pytest.mark.parametrize("value", list(PLAIN.values()), ids=list(PLAIN))
def test_plain_data_is_plain_json(value: Any) -> None:
    """Str-keyed plain data is written as any JSON writer would."""
    assert shape(value) == shape(written(value))


@pytest.mark.parametrize(("value", "expected"), list(TAGGED.values()), ids=list(TAGGED))
def test_a_tag_is_readable(value: Any, expected: Any) -> None:
    """What JSON has no word for is an object with one key that says what it is."""
    assert expected == written(value)
    assert shape(value) == shape(decode(encode(value))["fields"]["value"])


def test_sqlite_queries_the_text() -> None:
    """SQLite's `json_extract(payload, '$.fields.counter')` works on what is stored."""
    payload = CODEC.encode({"fields": {"counter": 3, "cart": {"apple": 1.5}, "t": (1,)}}, "1")
    paths = "'$.fields.counter'", "'$.fields.cart.apple'"
    query = "SELECT " + ", ".join(f"json_extract(:payload, {path})" for path in paths)

    with sqlite3.connect(":memory:") as connection:
        found = connection.execute(query, {"payload": payload.decode()}).fetchone()
    connection.close()

    assert (3, 1.5) == found


@pytest.mark.parametrize("name", ["$set", "$", "a b", ""])
def test_a_field_of_any_name_can_be_queried(name: str) -> None:
    """The fields themselves are never a tag, whatever the only one of them is called."""
    payload = CODEC.encode({"fields": {name: [1]}, "ttl": {name: [30.0, 5.5]}}, "1")

    assert {"fields": {name: [1]}, "ttl": {name: [30.0, 5.5]}} == json.loads(payload)
    assert json.loads(payload) == decode(payload)


def test_the_library_s_own_parts_come_back() -> None:
    """Deadlines and the version of a record are plain JSON beside the fields."""
    record = {"fields": {"code": (1,)}, "ttl": {"code": [300.0, 1e9 + 0.123456]}, "version": 3}
    payload = CODEC.encode(record, "1")

    assert record == decode(payload)
    assert {"$tuple": [1]} == json.loads(payload)["fields"]["code"]
    assert payload.startswith(b'{"fields":{')


def test_a_field_ttl_works_over_json() -> None:
    """A field with a TTL is gone at its deadline, over JSON as over pickle."""
    sessions = Sessions(storage=MemoryStorage(codec=JSONCodec()))
    with freeze_time("2026-01-01", tick=False) as frozen:
        with sessions.open(1) as session:
            session.update(code=ttl((1, 2), 300), name="Ann")
        frozen.tick(timedelta(seconds=299))
        kept = sessions.peek(1)
        before = dict(kept)
        frozen.tick(timedelta(seconds=1))

        assert ({"code": (1, 2), "name": "Ann"}, {"name": "Ann"}) == (before, kept)
        assert {"name": "Ann"} == sessions.peek(1)


@pytest.mark.parametrize("codec", [CODEC, None], ids=["before", "while-frozen"])
def test_frozen_dates_come_back_as_dates(codec: JSONCodec | None) -> None:
    """Under freezegun `now()` and `today()` are stored as the date and time they stand for."""
    real = {"now": datetime(2026, 1, 2, 3, tzinfo=UTC), "today": date(2026, 1, 2)}
    with freeze_time("2026-01-02 03:00"):
        used = codec or JSONCodec()
        fakes = {"now": datetime.now(UTC), "today": date.today()}
        payload = used.encode({"fields": fakes}, "1")
        read = used.decode(payload, "1")["fields"]
        frozen_types = [type(fake).__module__ for fake in fakes.values()]

    assert ["freezegun.api"] * 2 == frozen_types
    assert shape(real) == shape(read)
    assert payload == CODEC.encode({"fields": real}, "1")


def test_frozen_dates_come_back_as_dates_from_each_storage(storage: Storage) -> None:
    """What `now()` and `today()` gave under freezegun is, after a save, a plain date and time."""
    sessions = Sessions(storage=storage)
    with freeze_time("2026-01-02 03:00"), sessions.open("frozen") as session:
        session.update(now=datetime.now(UTC), today=date.today())

    real = {"now": datetime(2026, 1, 2, 3, tzinfo=UTC), "today": date(2026, 1, 2)}
    assert shape(real) == shape(as_dict(sessions.peek("frozen")))


def test_a_context_of_decimal_makes_no_difference() -> None:
    """A thread that writes its decimals otherwise, or is less precise, saves and loads the same."""
    value = Decimal("1.2345678901234567890123E+50")
    expected = encode(value)
    with localcontext() as context:
        context.capitals, context.prec = 0, 3
        inside = encode(value)
        read = decode(expected)["fields"]["value"]

    assert expected == inside
    assert (str(value), Decimal) == (str(read), type(read))


def test_what_is_decoded_is_shared_with_nobody() -> None:
    """Two readers of one payload get objects of their own."""
    payload = encode([["a"], ({"b"},)])
    decode(payload)["fields"]["value"][0].append("c")
    decode(payload)["fields"]["value"][1][0].add("c")

    assert [["a"], ({"b"},)] == decode(payload)["fields"]["value"]


def test_the_codec_is_the_default_outside_memory() -> None:
    """A storage's records are JSON unless it says otherwise; those in memory are pickled."""
    assert JSONCodec is type(Storage.codec)
    assert isinstance(MemoryStorage().codec, PickleCodec)
    assert PickleCodec is type(MemoryStorage({}).codec)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({8, 16, 0, 24}, {24, 0, 16, 8}),
        ({"a", "b", (1, 2)}, {(1, 2), "b", "a"}),
        (frozenset({frozenset({8, 0}), 1}), frozenset({1, frozenset({0, 8})})),
        ([{0, 8}, {16, 8}], [{8, 0}, {8, 16}]),
    ],
    ids=["ints", "mixed", "nested", "in-list"],
)
def test_equal_sets_are_written_equally(one: Any, other: Any) -> None:
    """The order in which a set holds its items makes no difference."""
    assert encode(one) == encode(other)


def test_a_changed_order_of_a_dict_is_a_change() -> None:
    """The order of a dict is kept, so another order is another value."""
    assert encode({"a": 1, "b": 2}) != encode({"b": 2, "a": 1})
    assert ["b", "a"] == list(decode(encode({"b": 2, "a": 1}))["fields"]["value"])


EDITED = b' { "fields" : { "name" : "\\u0041nn", "at" : [ 1.50, { "$tuple" : [ ] } ] } }\n'


def test_an_edited_record_is_read_and_not_rewritten() -> None:
    """What somebody wrote with other spaces and spellings is read, and stays until it changes."""
    record = decode(EDITED)

    assert {"fields": {"name": "Ann", "at": [1.5, ()]}} == record
    assert EDITED == CODEC.encode(record, "1", EDITED)
    record["fields"]["name"] = "Bob"
    assert b'{"fields":{"name":"Bob","at":[1.5,{"$tuple":[]}]}}' == CODEC.encode(
        record, "1", EDITED
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [([1], [1.0]), ([1], [True]), ([0.0], [-0.0]), ([1], (1,)), ({1}, frozenset({1})), (b"", "")],
    ids=["float", "bool", "sign-of-zero", "tuple", "frozenset", "text"],
)
def test_a_changed_type_is_a_change(before: Any, after: Any) -> None:
    """A value that equals the stored one but is of another type is written."""
    previous = encode(before)
    payload = CODEC.encode({"fields": {"value": after}}, "1", previous)

    assert previous != payload
    assert shape(after) == shape(decode(payload)["fields"]["value"])


def test_threads_share_a_codec() -> None:
    """One codec serves all threads at once."""
    wrong: list[int] = []

    def work(number: int) -> None:
        fields = {"n": number, "pair": (number, {str(number)}), "at": datetime(2026, 1, number)}
        for _ in range(200):
            payload = CODEC.encode({"fields": fields}, str(number))
            if CODEC.decode(payload, str(number)) != {"fields": fields}:
                wrong.append(number)

    in_threads([partial(work, number) for number in range(1, 5)])

    assert [] == wrong
