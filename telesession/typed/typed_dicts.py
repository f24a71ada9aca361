"""Forms of typed dicts."""

from __future__ import annotations

from typing import Any

from telesession.typed.form import Form, Misfit, Reading


class TypedDictForm(Form):
    """
    A dict whose keys a class declares.

    Args:
        text: The annotation.
    """

    types = plain_types = frozenset((dict,))
    writes_plain = True

    def __init__(self, text: str) -> None:
        self.text = text
        self._forms: dict[str, Form] = {}
        self._required: frozenset[str] = frozenset()

    def complete(self, forms: dict[str, Form], required: frozenset[str]) -> None:
        """Set the forms of the values, which may refer to this form, and the required keys."""
        self._forms.update(forms)
        self._required = required

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return tuple(self._forms.values())

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not dict:
            raise self.type_misfit(value)
        if not self._forms.keys() >= value.keys():
            raise self.misfit(value, f"it has a key that {self.text} does not declare; declare it")
        self._check_required(value, "set it, or declare it as NotRequired")
        packed, name = {}, ""
        try:
            for name, item in value.items():
                packed[name] = self._forms[name].pack(item)
        except Misfit as misfit:
            raise misfit.inside(f"[{name!r}]") from None
        return packed

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is not dict:
            raise self.type_misfit(plain)
        self._check_required(plain, "declare it as NotRequired, or write a migration")
        made, name = {}, ""
        try:
            for name, item in plain.items():
                if name in self._forms:
                    made[name] = self._forms[name].unpack(item, reading)
        except Misfit as misfit:
            raise misfit.inside(f"[{name!r}]") from None
        if len(made) < len(plain):
            reading.filled = True
            reading.undeclared.update(f"{self.text}.{name}" for name in plain if name not in made)
        return made

    def _check_required(self, items: dict[Any, Any], remedy: str) -> None:
        for name in self._required:
            if name not in items:
                raise self.misfit(items, f"it lacks the key {name!r}; {remedy}")
