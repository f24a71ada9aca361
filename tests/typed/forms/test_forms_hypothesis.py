"""Values that Hypothesis draws from annotations: none is lost or changed."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict, deque
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal
from uuid import UUID

from hypothesis import given, settings, strategies as st

from support.clocks import examples
from support.forms import (
    AgeStep,
    Cell,
    FrozenCoin,
    Loose,
    Movie,
    NameStep,
    Seat,
    Ticket,
    alike,
)
from support.packing import stored
from support.values import Bit, Color, Item, Mood, Options, Point, Right, Size, Slotted, Tag, Tree
from telesession import JSONCodec, PickleCodec
from telesession.typed.form import Reading
from telesession.typed.hints import form_of

LEAVES: list[Any] = [
    int, str, bool, float, complex, bytes, bytearray, type(None), date, datetime, time, timedelta,
    Decimal, UUID, Fraction, Color, Size, Mood, Right, Bit, Literal["a", 1, True], Item, Tag,
    Slotted, Cell, FrozenCoin, Ticket, Seat, Loose, Point, Options,
    Movie, NameStep, AgeStep, Tree,
]  # fmt: skip
KEYS: list[Any] = [int, str, date, Color, Tag, Cell, Point, tuple[int, str], FrozenCoin, Seat]


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Annotations of containers of other annotations."""
    keys = st.sampled_from(KEYS)
    return st.one_of(
        inner.map(lambda hint: list[hint]),
        inner.map(lambda hint: tuple[hint, ...]),
        inner.map(lambda hint: hint | None),
        inner.map(lambda hint: deque[hint]),
        keys.map(lambda key: set[key]),
        keys.map(lambda key: frozenset[key]),
        keys.map(lambda key: Counter[key]),
        st.tuples(inner, inner).map(lambda pair: tuple[pair]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        st.tuples(keys, inner).map(lambda pair: dict[pair]),
        st.tuples(keys, inner).map(lambda pair: OrderedDict[pair]),
    )


HINTS = st.recursive(st.sampled_from(LEAVES), containers, max_leaves=5)
many = settings(max_examples=examples(300))


@many
@given(st.data())
def test_no_value_of_an_annotation_is_lost_or_changed(data: st.DataObject) -> None:
    """A value comes back through each codec, of the same types all the way down."""
    hint = data.draw(HINTS)
    value = data.draw(st.from_type(hint))
    form = form_of(hint).with_default(value)
    before = copy.deepcopy(value)
    for codec in (JSONCodec(), PickleCodec()):
        reading = Reading()
        back = form.unpack(stored(form.pack(value), codec), reading)
        assert alike(before, back)
        assert not reading.filled
    assert alike(before, value)
