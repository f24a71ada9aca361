"""The polls of a bot, and the people who vote in them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.ids import new_id
from telesession.testing.telegram.markups import read_markup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telesession.testing.server.updates import Updates
    from telesession.testing.telegram.bot_messages import BotMessages
    from telesession.testing.telegram.history import History
    from telesession.testing.telegram.media import Media

_MAX_QUESTION = 300
_MAX_OPTIONS = 12
_MAX_OPTION = 100

_FLAGS = ("allows_multiple_answers", "allows_revoting", "members_only")


class Polls:
    """
    Sends and stops polls, and counts the votes.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        messages: Puts messages into chats.
        history: Where the polls are.
        media: Makes the texts of polls.
        updates: The queue that gets the updates about votes.
    """

    def __init__(
        self, messages: BotMessages, history: History, media: Media, updates: Updates
    ) -> None:
        self._messages = messages
        self._history = history
        self._media = media
        self._updates = updates
        # poll id -> voter id -> the numbers of the chosen options
        self._votes: dict[str, dict[int, tuple[int, ...]]] = {}
        # poll id -> its `close_date`, in seconds since 1970
        self._ends: dict[str, int] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {"sendPoll": self._send, "stopPoll": self._stop}

    def close_due(self) -> None:
        """Close the polls whose `close_date` has come, and tell the bot of each."""
        due = [(end, poll_id) for poll_id, end in self._ends.items() if end <= time.time()]
        for _, poll_id in sorted(due):
            del self._ends[poll_id]
            for message in self._history.with_poll(poll_id)[:1]:
                if not message["poll"]["is_closed"]:
                    self._close(message["poll"])

    def vote(self, message: JSON, voter: Mapping[str, JSON], options: Sequence[str | int]) -> JSON:
        """
        Vote in a poll of the bot, and return the update about it.

        As in Telegram, the bot gets the new state of the poll, and if the poll is not anonymous
        then a `poll_answer`.

        Args:
            message: The message with the poll, as it is now.
            voter: The field of the `poll_answer` that has the voter: `user` or `voter_chat`.
            options: The texts or the numbers of the options; none takes the vote back.

        Raises `ValueError` if the message has no poll of the bot, or if Telegram's apps would not
        let the voter do so.
        """
        poll = message.get("poll", {})
        if poll.get("id") not in self._votes:
            raise ValueError(
                f"cannot vote in message {message['message_id']}: it has no poll of the bot, and "
                "a bot hears nothing of votes in other polls"
            )
        chosen = tuple(sorted({_number_of(poll, option) for option in options}))
        [voter_id] = [each["id"] for each in voter.values()]
        votes = self._votes[poll["id"]]
        _refuse_vote(poll, chosen, has_voted=voter_id in votes)
        votes[voter_id] = chosen
        if not chosen:
            del votes[voter_id]
        counted = self._count(poll)
        self._messages.show_poll(counted)
        update = self._updates.push({"poll": counted})
        if poll["is_anonymous"]:
            return update
        answer = {"poll_id": poll["id"], **voter, "option_ids": list(chosen)}
        persistent = [poll["options"][number]["persistent_id"] for number in chosen]
        return self._updates.push({"poll_answer": {**answer, "option_persistent_ids": persistent}})

    def copy(self, poll: JSON) -> JSON:
        """The poll in the copy of a message: a new one of the bot, open and without votes."""
        options = [{**option, "voter_count": 0} for option in poll["options"]]
        fresh = {"id": new_id(), "is_closed": False, "total_voter_count": 0}
        if "open_period" in poll:
            fresh["close_date"] = int(time.time()) + poll["open_period"]
        return self._add({**poll, **fresh, "options": options})

    def _add(self, poll: JSON) -> JSON:
        """Keep a new poll, and return it."""
        self._votes[poll["id"]] = {}
        if "close_date" in poll:
            self._ends[poll["id"]] = poll["close_date"]
        return poll

    def _send(self, call: Call) -> JSON:
        return self._messages.send(call, {"poll": self._add(self._poll_of(call))})

    def _poll_of(self, call: Call) -> JSON:
        """
        The `Poll` that a call of `sendPoll` describes.

        Raises `RefusedError` if the call asks for one that Telegram does not have.

        See https://core.telegram.org/bots/api#sendpoll.
        """
        question = self._text(call.params, "question")
        asked = call.json("options") or ()
        options = [self._option(one, number) for number, one in enumerate(asked)]
        _check_texts(question.get("question", ""), [one.get("text", "") for one in options])
        kind = call.params.get("type") or "regular"
        right = _correct_options(call, len(options)) if kind == "quiz" else []
        flags = {name: call.flag(name) for name in _FLAGS}
        if kind == "regular" and "allows_revoting" not in call.params:
            flags["allows_revoting"] = True
        return {
            "id": new_id(),
            **question,
            "options": options,
            "total_voter_count": 0,
            "is_closed": call.flag("is_closed"),
            "is_anonymous": "is_anonymous" not in call.params or call.flag("is_anonymous"),
            "type": kind,
            **flags,
            **self._text(call.params, "explanation"),
            **self._text(call.params, "description"),
            **({"correct_option_ids": right} if kind == "quiz" else {}),
            **_end_of(call),
        }

    def _option(self, option: JSON | str, number: int) -> JSON:
        fields = {"text": option} if isinstance(option, str) else option
        return {"persistent_id": str(number), **self._text(fields, "text"), "voter_count": 0}

    def _text(self, fields: Mapping[str, Any], name: str) -> JSON:
        return self._media.formatted(fields, name, f"{name}_entities", f"{name}_parse_mode")

    def _stop(self, call: Call) -> JSON:
        message = self._messages.find(call, "stop")
        poll = message.get("poll")
        if poll is None:
            raise bad_request("message with poll to stop not found")
        if poll["is_closed"]:
            raise bad_request("poll has already been closed")
        if markup := read_markup(call, message["chat"], only_inline=True):
            self._messages.publish(message, markup)
        return self._close(poll)

    def _close(self, poll: JSON) -> JSON:
        """Close a poll, tell the bot of it, and return it."""
        closed = {**poll, "is_closed": True}
        self._messages.show_poll(closed)
        self._updates.push({"poll": closed})
        return closed

    def _count(self, poll: JSON) -> JSON:
        votes = self._votes[poll["id"]].values()
        options = [
            {**option, "voter_count": sum(number in chosen for chosen in votes)}
            for number, option in enumerate(poll["options"])
        ]
        return {**poll, "options": options, "total_voter_count": len(votes)}


def _refuse_vote(poll: JSON, chosen: Sequence[int], *, has_voted: bool) -> None:
    """Raise `ValueError` for a vote that Telegram's apps do not offer."""
    final = poll["type"] == "quiz" or not poll["allows_revoting"]
    reason = ""
    if poll["is_closed"]:
        reason = "it is closed"
    elif len(chosen) > 1 and not poll["allows_multiple_answers"]:
        reason = "it takes one answer"
    elif has_voted and final:
        reason = "this voter has voted, and it allows no other vote"
    elif not chosen and not has_voted:
        reason = "give an option; there is no vote to take back"
    if reason:
        raise ValueError(f"cannot vote in the poll {poll['question']!r}: {reason}")


