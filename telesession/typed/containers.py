"""Forms of lists, tuples, sets and dicts."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from operator import is_
from typing import Any

import msgspec

from telesession.typed.form import Form, Misfit, Reading, are_of
from telesession.typed.parts import of_key, pack_all, unpack_all

_LIST = frozenset((list,))
_STR = frozenset((str,))


class ItemsForm(Form):
    """
    A list, a set, a frozenset, or a tuple of any length, whose items are all of one form.

    A set is packed as a list if packed items cannot be in a set. Unpacking takes a list for each
    of the others as well.

    Args:
        kind: The type.
        item: The form of the items.
        text: The annotation.
    """

    def __init__(self, kind: type, item: Form, text: str) -> None:
        self.text = text
        self.types = frozenset((kind,))
        self._kind: Any = kind
        self._item = item
        is_set = issubclass(kind, set | frozenset)
        self._is_listed = kind is list or (is_set and not item.is_hashable)
        self.plain_types = _LIST if self._is_listed else self.types
        self.is_native = item.is_native and self.plain_types == self.types
        self.is_hashable = kind in (tuple, frozenset) and item.is_hashable
        self.writes_plain = self._is_listed
        self.has_quick = self.is_native and item.has_quick

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return (self._item,)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not self._kind:
            raise self.type_misfit(value)
        if self.surely_fits(value):
            return value
        if not value and self._is_listed:
            return []
        packed = pack_all(self._item, value)
        if self.is_native and all(map(is_, packed, value)):
            return value
        if self._is_listed:
            return packed if self._kind is list else sorted(packed, key=_order)
        return self._kind(packed)

    def surely_fits(self, value: Any) -> bool:
        """See `Form.surely_fits`."""
        return self.is_native and type(value) is self._kind and self._item.all_surely_fit(value)

    def all_surely_fit(self, values: Collection[Any]) -> bool:
        """See `Form.all_surely_fit`."""
        is_right = self.has_quick and are_of(self._kind, values)
        return is_right and self._item.all_surely_fit(list(chain.from_iterable(values)))

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        kind = type(plain)
        if kind is not self._kind:
            if kind is not list:
                return self.unpack_other(plain, reading)
            reading.filled |= not self._is_listed
        elif self.surely_fits(plain):
            return plain
        if not plain:
            return self._kind()
        items = unpack_all(self._item, plain, reading)
        if self._kind is list:
            return items
        try:
            return self._kind(items)
        except TypeError:
            pass
        raise self.misfit(plain, "one of its items cannot be in a set")


class TupleForm(Form):
    """
    A tuple of a fixed length, with a form for each item.

    Args:
        items: The forms of the items.
        text: The annotation.
    """

    types = plain_types = frozenset((tuple,))

    def __init__(self, items: tuple[Form, ...], text: str) -> None:
        self.text = text
        self._items = items
        self.is_native = all(item.is_native for item in items)
        self.is_hashable = all(item.is_hashable for item in items)

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return self._items

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not tuple:
            raise self.type_misfit(value)
        self._check_length(value)
        packed, index = [], 0
        try:
            for index, form in enumerate(self._items):
                packed.append(form.pack(value[index]))
        except Misfit as misfit:
            raise misfit.inside(f"[{index}]") from None
        return value if self.is_native and all(map(is_, packed, value)) else tuple(packed)

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is list:
            reading.filled = True
        elif type(plain) is not tuple:
            return self.unpack_other(plain, reading)
        self._check_length(plain)
        items, index = [], 0
        try:
            for index, form in enumerate(self._items):
                items.append(form.unpack(plain[index], reading))
        except Misfit as misfit:
            raise misfit.inside(f"[{index}]") from None
        return tuple(items)

    def _check_length(self, items: Any) -> None:
        if len(items) != len(self._items):
            raise self.misfit(items, f"its length is {len(items)}, not {len(self._items)}")


class DictForm(Form):
    """
    A dict whose keys are of one form, and its values of another.

    It is packed as a list of pairs if packed keys cannot be keys.

    Args:
        key: The form of the keys.
        value: The form of the values.
        text: The annotation.
    """

    types = frozenset((dict,))

    def __init__(self, key: Form, value: Form, text: str) -> None:
        self.text = text
        self._key = key
        self._value = value
        self.plain_types = frozenset((dict if key.is_hashable else list,))
        self.is_native = key.is_native and value.is_native and key.is_hashable
        self.writes_plain = key.plain_types == _STR or not key.is_hashable

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return self._key, self._value

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not dict:
            raise self.type_misfit(value)
        return self.pack_items(value)

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is not dict and (self._key.is_hashable or type(plain) is not list):
            raise self.type_misfit(plain)
        return self.unpack_items(plain, reading)

    def surely_fits(self, value: Any) -> bool:
        """See `Form.surely_fits`."""
        return (
            self.is_native
            and type(value) is dict
            and self._key.all_surely_fit(value)
            and self._value.all_surely_fit(value.values())
        )

    def pack_items(self, value: Any) -> Any:
        """The packed items of a mapping, as a dict or pairs; the mapping itself if it is a dict."""
        if self.surely_fits(value):
            return value
        is_native = self.is_native and type(value) is dict
        keys = of_key(lambda: pack_all(self._key, value, value))
        values = pack_all(self._value, value.values(), value)
        if is_native and all(map(is_, keys, value)) and all(map(is_, values, value.values())):
            return value
        pairs = zip(keys, values, strict=True)
        return dict(pairs) if self._key.is_hashable else list(map(list, pairs))

    def unpack_items(self, plain: Any, reading: Reading) -> Any:
        """The dict of packed items; the packed dict itself if that is the same."""
        keys: Any = plain
        values: Any
        if isinstance(plain, dict):
            values = plain.values()
            if self.surely_fits(plain):
                return plain
        elif all(type(pair) is list and len(pair) == _PAIR for pair in plain):
            keys, values = [key for key, _ in plain], [value for _, value in plain]
        else:
            raise self.misfit(plain, "it is no list of pairs")
        made_keys = of_key(lambda: unpack_all(self._key, keys, reading, keys))
        made = unpack_all(self._value, values, reading, keys)
        try:
            return dict(zip(made_keys, made, strict=True))
        except TypeError:
            pass
        raise self.misfit(plain, "one of its keys cannot be a key")


_PAIR = 2
_encode = msgspec.json.Encoder(enc_hook=repr, order="deterministic").encode


def _order(packed: Any) -> bytes:
    """A key that sorts packed items, so that equal sets are packed equally."""
    try:
        return _encode(packed)
    except Exception:  # noqa: BLE001 -- there are dicts that JSON has no word for
        return repr(packed).encode("utf-8", "surrogatepass")
