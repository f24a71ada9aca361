"""JSONCodec refuses bytes that are no record of its own, and guesses nothing."""

from __future__ import annotations

import json
import random
from collections import Counter
from decimal import localcontext

import pytest
from hypothesis import given, strategies as st

from support.values import (
    CODEC,
    MARKS,
    SECRET,
    TAGGED,
    decode,
    decode_value,
    encode,
    many,
    mutated,
    shape,
    told_by,
    undecodable,
)
from telesession import DecodeError, PickleCodec, Sessions, Storage

# What a text that is nearly JSON is made of.
CHARACTERS = b'{}[]",:$0123456789.eE+-ntf\\ \x00'

BAD: dict[str, bytes] = {
    "empty": b"",
    "no-object": b"[1]",
    "no-fields": b"{}",
    "null": b"null",
    "fields-no-object": b'{"fields":[]}',
    "fields-tag": b'{"fields":null}',
    "unknown-part": b'{"fields":{"a":1},"tzl":{"a":[1,2]}}',
    "trailing": b'{"fields":{}}x',
    "trailing-nul": b'{"fields":{}}\x00',
    "two-records": b'{"fields":{}}{"fields":{}}',
    "bom": b'\xef\xbb\xbf{"fields":{}}',
    "utf-16": '{"fields":{}}'.encode("utf-16"),
    "latin-1": '{"fields":{"a":"ä"}}'.encode("latin-1"),
    "surrogate": b'{"fields":{"a":"\xed\xa0\x80"}}',
    "escaped-surrogate": b'{"fields":{"a":"\\ud800"}}',
    "nan": b'{"fields":{"a":NaN}}',
    "infinite": b'{"fields":{"a":1e400}}',
    "infinite-edited": b'{"fields":{"a": -1e400}}',
    "huge-int": b'{"fields":{"a":' + b"9" * 5000 + b"}}",
    "comment": b'{"fields":{}/**/}',
    "single-quotes": b"{'fields':{}}",
    "control": b'{"fields":{"a":"\n"}}',
    "duplicate-part": b'{"fields":{"a":1},"fields":{}}',
    "duplicate-field": b'{"fields":{"a":1,"a":2}}',
    "duplicate-escaped": b'{"fields":{"a":1,"\\u0061":1}}',
    "duplicate-nested": b'{"fields":{"a":[{"b":1,"b":1}]}}',
    "deep": b'{"fields":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "deep-unclosed": b'{"fields":' * 100_000,
    "deep-tags": b'{"fields":{"a":' + b'{"$tuple":[' * 600 + b"]}" * 600 + b"}}",
}


@pytest.mark.parametrize("payload", list(BAD.values()), ids=list(BAD))
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    """Undecodable bytes are a `DecodeError` with the key, and never an empty session."""
    undecodable(payload)


BAD_TAGS = [
    '{"$nothing":1}', '{"$":1}', '{"$tuple":1}', '{"$tuple":{"a":1}}', '{"$tuple":"ab"}',
    '{"$set":[1,1]}', '{"$set":[1,true]}', '{"$set":[[1]]}', '{"$set":"ab"}', '{"$set":null}',
    '{"$set":[{"$set":[]}]}', '{"$frozenset":[1,1.0]}', '{"$set":[{"$decimal":"sNaN"}]}',
    '{"$dict":{"a":1}}', '{"$dict":[1]}', '{"$dict":["ab"]}', '{"$dict":[[1,2,3]]}',
    '{"$dict":[[1,2],[1,3]]}', '{"$dict":[[[],1]]}', '{"$dict":{"ab":1}}', '{"$dict":"ab"}',
    '{"$int":5}', '{"$int":"5"}', '{"$int":"0x"}', '{"$int":"0X5"}', '{"$int":" 0x5"}',
    '{"$int":null}', '{"$int":"0x_5"}', '{"$float":1}', '{"$float":"NaN"}', '{"$float":"infinity"}',
    '{"$float":[]}', '{"$float":{"$float":"nan"}}', '{"$complex":"1"}', '{"$complex":1}',
    '{"$complex":"( 1+2j )"}', '{"$complex":[1,2]}', '{"$bytes":"A"}', '{"$bytes":"AP8"}',
    '{"$bytes":"A P8="}', '{"$bytes":"AP9="}', '{"$bytes":[0]}', '{"$bytes":3}',
    '{"$bytes":"\\u00e4"}',
    '{"$bytearray":3}', '{"$str":"/w=="}', '{"$str":1}', '{"$date":"20260102"}',
    '{"$date":"2026-02-30"}', '{"$date":1}', '{"$date":null}', '{"$datetime":"2026-01-02"}',
    '{"$datetime":"2026-01-02 03:04:00"}', '{"$datetime":[]}',
    '{"$datetime":["2026-01-02T03:04:00"]}',
    '{"$datetime":["2026-01-02T03:04:00",{}]}', '{"$datetime":["2026-01-02T03:04:00",{"fold":2}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"fold":"1"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"Europe/Atlantis"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"../../etc/passwd"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"/etc/passwd"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"Europe"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":""}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":"\\u0000"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"zone":3}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"name":"CET"}]}',
    '{"$datetime":["2026-01-02T03:04:00",{"when":1}]}', '{"$datetime":["2026-01-02T03:04:00",1]}',
    '{"$time":"25:00:00"}', '{"$time":"T01:00:00"}', '{"$time":3}', '{"$timedelta":[1,2]}',
    '{"$timedelta":[0,86400,0]}', '{"$timedelta":[0,0,0.5]}', '{"$timedelta":5}',
    '{"$timedelta":[1000000000,0,0]}', '{"$timedelta":["1",0,0]}', '{"$timedelta":{"a":1}}',
    '{"$decimal":1.5}', '{"$decimal":"1_0"}', '{"$decimal":" 1"}', '{"$decimal":"one"}',
    '{"$decimal":[0,[1],-1]}', '{"$decimal":"1E+99999999999999999999"}',
    '{"$uuid":"{00000000000000000000000000000001}"}', '{"$uuid":1}', '{"$uuid":null}',
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_TAGS)
def test_a_tag_of_the_wrong_shape_is_refused(text: str) -> None:
    """What no version of the codec wrote as a tag is a `DecodeError`, and not a guess."""
    with pytest.raises(DecodeError):
        decode_value(text)


@pytest.mark.parametrize("trapped", [True, False])
def test_a_careless_decimal_context_guesses_nothing(trapped: bool) -> None:
    """Where a thread has told decimals not to complain, damaged ones are refused all the same."""
    from decimal import InvalidOperation

    with localcontext() as context:
        context.traps[InvalidOperation] = trapped
        with pytest.raises(DecodeError):
            decode_value('{"$decimal":"one"}')


def test_a_decode_error_shows_no_value() -> None:
    """A `DecodeError` shows nothing of what was stored, nor does what it was raised from."""
    error = undecodable(b'{"fields":{"value":{"$uuid":"hunter2"}}}')

    assert SECRET not in told_by(error)


def test_a_pickled_record_is_named() -> None:
    """JSONCodec does not fall back to pickle: it says who wrote the record, and the ways out."""
    error = undecodable(PickleCodec().encode({"fields": {"a": 1}}, "1"))

    assert (
        "PickleCodec wrote it, and the storage has JSONCodec now",
        "give the storage PickleCodec, or delete the record to start anew",
    ) == (error.reason, error.remedy)


def test_a_json_record_is_named() -> None:
    """PickleCodec too says who wrote a record that is not its own, and the ways out."""
    with pytest.raises(DecodeError) as caught:
        PickleCodec().decode(encode(1), "1")

    assert (
        "JSONCodec wrote it, and the storage has PickleCodec now",
        "give the storage JSONCodec, or delete the record to start anew",
    ) == (caught.value.reason, caught.value.remedy)


@many
@given(payload=st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(str.encode),
    st.text('{}[]",:$fieldstupn01e.-\\u ', max_size=40).map(
        lambda text: b'{"fields":{%b' % text.encode()
    ),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=4)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from([*TAGGED, *MARKS]).map("${}".format), inner, max_size=1
            ),
            st.dictionaries(st.sampled_from(MARKS), inner, max_size=2),
        ),
    ).map(lambda value: json.dumps({"fields": {"value": value}}).encode()),
))  # fmt: skip
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    """Any bytes at all are a record, or a `DecodeError`; and what was read can be saved."""
    try:
        record, key = decode(payload), "1"
    except DecodeError as error:
        record, key = {"fields": {}}, error.key

    assert "1" == key
    assert shape(record) == shape(decode(CODEC.encode(record, "1")))


