"""Codecs: how a record becomes the bytes that a storage keeps, and comes back."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any, Protocol

from telesession.errors import DecodeError, EncodeError


class Codec(Protocol):
    """
    What a storage's `codec` has to offer; it is shared by every thread.

    A record is a `dict` of plain data around the fields of a session: `{"fields": {...}}`, and
    beside it whatever the library itself has to remember. What is encoded must come back equal
    and of the same types, or be refused.
    """

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """
        The payload of a record.

        Args:
            record: What to encode.
            key: The storage key it will be stored under.
            previous: The payload that the record was loaded from. If the record still says the
                same, this very payload is returned, which tells the caller that there is
                nothing to write.

        Raises:
            EncodeError: A field holds something that would not come back.
        """
        ...

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """
        The record of a payload, made of objects that nobody else refers to.

        Raises:
            DecodeError: This codec did not write the payload, or it was damaged since.
        """
        ...


# The pickle opcodes of sets, and of whatever refers to code. Bytes are searched for a number
# several times faster than for other bytes.
_EMPTY_SET, _FROZENSET, _STACK_GLOBAL = 0x8F, 0x91, 0x93


class PickleCodec:
    """
    Keeps whatever pickle can bring back: the codec of in-process memory.

    Outside memory it is an explicit choice with a price: whoever can write to the storage can
    run code in the bot (https://docs.python.org/3/library/pickle.html), and a record outlives
    neither a renamed class nor a moved module.

    Stateless; keep an instance for as long as you like, in any thread.
    """

    # How every pickle of protocol 5 begins, and nothing that another codec writes.
    _MAGIC = b"\x80\x05"

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        """
        See `Codec.encode`.

        A value that refers to code, such as an instance of a class, is loaded once to see that
        it really comes back.
        """
        try:
            payload = pickle.dumps(record, 5)
            if payload == previous:
                return previous
            if _STACK_GLOBAL in payload:
                pickle.loads(payload)
        except Exception:  # noqa: BLE001 -- pickle raises whatever the methods of a value raise
            raise _refusal(record["fields"], key) from None
        if previous is not None and _may_vary(previous):
            again = pickle.dumps(self.decode(previous, key), 5)
            return previous if payload == again else payload
        return payload

    def decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """See `Codec.decode`."""
        try:
            if payload.startswith(self._MAGIC):
                record = pickle.loads(payload)
                if type(record) is dict:
                    return record
        except (ImportError, AttributeError) as error:
            raise DecodeError(key, f"it needs code that is not there: {error}") from error
        except Exception as error:  # noqa: BLE001 -- damaged pickles raise anything at all
            # Not the error itself: its text may quote what was stored.
            raise DecodeError(key, f"unpickling it raised {type(error).__name__}") from None
        raise DecodeError(
            key, "PickleCodec did not write it; give the storage the codec that wrote it"
        )


def _may_vary(payload: bytes) -> bool:
    """Whether what was pickled, once loaded, may be pickled differently: the order of a set is."""
    return _STACK_GLOBAL in payload or _EMPTY_SET in payload or _FROZENSET in payload


def _refusal(fields: dict[str, Any], key: str) -> EncodeError:
    """Say where the innermost value is that pickle does not bring back."""
    path, culprit, seen = "", fields, {id(fields)}
    while True:
        for child_path, child in _children(path, culprit):
            if id(child) not in seen and not _comes_back(child):
                seen.add(id(child))
                path, culprit = child_path, child
                break
        else:
            reason = "which pickle cannot bring back; store plain data, or a class of a module"
            return EncodeError(key, path, type(culprit).__name__, reason)


def _comes_back(value: object) -> bool:
    try:
        pickle.loads(pickle.dumps(value, 5))
    except Exception:  # noqa: BLE001 -- see PickleCodec.encode
        return False
    return True


def _children(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a value consists of, each part with its path; the fields themselves have none."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"a key of {path or 'the session'}", name
            yield _item_path(path, name), item
    elif isinstance(value, list | tuple):
        yield from ((_item_path(path, index), item) for index, item in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((f"an item of {path}", item) for item in value)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        yield from ((f"{path}.{name}", item) for name, item in vars(value).items())


def _item_path(path: str, name: object) -> str:
    if not path:
        return str(name)
    shown = repr(name) if isinstance(name, str | int) else f"<{type(name).__name__}>"
    return f"{path}[{shown}]"
