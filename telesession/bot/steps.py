"""Steps: the functions that get answers, their names and their calls."""

from __future__ import annotations

import inspect
import logging
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace, UnionType
from typing import Any

from telesession.bot.attachable import Attachable, give_sessions
from telesession.bot.attachment import Attachment
from telesession.options import POSITIONAL, VARIADIC, is_async
from telesession.sessions import kind_of
from telesession.unit.endings import call_with

if typing.TYPE_CHECKING:
    from telesession.sessions import Sessions
    from telesession.unit.endings import Ending

_log = logging.getLogger("telesession")

Step = Callable[..., Any]

_LISTS = (list, Sequence, Collection, Iterable)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# The parameters of a step that telebot gives.
_TELEBOT = ("bot", "data")


class Steps:
    """
    The steps and predicates of one bot by their names. A storage has only the names.

    Keep one for as long as the questions of the bot. Any thread may use it.

    Args:
        bot: The bot.
        sessions: The sessions that steps get, beside those that are attached to the bot.
    """

    def __init__(self, bot: Any, sessions: Sessions[Any]) -> None:
        self._bot = bot
        self._sessions = Attachable(sessions, kind_of(sessions))
        self._known: dict[str, Step] = {}
        # The names of the steps that want an album as one list.
        self._of_albums: set[str] = set()

    def add(self, step: Step) -> str:
        """
        Add a step, and return its name.

        Raises:
            TypeError: It cannot be called with an answer.
            ValueError: It has no name, or that of another one.
        """
        name = _checked_name(step, "step")
        if self._known.get(name) == step:
            return name
        _refuse_uncallable(step, name)
        # An unfit parameter for a session is refused here, and not with each answer.
        self._dressed(step)
        self._register(step, name)
        if _wants_list(step):
            self._of_albums.add(name)
        return name

    def add_predicate(self, predicate: Step) -> str:
        """Add a predicate of `unless`, and return its name; the errors are those of `add`."""
        name = _checked_name(predicate, "predicate")
        _refuse_uncallable(predicate, name)
        needed = [each.name for each in _others(predicate) if each.default is each.empty]
        if needed:
            raise TypeError(
                f"the predicate {name} could not be called: it needs {', '.join(needed)}, and gets "
                "the message only"
            )
        self._register(predicate, name)
        return name

    def name_of(self, step: Step, *, is_predicate: bool = False) -> str:
        """The name of a function, which need not be listed; the errors are those of `add`."""
        is_listed = getattr(step, "__qualname__", None) in self._known
        name = self.add_predicate(step) if is_predicate else self.add(step)
        if not is_listed and self._sessions.kind.storage.persistent:
            kind = "unless" if is_predicate else "steps"
            remedy = f"add it to use_questions(bot, sessions, {kind}=[..., {name}])"
            if "<locals>" in name:
                remedy = f"define it outside of other functions, and list it in {kind} there"
            _log.warning(
                "after a restart the bot cannot call the %s %s of a question; %s",
                "predicate" if is_predicate else "step",
                name,
                remedy,
            )
        return name

    def find(self, name: str) -> Step | None:
        """The function of a name; `None` if it was not listed."""
        return self._known.get(name) if isinstance(name, str) else None

    def takes_list(self, name: str) -> bool:
        """Whether a step wants an album as one list: its first parameter is annotated so."""
        return name in self._of_albums

    def check_data(self, step: Step, data: Mapping[str, Any]) -> None:
        """
        Check that a step can be called with the keyword arguments of a question.

        Raises:
            TypeError: It does not take one of them, or needs another one.
        """
        name = step.__qualname__
        parameters = list(inspect.signature(self._dressed(step)).parameters.values())
        takes = {each.name for each in parameters[1:] if each.kind in _BY_NAME}
        is_open = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
        givers: dict[str, str] = dict.fromkeys(_TELEBOT, "its value from the bot")
        givers[parameters[0].name] = "the answer"
        givers |= dict.fromkeys(self._names_of_sessions(step), "a session")
        for taken in givers.keys() & data.keys():
            raise TypeError(
                f"data={{{taken!r}: ...}} of ask cannot reach the step {name}: the parameter gets "
                f"{givers[taken]}; choose another name"
            )
        unknown = sorted(data.keys() - takes) if not is_open else []
        if unknown:
            raise TypeError(
                f"the step {name} does not take {', '.join(unknown)}, which data=... of ask gives; "
                "add a parameter of that name"
            )
        if self._bot.use_class_middlewares:
            # Middlewares may give further values.
            return
        given = {*data, *_TELEBOT}
        lacking = [
            each.name
            for each in parameters[1:]
            if each.default is each.empty and each.kind not in VARIADIC and each.name not in given
        ]
        if lacking:
            raise TypeError(
                f"the step {name} needs {', '.join(lacking)}, and nothing gives it; pass "
                f"data={{{lacking[0]!r}: ...}} to ask, or name the session as the sessions of "
                f"use_questions do: {self._sessions.name!r}"
            )

    def call(
        self,
        step: Step,
        answer: Any,
        data: Mapping[str, Any],
        values: Mapping[str, Any] | None,
        ending: Ending | None,
    ) -> Any:
        """
        Call a step.

        Args:
            step: The step.
            answer: A message, a callback query or an album.
            data: The keyword arguments of the question.
            values: The values of class middlewares; `None` without those.
            ending: The ending of the unit around it, which learns whether the step was called;
                `None` without one.
        """
        dressed = self._dressed(step)
        parameters = list(inspect.signature(dressed).parameters.values())[1:]
        given = {**(values or {}), "data": values or {}, "bot": self._bot, **data}
        wanted = {each.name for each in parameters if each.kind in _BY_NAME} & given.keys()
        if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
            wanted |= data.keys()
        passed = {name: given[name] for name in wanted}
        if ending is None:
            return dressed(answer, **passed)
        return call_with(ending, dressed, answer, **passed)

    def _register(self, function: Step, name: str) -> None:
        if self._known.setdefault(name, function) != function:
            raise ValueError(
                f"there are two functions named {name!r} for questions; rename one of them, or, if "
                "it is made anew for each question, define it outside of the handler"
            )

    def _names_of_sessions(self, step: Step) -> set[str]:
        """The parameters of a step that receive sessions."""
        names = inspect.signature(inspect.unwrap(step)).parameters.keys()
        return names - inspect.signature(self._dressed(step)).parameters.keys()

    def _dressed(self, step: Step) -> Step:
        """A step that gets its sessions."""
        attachment = Attachment.of(self._bot)
        dressed = step if attachment is None else attachment.decorate(step)
        return give_sessions(dressed, [self._sessions])