def test_a_mutated_record_never_raises_anything_else() -> None:
    """100,000 mutated payloads: each is read, or is a `DecodeError`; none is an empty session."""
    payloads = [
        CODEC.encode({"fields": {"counter": 1, "name": "Ann"}}, "1"),
        CODEC.encode({"fields": {"cart": {"apple": [1, 2.5, None]}, "log": ["a", "ä"] * 3}}, "1"),
        CODEC.encode({"fields": {"code": "1234"}, "ttl": {"code": [300.0, 1e9]}}, "1"),
        *(encode(value) for value, _ in TAGGED.values()),
    ]
    rng = random.Random(2026)
    outcomes: Counter[str] = Counter()
    for _ in range(100_000):
        payload = mutated(rng.choice(payloads), payloads, rng, CHARACTERS)
        try:
            record = CODEC.decode(payload, "1")
        except DecodeError as error:
            outcomes["refused" if error.key == "1" else "refused without the key"] += 1
        except BaseException as error:
            outcomes[f"{type(error).__name__} for {payload!r}"] += 1
        else:
            outcomes["read" if record["fields"] else f"emptied: {payload!r}"] += 1

    assert {"read", "refused"} == set(outcomes)


def test_an_undecodable_record_stays(storage: Storage) -> None:
    """In each storage a record that cannot be read is a `DecodeError`, and stays as it was."""
    sessions = Sessions(storage=storage, lock_timeout=0)
    payloads = [b'{"fields":{"a":1,"a":2}}', b"", b"\xff", b'{"fields":']
    for payload in payloads:
        storage.set("1", payload, 1000)
        for _ in range(2):
            with pytest.raises(DecodeError), sessions.open(1):
                pass
        with pytest.raises(DecodeError):
            sessions.peek(1)
        assert payload == storage.get("1")
