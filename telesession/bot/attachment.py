"""Attachments: bots whose handlers get their sessions without a decorator."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, Self
from weakref import WeakValueDictionary

from telesession.bot.attachable import Attachable, LateStep, give_sessions, takes
from telesession.moves import migrated_chat
from telesession.options import is_async

_log = logging.getLogger("telesession")

# Where a bot keeps its attachment.
_ATTACHMENT = "_telesession_attachment"
_BACKENDS = ("next_step_backend", "reply_backend")


class Bot(Protocol):
    """A bot to attach sessions to: a `TeleBot`, and not an `AsyncTeleBot`."""

    next_step_backend: Any
    reply_backend: Any

    def process_new_updates(self, updates: list[Any], /) -> None:
        """Hand updates to the handlers."""
        ...

    def process_new_messages(self, messages: list[Any], /) -> None:
        """Hand messages to the handlers."""
        ...


class GiveWorkers(Protocol):
    """Gives a bot workers that handle the updates of one key in order, unless it has some."""

    def __call__(self, bot: Any, get_key: Callable[[Any], Any], **options: Any) -> bool:
        """
        Give them, and say whether the bot had none before.

        Args:
            bot: The bot.
            get_key: The key function of the sessions.
            options: Options of `use_sequential_workers` that the user gave to `attach`.
        """
        ...


class Attachment:
    """
    The sessions of one bot, which its handlers get by the names of their parameters.

    Every handler of telebot (4.37.1) passes one of a few public methods, replaced on the bot's
    instance: `add_*_handler`, through which decorators and `register_*` go; `get_handlers` of the
    backends, which gives the callbacks of next steps and replies when their message has arrived;
    `process_new_updates`, the way of all updates; and `process_new_messages`, which a program may
    call by itself, as telebot's webhook example does.

    A bot with `threaded=False` gets the updates of a batch one by one. By itself telebot drops the
    rest of a batch in which a handler raised, although the next poll confirms it.

    It lives from the first `attach` to the last `detach`. Attach before the bot is started.

    Attributes:
        give_workers: Given by the package, because this module imports no telebot.
    """

    give_workers: ClassVar[GiveWorkers]

    def __init__(self, bot: Any) -> None:
        self._bot = bot
        self._attached: list[Attachable] = []
        self._followers: list[Attachable] = []
        # `id(wrapper) -> (wrapper, original)`. Not an attribute of the wrapper, because
        # functools.wraps would copy that to other decorators around it.
        self._originals: dict[int, tuple[Any, Any]] = {}
        # The replaced attributes: object, name, new value, and the former value of the instance.
        self._patches: list[tuple[Any, str, Any, Any]] = []
        # The backends among the objects, which are checked for every batch of updates.
        self._backends: list[Any] = []
        self._mutex = threading.Lock()
        # By id, the messages whose groups were followed: each passes several methods.
        self._seen_messages: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._undo: list[Callable[[], None]] = []
        # The key function of the workers that attach gave the bot, if it did.
        self._key_of_workers: Callable[[Any], Any] | None = None

    @classmethod
    def of(cls, bot: Any) -> Self | None:
        """The attachment of a bot, if it has one."""
        found: Self | None = getattr(bot, "__dict__", {}).get(_ATTACHMENT)
        return found

    @classmethod
    def make(cls, bot: Any) -> Self:
        """The attachment of a bot, or a new one that has nothing attached yet."""
        _refuse_unfit(bot)
        return cls.of(bot) or cls(bot)

    @property
    def first(self) -> Any:
        """The sessions that were attached before all others."""
        return self._attached[0].sessions

    def add(self, sessions: Attachable, *, follow_migrations: bool) -> bool:
        """Attach sessions, and say whether they were not; once more makes no difference."""
        is_new = sessions not in self._attached
        if is_new:
            for other in self._attached:
                if other.name == sessions.name:
                    raise ValueError(
                        f"handlers of this bot get their {sessions.name!r} from {other!r}; "
                        "detach that first, or give these another name=..."
                    )
            is_first = not self._attached
            self._set([*self._attached, sessions])
            if is_first:
                self._install()
        if follow_migrations and sessions not in self._followers:
            self._followers.append(sessions)
        return is_new

    def use_workers(self, sessions: Attachable, **options: Any) -> None:
        """Give the bot workers, which it keeps, with the key function of the first sessions."""
        key, get_key = self._key_of_workers, sessions.kind.get_storage_key
        if type(self).give_workers(self._bot, get_key, **options):
            self._key_of_workers = get_key
        elif key is not None and key is not get_key:
            _log.warning(
                "sessions with the key function %s are attached to a bot whose workers keep the "
                "order by %s, so several updates of one such session wait for it in a worker each; "
                "use_sequential_workers(bot, get_key=...) before attach chooses another key",
                *(getattr(function, "__qualname__", function) for function in (get_key, key)),
            )

    def remove(self, sessions: Attachable) -> None:
        """Detach sessions. Without any sessions, the bot gets its own methods back."""
        if sessions not in self._attached:
            raise ValueError(f"{sessions!r} is not attached to this bot, so it cannot be detached")
        self._set([other for other in self._attached if other != sessions])
        self._followers = [other for other in self._followers if other != sessions]
        if not self._attached:
            self._leave()

    def when_it_ends(self, undo: Callable[[], None]) -> None:
        """Call a function when the last sessions are detached."""
        self._undo.append(undo)

    def decorate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with its sessions; the function itself if it takes none."""
        return give_sessions(function, self._attached)

    def _set(self, attached: list[Attachable]) -> None:
        handlers = [handler for kind in _kinds(self._bot) for handler in getattr(self._bot, kind)]
        # All of them first: one that cannot have a session must not leave half of them changed.
        originals = [self._unwrap(handler["function"]) for handler in handlers]
        functions = [give_sessions(original, attached) for original in originals]
        self._attached, self._originals = attached, {}
        for handler, function, original in zip(handlers, functions, originals, strict=True):
            self._put(handler, function, original)

    def _unwrap(self, function: Any) -> Any:
        return self._originals.get(id(function), (function, function))[1]

    def _put(self, handler: Any, function: Any, original: Any) -> None:
        if function is not original:
            self._originals[id(function)] = function, original
        handler["function"] = function

    def _install(self) -> None:
        bot = self._bot
        setattr(bot, _ATTACHMENT, self)
        for kind in _kinds(bot):
            self._replace(bot, _name_of_add_method(kind), self._wrap_add)
        self._replace(bot, "process_new_updates", self._wrap_process_updates)
        self._replace(bot, "process_new_messages", self._wrap_process_messages)
        self._replace_in_backends()

    def _wrap_add(self, add: Callable[[Any], None]) -> Callable[[Any], None]:
        def add_handler(handler_dict: Any) -> None:
            function = handler_dict["function"]
            self._put(handler_dict, self.decorate(function), function)
            add(handler_dict)

        return add_handler

    def _wrap_process_updates(self, process: Callable[[Any], None]) -> Callable[[Any], None]:
        def process_new_updates(updates: Any) -> None:
            self._hand_over(process, updates, (update.message for update in updates))

        return process_new_updates

    def _wrap_process_messages(self, process: Callable[[Any], None]) -> Callable[[Any], None]:
        def process_new_messages(messages: Any) -> None:
            self._hand_over(process, messages, messages)

        return process_new_messages

    def _hand_over(
        self, process: Callable[[Any], None], batch: Any, messages: Iterable[Any]
    ) -> None:
        """Hand over updates or messages, once the sessions know of all the messages among them."""
        if not self._attached:
            process(batch)
            return
        self._replace_in_backends()
        self.follow(messages)
        if len(batch) > 1 and not getattr(self._bot, "threaded", True):
            _one_by_one(self._bot, process, batch)
        else:
            process(batch)

    def _replace_in_backends(self) -> None:
        # Not only once: bot.enable_save_next_step_handlers() makes a new one.
        for name in _BACKENDS:
            backend = getattr(self._bot, name)
            if not self._is_known(backend):
                self._replace_getter(backend)

    def _is_known(self, backend: Any) -> bool:
        return any(backend is known for known in self._backends)

    def _replace_getter(self, backend: Any) -> None:
        # Threads of a web server may bring the first updates together.
        with self._mutex:
            if not self._is_known(backend):
                self._replace(backend, "get_handlers", self._wrap_get_handlers)
                # Only now, because a thread that finds it in the list goes on.
                self._backends.append(backend)

    def _wrap_get_handlers(self, get: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def get_handlers(handler_group_id: Any) -> Any:
            found = get(handler_group_id)
            return found and [self._with_sessions(handler) for handler in found]

        return get_handlers

    def _with_sessions(self, handler: Any) -> Any:
        """A next step or a reply handler, which telebot keeps with the arguments it was given."""
        callback = handler["callback"]
        if not any(takes(callback, sessions.name) for sessions in self._attached):
            return handler
        step = LateStep(self.decorate, callback)
        return type(handler)(step, *handler["args"], **handler["kwargs"])

    def follow(self, messages: Iterable[Any]) -> None:
        """
        Let sessions go with groups that became supergroups, before a handler looks for them.

        Args:
            messages: Messages. Updates of other kinds, and `None`, tell of no group.
        """
        if not self._followers:
            return
        for message in messages:
            chat = migrated_chat(message)
            if chat is None or self._seen_messages.get(id(message)) is message:
                continue
            self._seen_messages[id(message)] = message
            for sessions in self._followers:
                sessions.kind.follow_group(*chat)

    def _replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        before = vars(owner).get(name)
        now = make(getattr(owner, name))
        setattr(owner, name, now)
        self._patches.append((owner, name, now, before))

    def _leave(self) -> None:
        if self._key_of_workers is not None:
            _log.warning(
                "detached the sessions; the bot keeps the workers that attach gave it, which "
                "handle the updates of a user in order"
            )
        for undo in self._undo:
            undo()
        for owner, name, now, before in reversed(self._patches):
            # A later patch calls the replacement, which does nothing any more.
            if vars(owner).get(name) is now:
                if before is None:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)
        delattr(self._bot, _ATTACHMENT)


