"""The subclasses of declared classes that are defined so far."""

from __future__ import annotations

from collections.abc import Iterator


def iter_subclasses(cls: type) -> Iterator[type]:
    """
    Iterate over the direct and indirect subclasses of a class, in the order of their definition.

    The classes that are generated for sessions are left out.
    """
    subclass: type
    # A metaclass may have a method of this name.
    for subclass in type.__subclasses__(cls):
        if "_telesession_dataclass" not in vars(subclass):
            yield subclass
            yield from iter_subclasses(subclass)
