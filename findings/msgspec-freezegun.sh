#!/usr/bin/env bash
# While freezegun has the clock, msgspec encodes no `datetime.now()` and decodes none into `datetime`.
#
# Versions: msgspec 0.22.0, freezegun 1.5.5, python-dateutil 4.0.0, CPython 3.11.7.
#
# Behaviour: freezegun gives instances of FakeDatetime, a subclass of datetime, and puts that class under the
# name `datetime` in every module. msgspec looks for the exact class. So it refuses to encode the current
# time. `type=datetime` is FakeDatetime while the clock is frozen, and msgspec refuses the text of a time for
# it. A class that was defined before has the real class in its annotation, and decodes; the same class
# defined in the test does not.
#
# Output seen (in a test with a frozen clock):
#   encode datetime.now(): TypeError: Encoding objects of type FakeDatetime is unsupported
#   decode into datetime: ValidationError: Expected `FakeDatetime`, got `str`
#   decode into a class that was defined before: datetime
#   decode into a class that is defined in the test: ValidationError: Expected `FakeDatetime`, got `str` - at `$.at`
#
# For a bot author: code that stores times as msgspec's JSON works in production and fails in each test that
# freezes the clock. Encode with an enc_hook that gives value.isoformat(), and decode into classes that the
# module defines, not into type=datetime.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'freezegun==1.5.5' 'python-dateutil==4.0.0' 'msgspec==0.22.0'
"$work/venv/bin/python" - <<'PYTHON'
import sys
from datetime import datetime

import freezegun
import msgspec

STORED = b'{"at":"2030-01-01T12:00:00"}'


class Before(msgspec.Struct):
    at: datetime


def outcome(action):
    try:
        return type(action()).__name__
    except Exception as error:
        return f"{type(error).__name__}: {error}"


with freezegun.freeze_time("2030-01-01 12:00"):

    class Inside(msgspec.Struct):
        at: datetime

    seen = {
        "encode datetime.now()": outcome(lambda: msgspec.json.encode(datetime.now())),
        "decode into datetime": outcome(
            lambda: msgspec.json.decode(b'"2030-01-01T12:00:00"', type=datetime)
        ),
        "decode into a class that was defined before": outcome(
            lambda: msgspec.json.decode(STORED, type=Before).at
        ),
        "decode into a class that is defined in the test": outcome(
            lambda: msgspec.json.decode(STORED, type=Inside).at
        ),
    }
for name, result in seen.items():
    print(f"{name}: {result}")
if [result.split(":")[0] for result in seen.values()] != [
    "TypeError",
    "ValidationError",
    "datetime",
    "ValidationError",
]:
    sys.exit("CHANGED: msgspec takes the times of a frozen clock")
PYTHON
