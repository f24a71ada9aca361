"""Forms of classes whose values are made of their text: paths, fractions, addresses, zones."""

from __future__ import annotations

import ipaddress
import pathlib
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from telesession.typed.form import WOULD_NOT_COME_BACK, Form, Reading

# A path is of a class for its system, also if the annotation names another class.
_KINDS: MappingProxyType[type, type] = MappingProxyType(
    {
        Fraction: Fraction,
        ZoneInfo: ZoneInfo,
        ipaddress.IPv4Address: ipaddress.IPv4Address,
        ipaddress.IPv6Address: ipaddress.IPv6Address,
        ipaddress.IPv4Network: ipaddress.IPv4Network,
        ipaddress.IPv6Network: ipaddress.IPv6Network,
        ipaddress.IPv4Interface: ipaddress.IPv4Interface,
        ipaddress.IPv6Interface: ipaddress.IPv6Interface,
        pathlib.Path: type(pathlib.Path()),
        pathlib.PurePath: type(pathlib.PurePath()),
        pathlib.PosixPath: pathlib.PosixPath,
        pathlib.WindowsPath: pathlib.WindowsPath,
        pathlib.PurePosixPath: pathlib.PurePosixPath,
        pathlib.PureWindowsPath: pathlib.PureWindowsPath,
    }
)


class TextForm(Form):
    """
    Values of a class that are packed as their text.

    Args:
        cls: The class that the annotation names, one for which `is_text_class` is true.
    """

    plain_types = frozenset((str,))
    is_hashable = True
    writes_plain = True

    def __init__(self, cls: type) -> None:
        self.text = cls.__name__
        self._kind: Any = _KINDS[cls]
        self.types = frozenset((self._kind,))

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not self._kind:
            raise self.type_misfit(value)
        if type(value) is ZoneInfo and value.key is None:
            raise self.misfit(value, "it has no key; use one with a key", WOULD_NOT_COME_BACK)
        text = _write(value)
        if text is None:
            raise self.misfit(value, "it has too many digits; round it", WOULD_NOT_COME_BACK)
        return text

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is self._kind:
            return self.take(plain, reading)
        if type(plain) is not str:
            return self.unpack_other(plain, reading)
        value = self._value_of(plain)
        if value is None:
            needs = "; install tzdata" if self._kind is ZoneInfo else ""
            raise self.misfit(plain, f"it is the text of no {self.text} here{needs}")
        return value

    def _value_of(self, text: str) -> Any:
        """The value of a text; `None` if there is none."""
        # The caller raises, because the exceptions of these classes quote the text.
        try:
            return self._kind(text)
        except Exception:  # noqa: BLE001 -- classes may raise any exception
            return None


def _write(value: Any) -> str | None:
    """The text of a value; `None` if Python limits the digits of numbers to less."""
    try:
        return str(value)
    except ValueError:
        return None


def is_text_class(cls: type) -> bool:
    """Whether the values of a class are packed as their text."""
    return cls in _KINDS
