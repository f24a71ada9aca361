"""EncryptedCodec: who reads it, who does not, and what its payloads are bound to."""

from __future__ import annotations

import base64
import random
import sys
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet, MultiFernet
from freezegun import freeze_time
from hypothesis import given, settings, strategies as st

from support.clocks import examples
from support.storages import SpyStore
from support.values import told_by
from telesession import (
    DecodeError,
    EncodeError,
    EncryptedCodec,
    JSONCodec,
    MemoryStorage,
    PickleCodec,
    Sessions,
    ttl,
)

OLD, NEW, OTHER = "AA" * 21 + "A=", "BB" * 21 + "A=", "CC" * 21 + "A="
RECORD = {"fields": {"counter": 1, "name": "hunter2"}}
CODEC = EncryptedCodec(JSONCodec(), keys=[NEW, OLD])


def refused(codec: Any, payload: bytes, key: str = "1") -> str:
    """Why a codec does not read a payload."""
    with pytest.raises(DecodeError) as caught:
        codec.decode(payload, key)
    assert key == caught.value.key
    return caught.value.reason


@settings(max_examples=examples(50))
@given(
    key=st.text(st.characters(exclude_categories=[]), max_size=20),
    fields=st.dictionaries(st.text(max_size=5), st.binary(max_size=50), max_size=3),
    inner=st.sampled_from([JSONCodec(), PickleCodec(), EncryptedCodec(JSONCodec(), [OTHER])]),
)
def test_what_you_save_is_what_you_load(key: str, fields: dict[str, bytes], inner: Any) -> None:
    """Whatever the codec inside can keep comes back, under any storage key."""
    codec = EncryptedCodec(inner, keys=[NEW, OLD])
    payload = codec.encode({"fields": fields}, key)

    assert {"fields": fields} == codec.decode(payload, key)


def test_nothing_is_readable() -> None:
    """Neither names nor values of fields, nor the storage key, can be read from a payload."""
    payload = CODEC.encode(RECORD, "user-17")
    raw = base64.urlsafe_b64decode(payload)
    shown = [word for word in (b"hunter2", b"name", b"fields", b"user-17") if word in payload + raw]

    assert [] == shown


def test_equal_records_are_not_told_by_their_payloads() -> None:
    """Two payloads of one record differ, so that nobody sees whose sessions are alike."""
    assert CODEC.encode(RECORD, "1") != CODEC.encode(RECORD, "1")


def test_sessions_work_encrypted() -> None:
    """A real session with a TTL field lives over an encrypted storage."""
    store: dict[str, bytes] = {}
    sessions = Sessions(storage=MemoryStorage(store, codec=CODEC))
    with freeze_time("2026-01-01") as frozen:
        with sessions.open(1) as session:
            session.update(counter=1, code=ttl("1234", 300))
        with sessions.open(1) as session:
            session.counter += 1
        before = sessions.peek(1)
        frozen.tick(timedelta(seconds=300))
        after = sessions.peek(1)

    assert ({"counter": 2, "code": "1234"}, {"counter": 2}) == (before, after)
    assert b"1234" not in store["1"]


# Keys.


def test_the_first_key_writes() -> None:
    """The first key writes: who has only that one reads, who has only the other does not."""
    payload = CODEC.encode(RECORD, "1")

    assert RECORD == EncryptedCodec(JSONCodec(), [NEW]).decode(payload, "1")
    assert "none of the keys" in refused(EncryptedCodec(JSONCodec(), [OLD]), payload)


@pytest.mark.parametrize("keys", [[OLD], [NEW, OLD], [OTHER, NEW, OLD]], ids=len)
def test_all_keys_read(keys: list[str]) -> None:
    """What an old key wrote is read for as long as that key is in the list."""
    payload = EncryptedCodec(JSONCodec(), [OLD]).encode(RECORD, "1")

    assert RECORD == EncryptedCodec(JSONCodec(), keys).decode(payload, "1")


@pytest.mark.parametrize(
    "key", [NEW, NEW.encode(), Fernet.generate_key()], ids=["str", "bytes", "made"]
)
def test_a_key_is_text_or_bytes(key: Any) -> None:
    """A key is what `Fernet.generate_key()` gives, as bytes or as text."""
    codec = EncryptedCodec(JSONCodec(), keys=[key])

    assert RECORD == codec.decode(codec.encode(RECORD, "1"), "1")


def test_keys_may_be_any_iterable() -> None:
    """Keys may come from a generator; it is read once."""
    codec = EncryptedCodec(JSONCodec(), keys=(key for key in (NEW, OLD)))

    assert RECORD == codec.decode(CODEC.encode(RECORD, "1"), "1")


