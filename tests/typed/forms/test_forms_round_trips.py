"""Values of every form come back, and forms promise no more than they keep."""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

import freezegun
import msgspec
import pytest

from support.forms import FORMS, Form, OpenAccount, alike
from support.packing import stored
from support.values import Color, Item, Mood, Options, Planet, Point, Tag, Tree
from telesession.typed.form import Reading
from telesession.typed.hints import form_of

every_form = pytest.mark.parametrize("row", FORMS.values(), ids=FORMS)


def values_of(row: Form) -> list[Any]:
    """All values of a row, the changed one included."""
    values = [row.default, row.value]
    if row.change is not None:
        changed = copy.deepcopy(row.value)
        row.change(changed)
        values.append(changed)
    return values


@every_form
def test_values_come_back(row: Form, codec: Any) -> None:
    """A packed value comes back from each codec, equal and of the same types all the way down."""
    form = form_of(row.hint).with_default(row.default)
    for value in values_of(row):
        before = copy.deepcopy(value)
        reading = Reading()
        back = form.unpack(stored(form.pack(value), codec), reading)
        assert alike(value, back)
        assert alike(before, value)
        assert (False, False, set()) == (reading.filled, reading.made, reading.undeclared)


@every_form
def test_unpacked_values_pack_to_the_same_data(row: Form) -> None:
    """Data that was loaded and not changed is written as it was."""
    form = form_of(row.hint).with_default(row.default)
    for value in values_of(row):
        packed = form.pack(value)
        assert alike(packed, form.pack(form.unpack(stored(packed), Reading())))


@every_form
def test_forms_promise_what_they_keep(row: Form) -> None:
    """The attributes of a form are true of all packed values."""
    form = form_of(row.hint).with_default(row.default)
    for value in values_of(row):
        packed = form.pack(value)
        assert form.accepts(value)
        assert type(packed) in (form.plain_types or {type(packed)})
        assert packed is value or not form.is_native
        assert packed is value or type(value) not in form.scalars
        assert packed is value or not form.all_surely_fit([value])
        assert is_plain(packed) or not form.is_plain
        assert not form.is_hashable or form.is_untyped or isinstance(hash(packed), int)


@every_form
def test_copies_share_nothing_that_can_change(row: Form) -> None:
    """A value that was made of a copy of the data can change, and the other one stays."""
    form = form_of(row.hint).with_default(row.default)
    packed = form.pack(row.value)
    one, other = (form.unpack(copy.deepcopy(packed), Reading()) for _ in range(2))
    if row.change is not None:
        row.change(one)
        assert not alike(one, other)
    assert alike(row.value, other)


def is_plain(value: Any) -> bool:
    """Whether data is of nothing but the types of JSON."""
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(is_plain, value.values()))
    if type(value) is list:
        return all(map(is_plain, value))
    return type(value) in (str, int, float, bool, type(None))


TEXTS = {
    "Item": Item,
    "None": None,
    "int | None": int | None,
    "list[Item]": list[Item],
    "list[Item] | None": list[Item] | None,
    "dict[str, list[Item | None]]": dict[str, list[Item | None]],
    "tuple[Item, ...]": tuple[Item, ...],
    "tuple[int, str]": tuple[int, str],
    "tuple[()]": tuple[()],
    "Any": Any,
    "object": object,
    "list": list,
    "Counter[str]": Counter[str],
    "deque[int]": deque[int],
    "Sequence[int]": Sequence[int],
    "Color": Color,
}


@pytest.mark.parametrize(("text", "hint"), TEXTS.items(), ids=TEXTS)
def test_a_form_has_the_text_of_its_annotation(text: str, hint: Any) -> None:
    """The text names classes by their names only."""
    assert text == form_of(hint).text


SCALARS = {
    "int": (int, {int}),
    "float": (float, {float, int}),
    "complex": (complex, {complex, float, int}),
    "optional": (int | str | None, {int, str, type(None)}),
    "date or datetime": (date | datetime, {date, datetime}),
    "bytearray": (bytearray, set()),
    "enum": (Color, set()),
    "list": (list[int], set()),
    "Any": (Any, set()),
}


