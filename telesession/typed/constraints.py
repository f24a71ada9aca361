"""Forms of annotations with `msgspec.Meta`, which says more than a type."""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Annotated, Any

import msgspec

from telesession.typed.form import NOT_ALLOWED, Form, Reading
from telesession.typed.scalars import SCALARS

# The types that msgspec takes as they are, instead of text that stands for them.
_BUILTIN: tuple[type, ...] = (
    *(SCALARS - {bool, complex, float, int, str, NoneType}),
    bytearray,
)


class ConstrainedForm(Form):
    """
    Values of a form that keep some constraints, too.

    Args:
        form: The form.
        hint: The annotation if the form is native, else the type of the container.
        constraints: The constraints.

    Raises:
        TypeError: Values of this annotation cannot have such constraints.
    """

    def __init__(self, form: Form, hint: Any, constraints: Iterable[msgspec.Meta]) -> None:
        self.text = form.text
        self.types = form.types
        self.is_native = form.is_native
        self.is_hashable = form.is_hashable
        self.plain_types = form.plain_types
        self.writes_plain = form.writes_plain
        self._form = form
        self._hint: Any = Annotated[hint, *constraints]
        try:
            msgspec.convert(None, self._hint, builtin_types=_BUILTIN)
        except msgspec.ValidationError:
            pass
        except TypeError as error:
            raise TypeError(f"{self.text} cannot have this msgspec.Meta: {error}") from None

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return (self._form,)

    def accepts(self, value: Any) -> bool:
        """See `Form.accepts`."""
        return self._form.accepts(value)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        packed = self._form.pack(value)
        # A date of a frozen clock is a real one only when it is packed.
        self._check(packed if self.is_native else value)
        return packed

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        value = self._form.unpack(plain, reading)
        self._check(value)
        return value

    def _check(self, value: Any) -> None:
        try:
            msgspec.convert(value, self._hint, builtin_types=_BUILTIN)
        except msgspec.ValidationError as error:
            reason = str(error)
        else:
            return
        raise self.misfit(value, reason, NOT_ALLOWED)