SECRET_KEY = "not-a-key-but-secret"
BAD_KEYS: dict[str, Any] = {
    "none": [],
    "no-list": None,
    "number": 3,
    "lone-text": NEW,
    "lone-bytes": NEW.encode(),
    "text": [SECRET_KEY],
    "bytes": [SECRET_KEY.encode()],
    "second": [NEW, SECRET_KEY],
    "empty": [""],
    "short": [base64.urlsafe_b64encode(b"x" * 31)],
    "long": [base64.urlsafe_b64encode(b"x" * 33)],
    "of-none": [None],
    "of-ints": [1],
    "not-ascii": ["ä" * 44],
}


@pytest.mark.parametrize("keys", list(BAD_KEYS.values()), ids=list(BAD_KEYS))
def test_bad_keys_are_refused(keys: Any) -> None:
    """Bad keys or none are a `ValueError` that says how to make one, and never shows one."""
    with pytest.raises(ValueError, match=r"Fernet\.generate_key\(\)") as caught:
        EncryptedCodec(JSONCodec(), keys=keys)

    shown = told_by(caught.value)
    assert (False, False) == (SECRET_KEY in shown, NEW in shown)


@pytest.mark.parametrize(
    "codec", [None, JSONCodec, object(), "json"], ids=["none", "class", "object", "text"]
)
def test_a_codec_is_needed(codec: Any) -> None:
    """What has no `encode` and `decode` of an instance is refused at construction."""
    with pytest.raises(TypeError, match="must get a codec such as JSONCodec"):
        EncryptedCodec(codec, keys=[NEW])


def test_a_repr_shows_no_key() -> None:
    """`repr` says what is inside and how many keys there are."""
    assert "<EncryptedCodec of JSONCodec, keys: 2>" == repr(CODEC)


def test_without_cryptography_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cryptography is missing, constructing is an `ImportError` that says what to install."""
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)

    with pytest.raises(ImportError, match=r"pip install 'cryptography>=42'"):
        EncryptedCodec(JSONCodec(), keys=[NEW])


# A handler that only reads writes nothing.


def test_an_unchanged_record_gives_the_previous_payload() -> None:
    """`encode` returns the very payload that was loaded while the record says the same."""
    record = {"fields": {"tags": {8, 16, 0}, "n": 1}}
    previous = CODEC.encode(record, "1")
    same = CODEC.encode({"fields": {"tags": {0, 16, 8}, "n": 1}}, "1", previous)
    changed = CODEC.encode({"fields": {"tags": {0, 16, 8}, "n": 1.0}}, "1", previous)

    assert previous == same
    assert previous != changed


def test_reading_writes_nothing() -> None:
    """A handler that only reads writes nothing, though no encryption gives the same bytes."""
    store = SpyStore()
    sessions = Sessions(storage=MemoryStorage(store, codec=CODEC))
    with sessions.open(1) as session:
        session.update(tags={"b", "a"}, code=ttl("1234", 300))
    for _ in range(3):
        sessions.peek(1)
        with sessions.open(1) as session:
            assert {"a", "b"} == session.tags

    assert 1 == store.writes


def test_rotation_rewrites_with_the_next_change() -> None:
    """After a rotation a read leaves the record; the next change writes it with the new key."""
    store = SpyStore()
    with Sessions(storage=MemoryStorage(store, EncryptedCodec(JSONCodec(), [OLD]))).open(1) as s:
        s.counter = 1
    before = store["1"]
    sessions = Sessions(storage=MemoryStorage(store, CODEC))
    with sessions.open(1) as session:
        read = session.counter
    after_reading = store["1"]
    with sessions.open(1) as session:
        session.counter += 1

    assert (1, before) == (read, after_reading)
    assert {"fields": {"counter": 2}} == EncryptedCodec(JSONCodec(), [NEW]).decode(store["1"], "1")


# Undecodable payloads.


@pytest.mark.parametrize(
    ("one", "other"), [("1", "2"), ("1", "11"), ("11", "1"), ("", "a"), ("a", "")]
)
def test_a_moved_payload_does_not_decode(one: str, other: str) -> None:
    """A payload moved to another user's record is a `DecodeError`, and says that it was moved."""
    assert "it was encrypted for another storage key" == refused(
        CODEC, CODEC.encode(RECORD, one), other
    )


def test_swapped_records_stay() -> None:
    """Two users whose records were swapped get errors, and the records stay as they are."""
    store: dict[str, bytes] = {}
    sessions = Sessions(storage=MemoryStorage(store, codec=CODEC))
    for key in ("1", "2"):
        with sessions.open(key) as session:
            session.name = key
    swapped = {"1": store["2"], "2": store["1"]}
    store.update(swapped)
    for key in ("1", "2"):
        with pytest.raises(DecodeError), sessions.open(key):
            pass

    assert swapped == store