@pytest.mark.parametrize(("hint", "types"), SCALARS.values(), ids=SCALARS)
def test_scalars_are_the_types_that_surely_fit(hint: Any, types: set[type]) -> None:
    """An annotation of scalars names their exact types, and any other none."""
    assert types == form_of(hint).scalars


KINDS = {
    "dataclass": (Item, True, False),
    "recursive": (Tree, True, False),
    "dates": (dict[str, list[date]], False, False),
    "tuples": (list[tuple[int, ...]], False, False),
    "named tuples": (Point, False, False),
    "sets": (set[int], False, False),
    "sets of classes": (set[Tag], True, False),
    "keys": (dict[int, int], False, False),
    "keys of enums": (dict[Mood, Item], True, False),
    "keys of classes": (dict[Tag, int], True, False),
    "counter": (Counter[str], True, False),
    "deque": (deque[Item | None], True, False),
    "deque of anything": (deque[Any], False, True),
    "typed dict": (Options, True, False),
    "Any": (Any, False, True),
    "list": (list, False, True),
    "list of Any": (Item | list[Any], False, True),
    "model with more": (OpenAccount, False, True),
    "Meta": (Annotated[list[Item], msgspec.Meta(max_length=3)], True, False),
}


@pytest.mark.parametrize(("hint", "is_plain", "is_untyped"), KINDS.values(), ids=KINDS)
def test_a_form_knows_its_parts(hint: Any, is_plain: bool, is_untyped: bool) -> None:
    """A form is plain if all parts are, and untyped if one of them is."""
    form = form_of(hint)

    assert (is_plain, is_untyped) == (form.is_plain, form.is_untyped)


def test_enums_have_their_values_in_the_record() -> None:
    """An enum is packed as its value, a tuple as well, if codecs keep it."""
    assert "red" == form_of(Color).pack(Color.RED)
    assert (5.97, 6.37) == form_of(Planet).pack(Planet.EARTH)


def test_dicts_with_classes_as_keys_are_pairs() -> None:
    """A dict whose packed keys cannot be keys is a list of pairs."""
    packed = form_of(dict[Tag, int]).pack({Tag("a"): 1})

    assert [[{"text": "a", "color": "red"}, 1]] == packed


def test_sets_of_classes_are_sorted_lists() -> None:
    """Equal sets are packed equally: the order of their items is that of their text."""
    packed = form_of(set[Tag]).pack({Tag(text) for text in "hgfedcba"})

    assert list("abcdefgh") == [each["text"] for each in packed]


def test_a_deque_with_a_length_says_so() -> None:
    """A deque is packed as a list, and with a `maxlen` as a dict."""
    form = form_of(deque[int])

    assert [1, 2] == form.pack(deque([1, 2]))
    assert {"maxlen": 3, "items": [1]} == form.pack(deque([1], 3))


def test_named_tuples_are_tuples() -> None:
    """A named tuple is packed as a tuple, so it can be a key."""
    assert {(1, 2): "a"} == form_of(dict[Point, str]).pack({Point(1, 2): "a"})


def test_a_frozen_clock_gives_real_dates() -> None:
    """Dates of a frozen clock are packed as those of the standard library."""
    with freezegun.freeze_time("2026-02-03 04:05:06"):
        form = form_of(list[datetime | date])
        packed = form.pack([datetime.now(), date.today()])
        fitting = form_of(datetime).accepts(datetime.now())
    expected = [datetime(2026, 2, 3, 4, 5, 6), date(2026, 2, 3)]

    assert fitting
    assert expected == packed
    assert [datetime, date] == list(map(type, packed))


def test_native_values_are_packed_as_themselves() -> None:
    """No copy is made of a list of scalars."""
    value = [[1, 2], [3]]

    assert form_of(list[list[int]]).pack(value) is value
    assert form_of(list[int]).unpack(value[0], Reading()) is value[0]


def test_a_cycle_is_a_recursion_error() -> None:
    """A value that holds itself is no misfit of any of its parts."""

    tree = Tree()
    tree.children.append(tree)
    with pytest.raises(RecursionError):
        form_of(Tree).pack(tree)