def _number_of(poll: JSON, option: str | int) -> int:
    texts = [one["text"] for one in poll["options"]]
    if isinstance(option, int) and 0 <= option < len(texts):
        return option
    if option in texts:
        return texts.index(option)
    raise ValueError(f"the poll {poll['question']!r} has no option {option!r}; it has {texts}")


def _end_of(call: Call) -> JSON:
    """The fields of a poll that say when it closes."""
    if (seconds := call.integer("open_period")) is not None:
        return {"open_period": seconds, "close_date": int(time.time()) + seconds}
    if call.params.get("close_date"):
        return {"close_date": int(float(call.params["close_date"]))}
    return {}


def _check_texts(question: str, options: list[str]) -> None:
    """Raise `RefusedError` if a poll has too many or too long texts, or lacks one."""
    if not options:
        raise bad_request("poll must have at least one answer option")
    if not all([question, *options]):
        raise bad_request("text must be non-empty")
    reason = ""
    if len(question) > _MAX_QUESTION:
        reason = f"poll question length must not exceed {_MAX_QUESTION}"
    elif len(options) > _MAX_OPTIONS:
        reason = f"poll can't have more than {_MAX_OPTIONS} options"
    elif any(len(option) > _MAX_OPTION for option in options):
        reason = f"poll options length must not exceed {_MAX_OPTION}"
    if reason:
        raise bad_request(f"{reason}")


def _correct_options(call: Call, count: int) -> list[int]:
    """The numbers of the right answers of a quiz with a number of options."""
    several: list[int] | None = call.json("correct_option_ids")
    single = call.integer("correct_option_id")
    if several is None and single is None:
        raise bad_request("correct_option_ids is empty")
    right = [single] if several is None and single is not None else several or []
    if any(number not in range(count) for number in right):
        raise bad_request("wrong correct option ID specified")
    return right