def test_every_truncation_is_refused() -> None:
    """A payload that lost its end is a `DecodeError`."""
    payload = CODEC.encode(RECORD, "1")
    reasons = {refused(CODEC, payload[:length]) for length in range(len(payload))}

    assert {
        "EncryptedCodec did not write it",
        "none of the keys of EncryptedCodec fits, or it is damaged",
    } == reasons


def test_a_wrong_key_is_refused() -> None:
    """A payload that none of the keys wrote is a `DecodeError`."""
    payload = EncryptedCodec(JSONCodec(), [OTHER]).encode(RECORD, "1")

    assert "none of the keys of EncryptedCodec fits, or it is damaged" == refused(CODEC, payload)


@pytest.mark.parametrize(
    ("plain", "reader", "writer_name", "reader_name"),
    [
        (JSONCodec(), CODEC, "JSONCodec", "EncryptedCodec"),
        (PickleCodec(), CODEC, "PickleCodec", "EncryptedCodec"),
        (CODEC, JSONCodec(), "EncryptedCodec", "JSONCodec"),
        (CODEC, PickleCodec(), "EncryptedCodec", "PickleCodec"),
    ],
    ids=["json-as-encrypted", "pickle-as-encrypted", "encrypted-as-json", "encrypted-as-pickle"],
)
def test_another_codec_s_payload_is_named(
    plain: Any, reader: Any, writer_name: str, reader_name: str
) -> None:
    """A payload that was never encrypted, or still is, is named as what it is."""
    reason = refused(reader, plain.encode(RECORD, "1"))

    assert reason.startswith(f"{writer_name} wrote it, and the storage has {reader_name} now")


def test_a_record_of_another_codec_inside_is_refused() -> None:
    """The codec inside refuses what it did not write, after decryption too."""
    payload = EncryptedCodec(PickleCodec(), [NEW]).encode(RECORD, "1")

    assert refused(CODEC, payload).startswith("PickleCodec wrote it")


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\x00\x00\x00\x011", b'{"fields":{"counter":1}}']
)
def test_what_only_the_key_s_owner_could_forge_is_refused(content: bytes) -> None:
    """A token of the right key that EncryptedCodec did not make is no record."""
    refused(CODEC, MultiFernet([Fernet(NEW)]).encrypt(content))


@settings(max_examples=examples(100))
@given(
    payload=st.one_of(
        st.binary(),
        st.binary().map(lambda tail: b"gAAAAA" + tail),
        st.binary().map(lambda raw: base64.urlsafe_b64encode(b"\x80" + raw)),
    )
)
def test_any_bytes_are_refused(payload: bytes) -> None:
    """Bytes that no key has signed are a `DecodeError`, and nothing else."""
    refused(CODEC, payload)


def test_a_mutated_payload_never_gives_another_record() -> None:
    """5,000 mutated payloads: a `DecodeError`, or the very record that was saved."""
    payload = CODEC.encode(RECORD, "1")
    rng = random.Random(2026)
    outcomes: Counter[str] = Counter()
    for _ in range(5_000):
        damaged = bytearray(payload)
        at = rng.randrange(len(damaged))
        damaged[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        try:
            same = CODEC.decode(bytes(damaged), "1") == RECORD
            outcomes["the same" if same else f"another: {bytes(damaged)!r}"] += 1
        except DecodeError as error:
            outcomes["refused" if error.key == "1" else "refused without the key"] += 1
        except BaseException as error:
            outcomes[type(error).__name__] += 1

    assert {"the same", "refused"} == set(outcomes)


def test_what_cannot_be_encoded_is_refused() -> None:
    """The codec inside refuses what would not come back, and its error names the path."""
    with pytest.raises(EncodeError) as caught:
        CODEC.encode({"fields": {"log": [object()]}}, "1")

    assert ("1", "log[0]") == (caught.value.key, caught.value.path)


@pytest.mark.parametrize("year", ["1900-01-01", "1970-01-01", "2026-01-01", "9999-12-31"])
def test_the_clock_makes_no_difference(year: str) -> None:
    """A clock that is centuries off neither keeps from writing nor from reading."""
    with freeze_time(year):
        payload = CODEC.encode(RECORD, "1")
        inside = CODEC.decode(payload, "1")

    assert (RECORD, RECORD) == (inside, CODEC.decode(payload, "1"))
    assert 0 == Fernet(NEW).extract_timestamp(payload)
