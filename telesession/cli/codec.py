"""The codec of the command, from the environment or a file: keys are no arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from telesession.codecs import Codec, EncryptedCodec, JSONCodec, PickleCodec

SOURCE, TARGET = "TELESESSION_", "TELESESSION_TARGET_"
_NAMES = ("CODEC", "KEYS", "KEYS_FILE")


def codec_from(environment: Mapping[str, str], begin: str = SOURCE) -> Codec:
    """
    The codec that the environment names: `TELESESSION_CODEC`, with keys for `encrypted`.

    The keys are in `TELESESSION_KEYS`, or in the file that `TELESESSION_KEYS_FILE` names, with
    spaces or line ends between them. The first one writes, and all of them read.

    Args:
        environment: The environment.
        begin: The beginning of the names: `SOURCE`, or `TARGET` for the target of a copy. A target
            without any such name has the codec of the source.

    Raises:
        click.UsageError: The codec is unknown, or its keys are missing or no keys.
    """
    if begin == TARGET and not any(TARGET + name in environment for name in _NAMES):
        begin = SOURCE
    name = environment.get(f"{begin}CODEC", "json")
    if name == "json":
        return JSONCodec()
    if name == "pickle":
        return PickleCodec()
    if name == "encrypted":
        return _encrypted(environment, begin)
    raise click.UsageError(f"{begin}CODEC names no codec; set it to json, pickle or encrypted")


def _encrypted(environment: Mapping[str, str], begin: str) -> Codec:
    given = environment.get(f"{begin}KEYS")
    path = environment.get(f"{begin}KEYS_FILE")
    if given is None and path is None:
        raise click.UsageError(
            f"{begin}CODEC=encrypted needs keys; set {begin}KEYS, or {begin}KEYS_FILE to the path "
            "of a file with them"
        )
    try:
        text = given if path is None else Path(path).read_text("utf-8")
        return EncryptedCodec(JSONCodec(), (text or "").split())
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(
            f"the file that {begin}KEYS_FILE names cannot be read ({type(error).__name__})"
        ) from None
    except (ImportError, ValueError) as error:
        raise click.UsageError(str(error)) from None
