"""Codecs: from a record to the payload that a storage keeps, and back."""

from __future__ import annotations

from telesession.codecs.base import Codec
from telesession.codecs.encrypted import EncryptedCodec
from telesession.codecs.json import JSONCodec
from telesession.codecs.pickle import PickleCodec

__all__ = ["Codec", "EncryptedCodec", "JSONCodec", "PickleCodec"]