def _checked_name(function: Step, noun: str) -> str:
    """The name of a function that can be stored and called."""
    name = getattr(function, "__qualname__", "")
    if not name or "<lambda>" in name or isinstance(function, type):
        raise ValueError(
            f"a {noun} must be a function with a name, by which it can be stored; define it with "
            "def, outside of the handler, and give it its arguments by data=... of ask"
        )
    if is_async(function) or inspect.isgeneratorfunction(function):
        raise TypeError(
            f"the {noun} {name} is async or a generator, and calling it would do nothing; write it "
            "with def, without async and yield"
        )
    return name


def _others(function: Step) -> list[inspect.Parameter]:
    """The parameters behind the first one, without `*args` and `**kwargs`."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [each for each in parameters if each.kind not in VARIADIC]


def _wants_list(step: Step) -> bool:
    original = inspect.unwrap(step)
    parameters = inspect.signature(original).parameters.values()
    first = next((each for each in parameters if each.name != "self"), None)
    if first is None or first.annotation is first.empty:
        return False
    # Of this parameter alone, because names of others may only be imported for type checkers.
    alone = SimpleNamespace(__annotations__={first.name: first.annotation})
    names = getattr(original, "__globals__", None)
    try:
        annotation = typing.get_type_hints(alone, names)[first.name]
    except Exception:  # noqa: BLE001 -- a name that does not exist when the program runs
        return re.match(r"(typing\.)?(list|List|Sequence)\[", str(first.annotation)) is not None
    is_union = typing.get_origin(annotation) in (typing.Union, UnionType)
    found = typing.get_args(annotation) if is_union else (annotation,)
    return any((typing.get_origin(each) or each) in _LISTS for each in found)


def _refuse_uncallable(step: Step, name: str) -> None:
    """Check that a function can be called with an answer, and keywords for all else."""
    parameters = list(inspect.signature(step).parameters.values())
    takes = (*POSITIONAL, inspect.Parameter.VAR_POSITIONAL)
    if not parameters or parameters[0].kind not in takes:
        raise TypeError(
            f"{name} could not be called: it has no parameter for the message; write "
            f"def {step.__name__}(message)"
        )
    if parameters[0].name in ("self", "cls") and parameters[0].kind in POSITIONAL:
        raise TypeError(
            f"{name} could not be called: it is a method without its object; pass the method of "
            "an object, or a function"
        )
    unnamed = [
        each.name
        for each in parameters[1:]
        if each.kind is inspect.Parameter.POSITIONAL_ONLY and each.default is each.empty
    ]
    if unnamed:
        raise TypeError(
            f"{name} could not be called: its parameter {unnamed[0]!r} takes no keyword; leave "
            "out the / behind it"
        )
