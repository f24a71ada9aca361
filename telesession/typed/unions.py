"""Forms of unions, whose values are told apart by their types or by marks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import combinations
from typing import Any

from telesession.typed.form import MARK, Form, Misfit, Reading
from telesession.typed.records import RecordForm
from telesession.typed.scalars import AnyForm, ScalarForm

_VALUE = "value"


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
    `{"class": "Name", ...}`, and any other as `{"class": "list[Item]", "value": [...]}`.

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
        self._by_mark: dict[str, Form] = {}
        if any(_overlap(one, other) for one, other in combinations(members, 2)):
            self._set_marks()
        marked = self._by_mark.values()
        self._marked = frozenset(marked)
        self.is_native = all(member.is_native for member in members) and not marked
        self.is_hashable = all(member.is_hashable for member in members) and not marked
        self.takes_default = any(member.takes_default for member in members)
        plain = [_DICT if member in self._marked else member.plain_types for member in members]
        if None not in plain:
            self.plain_types = frozenset[type]().union(*(each or () for each in plain))

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return self.members

    def accepts(self, value: Any) -> bool:
        """See `Form.accepts`."""
        return any(member.accepts(value) for member in self.members)

    def surely_fit(self, values: Collection[Any]) -> bool:
        """See `Form.surely_fit`."""
        return self._scalars.issuperset(map(type, values))

    def with_default(self, default: Any) -> Form:
        """See `Form.with_default`."""
        return UnionForm([member.with_default(default) for member in self.members], self.text)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) in self._scalars:
            return value
        members = [member for member in self.members if type(value) in member.types]
        members = members or [member for member in self.members if member.accepts(value)]
        if len(members) == 1:
            return self._pack_as(members[0], value)
        for member in members:
            try:
                return self._pack_as(member, value)
            except Misfit:
                continue
        raise self.misfit(value) if members else self.type_misfit(value)

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) in self._scalars:
            return plain
        if self._by_mark and type(plain) is dict and type(mark := plain.get(MARK)) is str:
            member = self._by_mark.get(mark) or self._member_of_subclass(mark)
            if isinstance(member, RecordForm):
                return member.unpack(plain, reading)
            if member is not None and plain.keys() == {MARK, _VALUE}:
                return member.unpack(plain[_VALUE], reading)
        members = [member for member in self.members if _may_be_of(member, plain)]
        if len(members) == 1:
            return members[0].unpack(plain, reading)
        # A tuple or a set may have been a list.
        return self._unpack_unmarked(members or self.members, plain, reading)

    def _set_marks(self) -> None:
        for member in self.members:
            if member.is_native and member.plain_types != _DICT:
                continue
            mark = member.mark if isinstance(member, RecordForm) else member.text
            if mark in self._by_mark:
                raise TypeError(
                    f"{self.text} has two classes named {mark}, which stored data could not tell "
                    "apart; rename one of them"
                )
            self._by_mark[mark] = member

    def _pack_as(self, member: Form, value: Any) -> Any:
        packed = member.pack(value)
        if member not in self._marked:
            return packed
        if not isinstance(member, RecordForm):
            return {MARK: member.text, _VALUE: packed}
        if MARK not in packed:
            return {MARK: member.mark, **packed}
        # It is of a subclass, whose mark must lead to the same member.
        if self._by_mark.get(packed[MARK], member) is not member:
            raise self.misfit(value, "another class of the union has the same name; rename one")
        return packed

    def _member_of_subclass(self, mark: str) -> Form | None:
        records = (member for member in self.members if isinstance(member, RecordForm))
        return next((member for member in records if member.knows(mark)), None)

    def _unpack_unmarked(self, members: Iterable[Form], plain: Any, reading: Reading) -> Any:
        """The value of data without a mark: of the first member that has a place for all of it."""
        found: list[tuple[Reading, Any]] = []
        for member in members:
            own = Reading()
            try:
                found.append((own, member.unpack(plain, own)))
            except Misfit:
                continue
            if not own.undeclared:
                break
        if not found:
            raise self.misfit(plain)
        own, value = min(found, key=lambda pair: bool(pair[0].undeclared))
        reading.filled |= own.filled
        reading.made |= own.made
        reading.undeclared |= own.undeclared
        return value


_DICT = frozenset((dict,))


def _overlap(one: Form, other: Form) -> bool:
    """Whether packed data may be of either of two forms, and would have to say of which."""
    if one.is_native and other.is_native:
        return False
    return (
        one.plain_types is None
        or other.plain_types is None
        or bool(one.plain_types & other.plain_types)
    )


def _may_be_of(member: Form, plain: Any) -> bool:
    return member.plain_types is None or type(plain) in member.plain_types or member.accepts(plain)
