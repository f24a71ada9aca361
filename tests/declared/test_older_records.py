"""Records that were written before typed sessions followed annotations load as they did."""

from __future__ import annotations

import dataclasses
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.forms import FORMS, alike
from support.sessions import Cart, holder_of
from support.values import Color, Item
from telesession import (
    JSONCodec,
    MemoryStorage,
    PickleCodec,
    Sessions,
    SQLiteStorage,
    Storage,
    ttl_left,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

# By the name of a form: its value as it stands in the JSON text of such a record.
JSON: dict[str, str] = {
    "big int": '{"$int":"0x100000000000000000000000000000000000000000000000000"}',
    "str": '"text"',
    "bool": "true",
    "float": "1.5",
    "infinity": '{"$float":"inf"}',
    "complex": '{"$complex":"1j"}',
    "None": "null",
    "bytes": '{"$bytes":"dGV4dA=="}',
    "bytearray": '{"$bytearray":"dGV4dA=="}',
    "datetime": '{"$datetime":"2026-02-03T04:00:00"}',
    "aware datetime": '{"$datetime":"2026-01-01T12:00:00+00:00"}',
    "datetime in a zone": '{"$datetime":["2026-01-01T12:00:00",{"zone":"Europe/Berlin"}]}',
    "date": '{"$date":"2026-01-01"}',
    "time": '{"$time":"12:30:15.000005"}',
    "timedelta": '{"$timedelta":[1,0,1]}',
    "Decimal": '{"$decimal":"1.50"}',
    "UUID": '{"$uuid":"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"}',
    "Any": '{"a":[1,{"$tuple":[2]},{"$set":[3]},null]}',
    "object": "[1]",
    "literal": '"b"',
    "optional, None": "null",
    "optional": '{"name":"apple","count":0}',
    "optional list": '[{"name":"tea","count":0}]',
    "union, int": "1",
    "union, str": '"1"',
    "union, None": "null",
    "union, enum": '"blue"',
    "Any in a union": "[1]",
    "Enum": '"blue"',
    "IntEnum": "2",
    "StrEnum": '"bad"',
    "Flag": "1",
    "Flag, several": "3",
    "Flag, none": "0",
    "IntFlag": "2",
    "IntFlag, several": "3",
    "list": '[1,"a",null]',
    "dict": '{"$dict":[["a",[1]],[2,{"$tuple":[3]}]]}',
    "tuple": '{"$tuple":[1,"a"]}',
    "set": '{"$set":["a",1]}',
    "frozenset": '{"$frozenset":[1]}',
    "list of int": "[1,2]",
    "list of float": "[1,1.5]",
    "list of Any": "[1,[2]]",
    "list of optional": "[1,null]",
    "list of datetime": '[{"$datetime":"2026-01-01T12:00:00"}]',
    "list of lists": "[[1],[]]",
    "list of dataclasses": '[{"name":"a","count":0},{"name":"b","count":0}]',
    "list of enums": '["good"]',
    "dict of int": '{"a":1}',
    "dict of dataclasses": '{"a":{"name":"a","count":0}}',
    "dict by int": '{"$dict":[[1,{"name":"a","count":0}]]}',
    "dict by enum": '{"blue":1}',
    "dict by date": '{"$dict":[[{"$date":"2026-01-01"},1]]}',
    "dict by tuple": '{"$dict":[[{"$tuple":[1,2]},"a"]]}',
    "tuple of int": '{"$tuple":[1,2]}',
    "tuple of dataclasses": '{"$tuple":[{"name":"a","count":0}]}',
    "tuple of two": '{"$tuple":[{"name":"a","count":0},1]}',
    "tuple of none": '{"$tuple":[]}',
    "set of int": '{"$set":[1,2]}',
    "set of enums": '{"$set":["red"]}',
    "set of dataclasses": '[{"text":"a","color":"red"},{"text":"b","color":"red"}]',
    "frozenset of int": '{"$frozenset":[1]}',
    "frozenset of dataclasses": '[{"text":"a","color":"red"}]',
    "deep": '{"a":[{"$tuple":[{"name":"a","count":0}]},{"$tuple":[]}]}',
    "sequence, list": "[1,2]",
    "mutable sequence": "[1]",
    "iterable": '{"$tuple":[1]}',
    "mapping": '{"a":1}',
    "mutable mapping": '{"a":{"name":"tea","count":0}}',
    "mutable set": '{"$set":[1]}',
    "TypedDict": '{"size":1,"label":"a"}',
    "TypedDict, less": '{"size":1}',
    "TypedDict of dataclasses": '{"item":{"name":"a","count":0}}',
    "TypedDict, not total": '{"title":"a","year":1}',
    "dataclass": '{"name":"apple","count":2}',
    "frozen dataclass": '{"text":"old","color":"blue"}',
    "slotted dataclass": '{"count":3}',
    "frozen and slotted dataclass": '{"x":1,"y":2}',
    "dataclass with a result": '{"count":4,"double":8}',
    "dataclass that refuses": '{"text":""}',
    "dataclass that compares in part": '{"number":1,"text":"a"}',
    "dataclass with another base": '{"side":2}',
    "recursive dataclass": (
        '{"children":[{"children":[],"parent":null},{"children":[{"children":[],"parent":'
        'null}],"parent":null}],"parent":{"children":[],"parent":null}}'
    ),
    "generic dataclass": '{"content":1,"more":[2]}',
    "generic dataclass of dataclasses": (
        '{"content":{"name":"a","count":0},"more":[{"name":"tea","count":0}]}'
    ),
    "generic dataclass of anything": '{"content":"a","more":[1]}',
    "subclass of a generic dataclass": '{"content":1,"more":[2],"label":"a"}',
    "pydantic dataclass": '{"count":1,"tags":["a"]}',
}

# By the name of a form: the payload of such a record as Base64, with its value.
PICKLES: dict[str, str] = {
    "datetime": (
        "gAWVQQAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMCGRhdGV0aW1llIwIZGF0ZXRpbWWUk5RDCgfq"
        "AgMEAAAAAACUhZRSlHNzLpw1Zvs="
    ),
    "list of dataclasses": (
        "gAWVQwAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZRdlCh9lCiMBG5hbWWUjAFhlIwFY291bnSUSwB1"
        "fZQoaAaMAWKUaAhLAHVlc3MuhiX9Jg=="
    ),
    "dict by enum": "gAWVJAAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZR9lIwEYmx1ZZRLAXNzcy45yLju",
    "set of dataclasses": (
        "gAWVRwAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZRdlCh9lCiMBHRleHSUjAFhlIwFY29sb3KUjANy"
        "ZWSUdX2UKGgGjAFilGgIaAl1ZXNzLr4Pb+E="
    ),
    "Flag, several": "gAWVGgAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZRLA3NzLjFdUyY=",
    "NamedTuple of dataclasses": (
        "gAWVdQAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMDnN1cHBvcnQudmFsdWVzlIwETGluZZSTlGgE"
        "jARJdGVtlJOUKYGUfZQojARuYW1llIwBYZSMBWNvdW50lEsAdWJoBIwFQ29sb3KUk5SMBGJsdWWUhZRS"
        "lIaUgZRzcy6WTyoI"
    ),
    "PurePosixPath": (
        "gAWVQgAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMB3BhdGhsaWKUjA1QdXJlUG9zaXhQYXRolJOU"
        "jAEvlIwDYWRhlIaUUpRzcy67/5Y6"
    ),
    "Fraction": (
        "gAWVOQAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMCWZyYWN0aW9uc5SMCEZyYWN0aW9ulJOUSwFL"
        "A4aUUpRzcy4ech1t"
    ),
    "ZoneInfo": (
        "gAWVbQAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMCGJ1aWx0aW5zlIwHZ2V0YXR0cpSTlIwIem9u"
        "ZWluZm+UjAhab25lSW5mb5STlIwJX3VucGlja2xllIaUUpSMDUV1cm9wZS9CZXJsaW6USwGGlFKUc3Mu"
        "Xh0quA=="
    ),
    "OrderedDict": (
        "gAWVRwAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMC2NvbGxlY3Rpb25zlIwLT3JkZXJlZERpY3SU"
        "k5QpUpQojAFilEsBjAFhlEsCdXNzLu0//W4="
    ),
    "Counter": (
        "gAWVTAAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMC2NvbGxlY3Rpb25zlIwHQ291bnRlcpSTlH2U"
        "KIwBdJRLAYwBZZRLAYwBYZRLAXWFlFKUc3MuziYImw=="
    ),
    "deque with a length": (
        "gAWVcQAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMC2NvbGxlY3Rpb25zlIwFZGVxdWWUk5QpSwKG"
        "lFKUjA5zdXBwb3J0LnZhbHVlc5SMBEl0ZW2Uk5QpgZR9lCiMBG5hbWWUjAN0ZWGUjAVjb3VudJRLAHVi"
        "YXNzLu9KsSM="
    ),
    "defaultdict": (
        "gAWVVAAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMC2NvbGxlY3Rpb25zlIwLZGVmYXVsdGRpY3SU"
        "k5SMCGJ1aWx0aW5zlIwDaW50lJOUhZRSlIwBYZRLAXNzcy6ipPE1"
    ),
    "attrs": (
        "gAWViAAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMDXN1cHBvcnQuZm9ybXOUjAZUaWNrZXSUk5Qp"
        "gZR9lCiMBm51bWJlcpRLAYwFaXRlbXOUXZSMDnN1cHBvcnQudmFsdWVzlIwESXRlbZSTlCmBlH2UKIwE"
        "bmFtZZSMAWGUjAVjb3VudJRLAHViYXVic3MuES74Jw=="
    ),
    "Struct": (
        "gAWVQQAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMDXN1cHBvcnQuZm9ybXOUjARDb2lulJOUSwFd"
        "lIwEaGVhZJRhhpRSlHNzLpUNpjk="
    ),
    "pydantic model": (
        "gAWV7AAAAAAAAAB9lIwGZmllbGRzlH2UjAV2YWx1ZZSMDXN1cHBvcnQuZm9ybXOUjAdBY2NvdW50lJOU"
        "KYGUfZQojAhfX2RpY3RfX5R9lCiMBG5hbWWUjAFhlIwFaXRlbXOUXZSMDnN1cHBvcnQudmFsdWVzlIwE"
        "SXRlbZSTlCmBlH2UKGgLjAFilIwFY291bnSUSwB1YmGMBXNpbmNllE51jBJfX3B5ZGFudGljX2V4dHJh"
        "X1+UTowXX19weWRhbnRpY19maWVsZHNfc2V0X1+Uj5QoaA1oC5CMFF9fcHlkYW50aWNfcHJpdmF0ZV9f"
        "lE51YnNzLtdDcyI="
    ),
}


def read(form: str, codec: Any, payload: bytes) -> tuple[Any, bytes | None]:
    """The value that a handler sees, and the payload after it."""
    storage = MemoryStorage(codec=codec)
    storage.set("1", payload)
    kind = holder_of(FORMS[form].hint, FORMS[form].default)
    with Sessions(initial=kind, storage=storage).open(1) as session:
        value = session.value
    return value, storage.get("1")


@pytest.mark.parametrize(("form", "text"), JSON.items(), ids=JSON)
def test_an_older_json_record_loads_and_stays_as_it_is(form: str, text: str) -> None:
    """The value is the one that was stored, and a handler that only reads writes nothing."""
    payload = f'{{"fields":{{"value":{text}}}}}'.encode()
    value, after = read(form, JSONCodec(), payload)
    assert alike(FORMS[form].value, value)
    assert payload == after


@pytest.mark.parametrize(("form", "payload"), PICKLES.items(), ids=PICKLES)
def test_an_older_pickle_loads(form: str, payload: str) -> None:
    """The value is the one that was stored, also if the record has an object of a class."""
    assert alike(FORMS[form].value, read(form, PickleCodec(), b64decode(payload))[0])


CARTS = {
    "json": (
        JSONCodec(),
        (
            b'{"fields":{"owner":"ada","items":[{"name":"tea","count":2}],"color":"blue",'
            b'"_hidden":0},"ttl":{"owner":[60.0,1767225660.0]},"version":2}'
        ),
    ),
    "pickle": (
        PickleCodec(),
        b64decode(
            "gAWVjgAAAAAAAAB9lCiMBmZpZWxkc5R9lCiMBW93bmVylIwDYWRhlIwFaXRlbXOUXZR9lCiMBG5h"
            "bWWUjAN0ZWGUjAVjb3VudJRLAnVhjAVjb2xvcpSMBGJsdWWUjAdfaGlkZGVulEsAdYwDdHRslH2U"
            "aANdlChHQE4AAAAAAABHQdpVbk8AAABlc4wHdmVyc2lvbpRLAnUuC/UbgA=="
        ),
    ),
}


@pytest.mark.parametrize(("codec", "payload"), CARTS.values(), ids=CARTS)
def test_an_older_record_keeps_its_lifetimes_and_its_version(
    clock: FrozenDateTimeFactory,
    tmp_path: Path,
    codec: Any,
    payload: bytes,
) -> None:
    """A deadline in the record goes on, and the record passes through the missing migrations."""
    clock.tick(20)
    storage = SQLiteStorage(tmp_path / "sessions.db", codec=codec)
    storage.set("1", payload)

    def rename(fields: dict[str, Any]) -> None:
        fields["items"][0]["name"] = "green tea"

    sessions = Sessions(initial=Cart, storage=storage, version=3, migrations={3: rename})
    with storage, sessions.open(1) as cart:
        left = ttl_left(cart, "owner")
        assert (Cart("ada", [Item("green tea", 2)], Color.BLUE), 40) == (cart, left)


def test_a_value_that_was_stored_with_a_mark_can_be_replaced(storage: Storage) -> None:
    """A field of `Path | str` became one of `Path`: the path that a handler assigns is stored."""
    kind = dataclasses.make_dataclass("Kind", [("path", Path, Path("z"))])
    sessions = Sessions(initial=kind, storage=storage)
    with Sessions(storage=storage).open(1) as mapping:
        mapping.path = {"class": "Path", "value": "a"}
    before = storage.get("1")
    with sessions.open(1) as session:
        assert Path("a") == session.path
    assert before == storage.get("1")
    with sessions.open(1) as session:
        session.path = Path("b")
    with sessions.open(1) as session:
        assert Path("b") == session.path


@dataclass
class Chair:
    """A class that came into a union later."""

    row: int = 0


UNIONS: dict[str, tuple[Any, Any]] = {
    "a class": (Item | Chair, {"name": "apple", "count": 2}),
    "a list": (list[Item] | list[int], [{"name": "apple", "count": 2}]),
    "an enum": (list[Color] | Color | int, ["blue"]),
}


@pytest.mark.parametrize(("hint", "stored"), UNIONS.values(), ids=UNIONS)
def test_a_read_under_a_later_union_writes_nothing(
    storage: Storage, hint: Any, stored: Any
) -> None:
    """A record from before the annotation became a union has no mark, and stays as it is."""
    with Sessions(storage=storage).open(1) as mapping:
        mapping.value = stored
    before = storage.get("1")
    kind = dataclasses.make_dataclass("Holder", [("value", hint | None, None)])
    with Sessions(initial=kind, storage=storage).open(1) as session:
        assert session.value is not None
    assert before == storage.get("1")
