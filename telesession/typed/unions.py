"""Forms of unions, whose values are told apart by their types or by marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from itertools import combinations
from typing import Any

from telesession.typed.choices import Choices
from telesession.typed.form import (
    MARK,
    MARKED_VALUE,
    NOT_ALLOWED,
    UNKNOWN_CLASS,
    Form,
    Misfit,
    Reading,
    kind_of,
)
from telesession.typed.records import RecordForm
from telesession.typed.scalars import AnyForm, ScalarForm


def union_of(members: Iterable[Form], text: str = "") -> Form:
    """
    The form of values that are of one of some forms.

    Args:
        members: The forms.
        text: The annotation; made of those of the members if it is empty.

    Raises:
        TypeError: Plain data cannot tell two members apart.
    """
    flat: list[Form] = []
    for member in members:
        flat += member.members if isinstance(member, UnionForm) else [member]
    text = text or " | ".join(dict.fromkeys(member.text for member in flat))
    if any(isinstance(member, AnyForm) for member in flat):
        return AnyForm(text)
    scalars = frozenset[type]().union(*(member.scalars for member in flat))
    others = [member for member in flat if not member.scalars]
    if scalars:
        of_scalars = " | ".join(dict.fromkeys(each.text for each in flat if each.scalars))
        others.insert(0, ScalarForm(scalars, of_scalars if others else text))
    return others[0] if len(others) == 1 else UnionForm(others, text)


class UnionForm(Form):
    """
    Values that are of one of several forms.

    Packed data is that of the member, if its type tells of which member it is. Else each member
    that packs to dicts or to other data than the value itself marks it: a class with fields as
    `{"class": "Name", ...}`, and any other as `{"class": "list", "value": [...]}`. Two members of
    one container are told apart by their annotations: `{"class": "list[Item]", "value": [...]}`.

    Args:
        members: The forms, of which one at most has `scalars`.
        text: The annotation.

    Raises:
        TypeError: Two members would have the same mark.
    """

    writes_plain = True

    def __init__(self, members: list[Form], text: str) -> None:
        self.text = text
        self.members = tuple(members)
        self.types = frozenset[type]().union(*(member.types for member in members))
        self._scalars = frozenset[type]().union(*(member.scalars for member in members))
        self._marks: dict[Form, str] = {}
        if any(_overlap(one, other) for one, other in combinations(members, 2)):
            self._marks = _make_marks(members, text)
        self._by_mark = {mark: member for member, mark in self._marks.items()}
        self.is_native = all(member.is_native for member in members) and not self._marks
        self.is_hashable = all(member.is_hashable for member in members) and not self._marks
        self.takes_default = any(member.takes_default for member in members)
        plain = [_DICT if member in self._marks else member.plain_types for member in members]
        if None not in plain:
            self.plain_types = frozenset[type]().union(*(each or () for each in plain))
        # type of a value, or of data without a mark -> the members to try.
        self._packers: dict[type, tuple[Form, ...]] = {}
        self._unpackers: dict[type, tuple[Form, ...]] = {}
        # The same types -> the method of a member that is the only one, and marks nothing.
        self._pack: dict[type, Callable[[Any], Any]] = {}
        self._unpack: dict[type, Callable[[Any, Reading], Any]] = {}
        self._choices_to_pack, self._choices_to_unpack = Choices(), Choices()

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return self.members

    def accepts(self, value: Any) -> bool:
        """See `Form.accepts`."""
        return any(member.accepts(value) for member in self.members)

    def all_surely_fit(self, values: Collection[Any]) -> bool:
        """See `Form.all_surely_fit`."""
        return self._scalars.issuperset(map(type, values))

    def with_default(self, default: Any) -> Form:
        """See `Form.with_default`."""
        return UnionForm([member.with_default(default) for member in self.members], self.text)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        kind = type(value)
        if kind in self._scalars:
            return value
        pack = self._pack.get(kind)
        return self._pack_by_search(value) if pack is None else pack(value)

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        kind = type(plain)
        if kind in self._scalars:
            return plain
        unpack = self._unpack.get(kind)
        return self._unpack_other(plain, reading) if unpack is None else unpack(plain, reading)

    def _pack_by_search(self, value: Any) -> Any:
        kind = type(value)
        if kind not in self._packers:
            of_type = [member for member in self.members if kind in member.types]
            accepting = [member for member in self.members if member.accepts(value)]
            self._packers[kind] = tuple(of_type or accepting)
        members = self._packers[kind]
        if not members:
            raise self.type_misfit(value)
        if len(members) == 1:
            if members[0] not in self._marks:
                self._pack[kind] = members[0].pack
            return self._pack_as(members[0], value)
        attempt = lambda member, each: (self._pack_as(member, each), True)  # noqa: E731
        return self._first(self._choices_to_pack, value, members, attempt)

    def _pack_as(self, member: Form, value: Any) -> Any:
        packed = member.pack(value)
        mark = self._marks.get(member)
        if mark is None:
            return packed
        if not isinstance(member, RecordForm):
            return {MARK: mark, MARKED_VALUE: packed}
        if MARK not in packed:
            return {MARK: mark, **packed}
        # It is of a subclass, whose mark must lead to the same member.
        if self._by_mark.get(packed[MARK], member) is not member:
            raise self.misfit(value, "another class of the union has the same name; rename one")
        return packed

    def _unpack_other(self, plain: Any, reading: Reading) -> Any:
        kind = type(plain)
        if kind is dict and self._marks and type(plain.get(MARK)) is str:
            return self._unpack_marked(plain, plain[MARK], reading)
        if kind not in self._unpackers:
            # A tuple or a set may have been a list.
            self._unpackers[kind] = self._readers_of(plain) or self.members
        members = self._unpackers[kind]
        if len(members) == 1:
            if members[0] in self._marks:
                # The record is older than the union.
                reading.filled = True
            elif kind is not dict or not self._marks:
                self._unpack[kind] = members[0].unpack
            return members[0].unpack(plain, reading)
        return self._unpack_first(members, plain, reading)

    def _unpack_marked(self, plain: dict[Any, Any], mark: str, reading: Reading) -> Any:
        member = self._by_mark.get(mark) or self._member_of_subclass(mark)
        if isinstance(member, RecordForm):
            if mark == member.mark:
                plain = {name: plain[name] for name in plain if name != MARK}
            return member.unpack(plain, reading)
        if plain.keys() == {MARK, MARKED_VALUE}:
            if member is not None:
                return member.unpack(plain[MARKED_VALUE], reading)
            # The annotation of a member was another one.
            members = tuple(each for each in self._marks if kind_of(each.text) == kind_of(mark))
            if members:
                reading.filled = True
                return self._unpack_first(members, plain[MARKED_VALUE], reading)
        try:
            # It may be a dict with such a key, from before it needed a mark.
            return self._unpack_first(self._readers_of(plain), plain, reading)
        except Misfit:
            pass
        reason = f"it is of a class that {self.text} does not declare; {UNKNOWN_CLASS}"
        raise self.misfit(plain, reason, NOT_ALLOWED)

    def _unpack_first(self, members: tuple[Form, ...], plain: Any, reading: Reading) -> Any:
        """The value of data without a mark: of the first member that has a place for all of it."""
        own, value = self._first(self._choices_to_unpack, plain, members, self._unpacked_as)
        reading.filled |= own.filled
        reading.made |= own.made
        reading.undeclared |= own.undeclared
        return value

    def _unpacked_as(self, member: Form, plain: Any) -> tuple[Any, bool]:
        own = Reading()
        value = member.unpack(plain, own)
        # Without its mark the data is older than the union.
        own.filled |= member in self._marks
        return (own, value), not own.undeclared

    def _first(
        self,
        choices: Choices,
        value: Any,
        members: tuple[Form, ...],
        attempt: Callable[[Form, Any], tuple[Any, bool]],
    ) -> Any:
        try:
            return choices.first(value, members, attempt)
        except Misfit as misfit:
            if misfit.depth:
                raise
        raise self.misfit(value)

    def _readers_of(self, plain: Any) -> tuple[Form, ...]:
        """The members that data without a mark may be of, the most likely ones first."""
        kind = type(plain)
        writers = [m for m in self.members if m.plain_types is None or kind in m.plain_types]
        # Marks are missing in records that are older than the union.
        writers.sort(key=self._marks.__contains__)
        others = [m for m in self.members if m not in writers and m.accepts(plain)]
        return (*writers, *others)

    def _member_of_subclass(self, mark: str) -> Form | None:
        records = (member for member in self.members if isinstance(member, RecordForm))
        return next((member for member in records if member.knows(mark)), None)


_DICT = frozenset((dict,))


def _make_marks(members: Iterable[Form], text: str) -> dict[Form, str]:
    """
    The members that mark their data, each with its mark.

    Raises:
        TypeError: Two of them would have the same one.
    """
    marked = [member for member in members if not member.is_native or member.plain_types == _DICT]
    kinds = Counter(_kind_of(member) for member in marked)
    marks: dict[Form, str] = {}
    for member in marked:
        kind = _kind_of(member)
        marks[member] = kind if kinds[kind] == 1 else member.text
        if list(marks.values()).count(marks[member]) > 1:
            raise TypeError(
                f"{text} has two classes named {marks[member]}, which stored data could not tell "
                "apart; rename one of them"
            )
    return marks


def _kind_of(member: Form) -> str:
    return member.mark if isinstance(member, RecordForm) else kind_of(member.text)


def _overlap(one: Form, other: Form) -> bool:
    """Whether packed data may be of either of two forms, and needs a mark."""
    if one.is_native and other.is_native:
        return False
    return (
        one.plain_types is None
        or other.plain_types is None
        or bool(one.plain_types & other.plain_types)
    )
