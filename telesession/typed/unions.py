"""Forms of unions, whose values are told apart by their types or by marks."""

from __future__ import annotations

from typing import Any

from telesession.typed.form import Form, Misfit, Reading
from telesession.typed.scalars import AnyForm, ScalarForm


def union_of(members: list[Form]) -> Form:
    """The form of values that are of one of some forms."""
    text = " | ".join(member.text for member in members)
    if any(isinstance(member, AnyForm) for member in members):
        return AnyForm(text)
    flat = [part for each in members for part in getattr(each, "members", (each,))]
    scalars = frozenset[type]().union(*(member.scalars for member in flat))
    others = [member for member in flat if not member.scalars]
    if not others:
        return ScalarForm(scalars, text)
    if scalars:
        others.append(ScalarForm(scalars, text))
    return others[0] if len(others) == 1 else UnionForm(tuple(others), text)


class UnionForm(Form):
    """Values that are of one of several forms."""

    def __init__(self, members: tuple[Form, ...], text: str) -> None:
        self.text = text
        self.members = members
        self._scalars = frozenset[type]().union(*(member.scalars for member in members))
        self.is_native = all(member.is_native for member in members)
        self.is_hashable = all(member.is_hashable for member in members)

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return self.members

    def accepts(self, value: Any) -> bool:
        """See `Form.accepts`."""
        return any(member.accepts(value) for member in self.members)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) in self._scalars:
            return value
        for member in self.members:
            if member.accepts(value):
                return member.pack(value)
        raise self.type_misfit(value)

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) in self._scalars:
            return plain
        for member in self.members:
            try:
                return member.unpack(plain, reading)
            except Misfit:
                continue
        raise self.misfit(plain)
