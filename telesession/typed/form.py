"""Forms: they turn values that fit an annotation into plain data, and plain data into values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

from telesession.codecs.advice import way_out
from telesession.codecs.refused import refused_as

#: The three faults of a value; see `Misfit`.
DOES_NOT_FIT = "the value does not fit"
WOULD_NOT_COME_BACK = "the value would not come back"
NOT_ALLOWED = "the value is none of the allowed"

# The key of plain data that names the class of a value, where the annotation allows several. It is
# a keyword, so few classes can have a field of this name, and these are refused.
MARK = "class"
# The key of the data of a marked value that is no object with fields.
MARKED_VALUE = "value"

#: The advice for stored data whose mark names no known class.
UNKNOWN_CLASS = (
    "import the module that defines it; if it was renamed, keep the old name as an empty subclass, "
    "or write a migration"
)


class Misfit(Exception):  # noqa: N818 -- the codecs' errors are made of it
    """
    A value does not fit an annotation. No text here has a value or the key of a dict in it.

    Attributes:
        path: The element, seen from the value that was packed or unpacked: `[1].n`, or empty.
        depth: The number of segments of the path.
        kind: The name of the element's type.
        declared: The declaration of the element, as text.
        fault: One of `DOES_NOT_FIT`, `WOULD_NOT_COME_BACK` and `NOT_ALLOWED`.
        reason: A part of a sentence with a detail, or with a value to store instead; empty if the
            fault is clear.
    """

    def __init__(self, value: object, declared: str, fault: str, reason: str = "") -> None:
        super().__init__(declared, fault, reason)
        self.path = ""
        self.depth = 0
        self.kind = type(value).__name__
        self.declared = declared
        self.fault = fault
        refusal = refused_as(value)
        self.reason = f"it is {refusal}" if refusal else reason or way_out(value)

    def inside(self, segment: str) -> Misfit:
        """The same fault, seen from the holder of a part: `segment` leads from it to the part."""
        self.path = segment + self.path
        self.depth += 1
        return self


class Reading:
    """
    The differences between stored data and the values that were made of it.

    Attributes:
        filled: A stored object lacked a field, so that its default was taken, or had an undeclared
            field, which was left out. Then the values pack to other data than was stored.
        made: A function made one of these defaults, and the default is no empty container. So the
            next reading may give another value.
        undeclared: The names of the stored fields that their classes do not declare, such as
            `Item.old_name`.
    """

    def __init__(self) -> None:
        self.filled = False
        self.made = False
        self.undeclared: set[str] = set()


class Form:
    """
    Packs the values of one annotation as plain data, and unpacks them.

    A value comes back equal and of the same types, or is refused. Keep a form for as long as you
    like; any thread may use it.

    Attributes:
        text: The annotation as text, such as `list[Item]`.
        types: The exact types of the values that may fit.
        scalars: The types of values that surely fit, if the annotation says no more than types of
            immutable values that every codec keeps; else empty.
        is_native: Values are packed as themselves.
        is_hashable: Packed values can be keys of dicts.
        plain_types: The types of packed values; `None` if they can be of any type.
        writes_plain: The form itself packs only to types of JSON; see `is_plain`.
        has_quick: Many values are packed and unpacked faster together; see `pack_many`.
        is_open: The annotation does not give the types of the values; see `is_untyped`.
        takes_default: The default of a field says more about the values; see `with_default`.
    """

    text: str
    types: frozenset[type] = frozenset()
    scalars: frozenset[type] = frozenset()
    is_native: bool = False
    is_hashable: bool = False
    plain_types: frozenset[type] | None = None
    writes_plain: bool = False
    has_quick: bool = False
    is_open: bool = False
    takes_default: bool = False

    def pack(self, value: Any) -> Any:
        """
        The plain data of a value. The value itself is not changed, and may be a part of the data.

        Raises:
            Misfit: The value does not fit.
            RecursionError: It is nested too deeply or in a cycle.
        """
        raise NotImplementedError

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """
        The value of plain data. It may contain the dicts and lists of the data.

        A value that is of the declared type already is taken as it is: older pickles have such.

        Raises:
            Misfit: No fitting value has this data.
            RecursionError: It is nested too deeply or in a cycle.
        """
        raise NotImplementedError

    def take(self, value: Any, reading: Reading) -> Any:
        """
        A value of the declared type itself, as older pickles have it; it packs to other data.

        Raises:
            Misfit: It does not fit.
        """
        self.pack(value)
        reading.filled = True
        return value

    def unpack_other(self, plain: Any, reading: Reading) -> Any:
        """
        The value of data that is not of `plain_types`: of a union that had this form as a member.

        Raises:
            Misfit: It is of no such union.
        """
        if type(plain) is dict and plain.keys() == {MARK, MARKED_VALUE}:
            mark = plain[MARK]
            if type(mark) is str and kind_of(mark) == kind_of(self.text):
                reading.filled = True
                return self.unpack(plain[MARKED_VALUE], reading)
        raise self.type_misfit(plain)

    def accepts(self, value: Any) -> bool:
        """Whether the type of a value is right; its parts are not looked at."""
        return type(value) in self.types

    def all_surely_fit(self, values: Collection[Any]) -> bool:
        """Whether all values fit and are packed as themselves; fast, and right if it says yes."""
        return not values

    def pack_many(self, values: Collection[Any]) -> list[Any] | None:
        """
        The packed values, if `has_quick` and all fit; `None` to pack them one by one.

        It is no recursion: values of forms with `has_quick` are not nested in others of the form.
        """
        return list(values) if self.all_surely_fit(values) else None

    def unpack_many(self, plain: Collection[Any]) -> list[Any] | None:
        """The values of packed data, or `None`; see `pack_many`."""
        return list(plain) if self.all_surely_fit(plain) else None

    def surely_fits(self, value: Any) -> bool:
        """Whether one value fits and is packed as itself; fast, and right if it says yes."""
        return type(value) in self.scalars

    def with_default(self, default: Any) -> Form:  # noqa: ARG002 -- most forms need none
        """The form of a field that has this default."""
        return self

    def parts(self) -> Iterable[Form]:
        """The forms of the parts of a value."""
        return ()

    @property
    def is_plain(self) -> bool:
        """Whether packed data is all of dicts with `str` keys, lists, and scalars of JSON."""
        return all(form.writes_plain for form in _reachable(self))

    @property
    def is_untyped(self) -> bool:
        """Whether the annotation, or a part of it, does not give the types of the values."""
        return any(form.is_open for form in _reachable(self))

    @property
    def is_recursive(self) -> bool:
        """Whether a value may have parts of its own form, and so any depth."""
        return any(
            form is other
            for form in _reachable(self)
            for part in form.parts()
            for other in _reachable(part)
        )

    def misfit(self, value: object, reason: str = "", fault: str = DOES_NOT_FIT) -> Misfit:
        """The refusal of a value, or of the data of one."""
        return Misfit(value, self.text, fault, reason)

    def type_misfit(self, value: object) -> Misfit:
        """The refusal of a value because of its type."""
        kind = type(value)
        base = next((base for base in kind.__mro__[1:] if base in self.types), None)
        if base is None or kind in EXACT:
            return self.misfit(value)
        reason = f"it would come back as {base.__name__}; use {base.__name__} itself"
        return self.misfit(value, reason, WOULD_NOT_COME_BACK)


def are_of(kind: type, values: Collection[Any]) -> bool:
    """Whether all values are exactly of a type."""
    # This takes less time than a set of the types.
    return list(map(type, values)).count(kind) == len(values)


def kind_of(text: str) -> str:
    """The name of the class or container of an annotation: `list` of `list[Item]`."""
    return text.partition("[")[0]


def _reachable(form: Form) -> Iterator[Form]:
    """A form and all parts of it, each once."""
    seen, left = {id(form)}, [form]
    while left:
        form = left.pop()
        yield form
        new = [part for part in form.parts() if id(part) not in seen]
        seen.update(map(id, new))
        left += new


# Types with values of their own, though they are subclasses of others.
EXACT: frozenset[type] = frozenset((bool, datetime))
