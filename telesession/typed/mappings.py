"""Forms of the dicts and lists of `collections`."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from operator import is_
from types import FunctionType
from typing import TYPE_CHECKING, Any

from telesession.typed.form import MARK, WOULD_NOT_COME_BACK, Form, Reading
from telesession.typed.parts import pack_all, unpack_all

if TYPE_CHECKING:
    from telesession.typed.containers import DictForm


class MappingForm(Form):
    """
    An `OrderedDict` or a `Counter`, packed as a dict.

    Args:
        kind: The type.
        items: The form of a dict with the same keys and values.
        text: The annotation.
    """

    def __init__(self, kind: type, items: DictForm, text: str) -> None:
        self.text = text
        self.types = frozenset((kind,))
        self.plain_types = items.plain_types
        self.writes_plain = items.writes_plain
        self._kind: Any = kind
        self._items = items

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return (self._items,)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not self._kind:
            raise self.type_misfit(value)
        return self._items.pack_items(value)

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is self._kind:
            return self.take(plain, reading)
        if self.plain_types is None or type(plain) not in self.plain_types:
            raise self.type_misfit(plain)
        return self._make(self._items.unpack_items(plain, reading))

    def _make(self, items: dict[Any, Any]) -> Any:
        return self._kind(items)


class DefaultdictForm(MappingForm):
    """
    A `defaultdict`, packed as a dict; its `default_factory` is that of the declaration.

    Args:
        items: The form of a dict with the same keys and values.
        factory: The function that all values have, or one that makes equal objects.
        text: The annotation.
    """

    takes_default = True

    def __init__(self, items: DictForm, factory: Callable[[], Any] | None, text: str) -> None:
        super().__init__(defaultdict, items, text)
        self._factory = factory

    def with_default(self, default: Any) -> Form:
        """See `Form.with_default`: the `default_factory` is that of the default."""
        if type(default) is not defaultdict:
            return self
        return DefaultdictForm(self._items, default.default_factory, self.text)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        packed = super().pack(value)
        if getattr(value.default_factory, "__self__", None) is value:
            reason = "its default_factory is a method of the dict itself; use a function"
            raise self.misfit(value, reason, WOULD_NOT_COME_BACK)
        if not _make_alike(value.default_factory, self._factory):
            reason = (
                "its default_factory makes other values than the declared one; use that, or give "
                "the field a default with this one"
            )
            raise self.misfit(value, reason, WOULD_NOT_COME_BACK)
        return packed

    def _make(self, items: dict[Any, Any]) -> Any:
        return defaultdict(self._factory, items)


class DequeForm(Form):
    """
    A `deque`, packed as a list; with a `maxlen` as a dict of that and the list.

    Args:
        item: The form of the items.
        text: The annotation.
    """

    types = frozenset((deque,))
    plain_types = frozenset((list, dict))
    writes_plain = True

    def __init__(self, item: Form, text: str) -> None:
        self.text = text
        self._item = item

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return (self._item,)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not deque:
            raise self.type_misfit(value)
        # Of a tuple, the path of an item has its index.
        items = pack_all(self._item, tuple(value))
        return items if value.maxlen is None else {"maxlen": value.maxlen, "items": items}

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is deque:
            return self.take(plain, reading)
        if type(plain) is list:
            return deque(unpack_all(self._item, plain, reading))
        if type(plain) is not dict or MARK in plain:
            return self.unpack_other(plain, reading)
        length, items = plain.get("maxlen"), plain.get("items")
        if type(length) is not int or type(items) is not list or not 0 <= len(items) <= length:
            raise self.misfit(plain, "it needs a maxlen and a list of items that is no longer")
        return deque(unpack_all(self._item, items, reading), length)


def _make_alike(one: Any, other: Any) -> bool:
    """Whether two factories of a `defaultdict` are the same, or make equal objects."""
    if one is other or _are_same_code(one, other):
        return True
    if one is None or other is None:
        return False
    try:
        made, wanted = one(), other()
    except Exception:  # noqa: BLE001 -- functions may raise any exception
        return False
    if type(made) is not type(wanted) or made != wanted:
        return False
    is_nested = isinstance(made, defaultdict)
    return not is_nested or _make_alike(made.default_factory, wanted.default_factory)


def _are_same_code(one: Any, other: Any) -> bool:
    """Whether two functions were made of one definition, with the same objects around it."""
    if type(one) is not FunctionType or type(other) is not FunctionType:
        return False
    objects = [_objects_of(each) for each in (one, other)]
    return (
        one.__code__ is other.__code__
        and len(objects[0]) == len(objects[1])
        and all(map(is_, *objects))
    )


def _objects_of(function: FunctionType) -> list[Any]:
    """The defaults and the variables of the functions around that a function may use."""
    keywords = function.__kwdefaults__ or {}
    cells = function.__closure__ or ()
    try:
        inherited = [cell.cell_contents for cell in cells]
    except ValueError:
        # A variable is not set yet.
        inherited = list(cells)
    return [
        *(function.__defaults__ or ()),
        *(keywords[name] for name in sorted(keywords)),
        *inherited,
    ]