def _one_by_one(bot: Any, process: Callable[[Any], None], batch: list[Any]) -> None:
    """
    Hand over each update of a batch by itself, and raise the first exception after the last one.

    telebot has asked the bot's `exception_handler` about each exception of a handler before it
    raises it, so further ones are only logged.
    """
    first: Exception | None = None
    for update in batch:
        try:
            process([update])
        except Exception as error:  # noqa: BLE001 -- the others are handled all the same
            if first is None:
                first = error
            else:
                _log.exception("a handler raised, as another one did before it in the same batch")
            if _comes_again(bot, update):
                break
    try:
        if first is not None:
            raise first
    finally:
        # It refers to this frame.
        del first


def _comes_again(bot: Any, update: Any) -> bool:
    """
    Whether the next poll brings an update again, because a function middleware raised.

    telebot (4.37.1) notes the number of an update after the middlewares. To go on with later
    updates would confirm this one, which no handler has seen.
    """
    number: int | None = getattr(update, "update_id", None)
    return number is not None and number > bot.last_update_id


def _kinds(bot: Any) -> list[str]:
    """The names of the bot's lists of handlers: those with the three public methods of a kind."""
    return [
        name
        for name, value in vars(bot).items()
        if name.endswith("_handlers")
        and isinstance(value, list)
        and all(hasattr(bot, f"{prefix}{name[:-1]}") for prefix in ("", "add_", "register_"))
    ]


def _name_of_add_method(kind: str) -> str:
    return f"add_{kind[:-1]}"


def _refuse_unfit(bot: Any) -> None:
    needed = ("process_new_updates", "process_new_messages", "message_handlers", *_BACKENDS)
    lacking = [name for name in needed if not hasattr(bot, name)]
    if isinstance(bot, type) or lacking or is_async(bot.process_new_updates):
        name = bot.__name__ if isinstance(bot, type) else type(bot).__name__
        kind = f"the class {name}" if isinstance(bot, type) else f"an object of type {name}"
        raise TypeError(
            f"could not attach to {kind}: sessions are for a TeleBot, whose handlers block; pass "
            "the bot itself, such as bot = TeleBot(token)"
        )
