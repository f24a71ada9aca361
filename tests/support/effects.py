"""
Scripts of updates, the effects that each script must have, and the comparison with those found.

A script is a list of steps. A step is one update of one user: its kind says which handlers of
`support.effect_bot` take it, and its number says how many updates of the user came before. Handlers
note their effects in sessions only, so the sessions show which effects were lost, doubled or
reordered.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# The users that send updates of all kinds.
USERS = range(1, 21)
# The user whose handler is slow, and the user whose session this handler has open, too.
SLOW, BEHIND = 21, 22
ALL_USERS = (*USERS, SLOW, BEHIND)

# kind -> how often handlers begin for an update of that kind
BEGINS = {
    "count": 1,
    "chain": 2,
    "broken-chain": 2,
    "two": 1,
    "raise": 1,
    "press": 1,
    "bare": 1,
    "read": 1,
    "none": 0,
    "slow": 1,
    "state": 1,
    "state-raise": 1,
}
# The kinds whose effects depend on the order of the updates of a user.
IN_ORDER = ("state", "state-raise")
ANY_ORDER = tuple(kind for kind in BEGINS if kind not in IN_ORDER)

# A log of effects -> its entries, such as {"1": ["1 count", "2 first", "2 second"]}
Logs = dict[str, list[str]]


class Step(NamedTuple):
    """
    One update of a script.

    Attributes:
        user: The id of the user.
        number: 1 for the first update of the user, and so on.
        kind: The name of its kind.
    """

    user: int
    number: int
    kind: str

    @property
    def text(self) -> str:
        """The text of the message, or the data of the button."""
        return f"{self.kind} {self.number}"

    def as_json(self) -> dict[str, Any]:
        """The update as Telegram sends it, without its `update_id`."""
        person = {"id": self.user, "is_bot": False, "first_name": f"User {self.user}"}
        if self.kind == "press":
            query = {"id": str(self.number), "from": person, "chat_instance": "1"}
            return {"callback_query": {**query, "data": self.text}}
        chat = {"id": self.user, "type": "private", "first_name": person["first_name"]}
        message = {"message_id": self.number, "date": 1, "from": person, "chat": chat}
        return {"message": {**message, "text": self.text}}


def make_script(count: int, seed: int = 1, kinds: Iterable[str] = tuple(BEGINS)) -> list[Step]:
    """
    A script of random updates, which ends with one of the kind `count` for each user.

    Args:
        count: The number of updates.
        seed: Of the random numbers.
        kinds: The names of the kinds.
    """
    rng, numbers = random.Random(f"script {seed}"), Counter[int]()
    usual = [kind for kind in kinds if kind not in ("slow", "count")]
    steps = []
    for left in range(count, 0, -1):
        is_end = left <= len(ALL_USERS)
        user = ALL_USERS[left - 1] if is_end else rng.choice(ALL_USERS)
        numbers[user] += 1
        kind = "count"
        if not is_end and rng.random() < 0.7:
            kind = "slow" if user == SLOW else rng.choice(usual)
        steps.append(Step(user, numbers[user], kind))
    return steps


def begins_of(steps: Iterable[Step]) -> int:
    """How often handlers begin for some updates, if each update is handled once."""
    return sum(BEGINS[step.kind] for step in steps)


def expected_logs(steps: Iterable[Step]) -> Logs:
    """The logs after each update had its effect exactly once, in the order of each user."""
    logs, states = defaultdict(list), Counter[int]()
    for user, number, kind in steps:
        log = logs[str(user)]
        match kind:
            case "count" | "press":
                log.append(f"{number} {kind}")
            case "chain":
                log += [f"{number} first", f"{number} second"]
            case "broken-chain":
                log.append(f"{number} first")
            case "two":
                log.append(f"{number} two")
                logs[f"cart of {user}"].append(f"{number} two")
            case "slow":
                log.append(f"{number} slow")
                logs[f"slow to {BEHIND}"].append(f"{number} slow")
            case "state":
                log.append(f"{number} {STATES[states[user] % len(STATES)]}")
                states[user] += 1
    return dict(logs)


# The handlers of the kind `state`, by the state of the user: none, the first and the second.
STATES = ("begin", "middle", "end")


@dataclass
class Report:
    """
    The difference between the effects that were expected and those that were found.

    Attributes:
        lost: The effects that are missing.
        twice: The effects that are there more than once.
        strange: The effects that no update of the script has.
        reordered: The logs whose effects are in another order.
        ends: The number of processes that were ended before the last one.
        with_backlog: How many of these had left updates.
        complaints: The exceptions that a bot did not expect.
    """

    lost: list[str]
    twice: list[str]
    strange: list[str]
    reordered: list[str]
    ends: int = 0
    with_backlog: int = 0
    complaints: list[str] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """The numbers of lost, doubled and strange effects, and of reordered logs."""
        return len(self.lost), len(self.twice), len(self.strange), len(self.reordered)

    @property
    def faults(self) -> dict[str, list[str]]:
        """The first five of each kind of fault; empty if there was none."""
        names = ("lost", "twice", "strange", "reordered", "complaints")
        return {name: getattr(self, name)[:5] for name in names if getattr(self, name)}

    def details(self) -> str:
        """The faults in lines, and a summary."""
        faults = [f"{name}: {fault}" for name, some in self.faults.items() for fault in some]
        return "\n".join([*faults, str(self), ""])

    def __str__(self) -> str:
        lost, twice, strange, reordered = self.counts
        return (
            f"{self.ends} ends, {self.with_backlog} with a backlog: {lost} effects lost, {twice} "
            f"twice, {strange} strange, {reordered} logs reordered, "
            f"{len(self.complaints)} complaints"
        )


def compare(expected: Logs, found: Logs) -> Report:
    """The difference between two sets of logs."""
    report = Report([], [], [], [])
    for name in sorted({*expected, *found}):
        _compare_log(report, name, expected.get(name, []), found.get(name, []))
    return report


def _compare_log(report: Report, name: str, expected: Sequence[str], found: Sequence[str]) -> None:
    wanted, there = Counter(expected), Counter(found)
    report.lost += [f"{name}: {entry}" for entry in (wanted - there).elements()]
    for entry in (there - wanted).elements():
        (report.twice if entry in wanted else report.strange).append(f"{name}: {entry}")
    # The first time of each effect counts.
    order = [entry for entry in dict.fromkeys(found) if entry in wanted]
    if order != [entry for entry in expected if entry in there]:
        report.reordered.append(name)
