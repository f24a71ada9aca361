"""Forms of names that stand for an annotation, and may be a part of it."""

from __future__ import annotations

from typing import Any

from telesession.typed.form import Form, Reading


class AliasForm(Form):
    """
    A name in the annotation that it stands for, such as `Json` in `type Json = list[Json] | int`.

    Args:
        text: The name.

    Attributes:
        form: The form of the annotation; set once that is known.
    """

    form: Form
    writes_plain = True

    def __init__(self, text: str) -> None:
        self.text = text

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return (self.form,)

    def accepts(self, value: Any) -> bool:
        """See `Form.accepts`."""
        return self.form.accepts(value)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        return self.form.pack(value)

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        return self.form.unpack(plain, reading)
