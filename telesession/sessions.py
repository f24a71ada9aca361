"""Sessions for handlers: lock, load, run, commit, release."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    overload,
)

from telesession.attachment import Attachment, Bot
from telesession.errors import LockTimeoutError, NoSessionKeyError, SessionError
from telesession.handlers import CallForm
from telesession.initial import Initial
from telesession.keys import by_chat, by_sender, key_fault
from telesession.options import (
    MakesFields,
    MakesInstance,
    Options,
    checked_key_function,
    checked_lifetime,
    checked_migrations,
    checked_name,
    checked_storage,
    checked_type,
    checked_version,
)
from telesession.record import Migration, Records
from telesession.session import (
    Session,
    State,
    forget,
    live_fields,
    open_session,
    seconds,
    settle_defaults,
)
from telesession.storage.memory import MemoryStorage
from telesession.typed import packed_fields

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from _typeshed import DataclassInstance

    from telesession.storage.base import Hold, Storage

D = TypeVar("D", bound="DataclassInstance")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
Owner = TypeVar("Owner")
U = TypeVar("U")
T = TypeVar("T", bound="_Update")
P = ParamSpec("P")
R = TypeVar("R")

_default_storage = MemoryStorage()
_log = logging.getLogger("telesession")


class _Update(Protocol):
    """What every update of telebot is and no session: how a method is told from a function."""

    @classmethod
    def de_json(cls, json_string: Any, /) -> Any: ...


class _Decorator(Protocol[S_co]):
    """What `with_session(...)` returns: it takes functions and methods, and the session away."""

    @overload
    def __call__(
        self, handler: Callable[Concatenate[Owner, T, S_co, P], R], /
    ) -> Callable[Concatenate[Owner, T, P], R]: ...

    @overload
    def __call__(
        self, handler: Callable[Concatenate[U, S_co, P], R], /
    ) -> Callable[Concatenate[U, P], R]: ...


class Sessions(Generic[S]):
    """
    Sessions of one kind: where they are, how they begin and how long they live.

    Configure it once, keep it for as long as the bot runs, and use it from any thread.

    Args:
        initial: What the fields of a new session are: a mapping (copied for each), a dataclass,
            or a callable that returns a mapping or an instance of a dataclass. A callable with a
            required argument gets the update; a class never does. Values may be `ttl(...)`.
        get_storage_key: From the update to the key of its session; `None` means that there is
            none. The sender's id by default.
        storage: Where the records are. By default one `MemoryStorage` for the whole process, so
            that handlers which name none see the same sessions.
        lifetime: Seconds or a `timedelta` that a session lives after its last use, counted anew
            by every handler; `None` keeps it for ever.
        name: The parameter of handlers that receives the session.
        prefix: Put before every key, so that bots and purposes can share a storage.
        lock_timeout: Seconds or a `timedelta` to wait for a busy session, 0 for not at all;
            `None` waits for ever. 60 s by default.
        commit_on_error: Whether to keep what a handler did before it raised an `Exception`.
        version: The version of the fields, 0 by default. A record of a newer version is a
            `DecodeError`: it is of a program that knows better.
        migrations: By the version that it leads to, a function for each step that older records
            have to take, in the order of the numbers, which may have gaps. It gets the fields as
            a plain `dict`, and changes it or returns another.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option has a value that makes no sense.
    """

    @overload
    def __init__(
        self: Sessions[Session],
        *,
        initial: MakesFields = ...,
        **options: Unpack[Options],
    ) -> None: ...

    @overload
    def __init__(
        self: Sessions[D],
        *,
        initial: MakesInstance[D],
        **options: Unpack[Options],
    ) -> None: ...

    def __init__(
        self,
        *,
        initial: Any = dict,
        get_storage_key: Callable[[Any], str | int | None] = by_sender,
        storage: Storage | None = None,
        lifetime: float | timedelta | None = None,
        name: str = "session",
        prefix: str = "",
        lock_timeout: float | timedelta | None = 60,
        commit_on_error: bool = False,
        version: int = 0,
        migrations: Mapping[int, Migration] | None = None,
    ) -> None:
        self._get_storage_key = checked_key_function(get_storage_key, "get_storage_key")
        self._storage = _default_storage if storage is None else checked_storage(storage)
        self._lifetime = checked_lifetime(lifetime)
        self._name = checked_name(name)
        self._prefix = checked_type("prefix", prefix, str)
        self._lock_timeout = None if lock_timeout is None else seconds(lock_timeout, "lock_timeout")
        self._commit_on_error = checked_type("commit_on_error", commit_on_error, bool)
        self._records = Records(
            self._storage.codec,
            persistent=self._storage.persistent,
            version=checked_version(version),
            migrations=checked_migrations(migrations or {}, version),
        )
        self._initial = Initial(initial, self._records.check)

    @overload
    def with_session(
        self, handler: Callable[Concatenate[Owner, T, S, P], R], /
    ) -> Callable[Concatenate[Owner, T, P], R]: ...

    @overload
    def with_session(
        self, handler: Callable[Concatenate[U, S, P], R], /
    ) -> Callable[Concatenate[U, P], R]: ...

    def with_session(self, handler: Callable[..., Any], /) -> Callable[..., Any]:
        """
        Decorate a blocking handler so that it gets its session.

        The handler either returns, and all its changes are saved, or raises, and none are. Until
        then nobody else has this session. Put it below telebot's decorator, which registers what
        it finds: `@bot.message_handler()` first, then `@sessions.with_session`.

        Returns:
            A function without the session parameter. The handler itself is its `__wrapped__`.

        Raises:
            TypeError: It is `async`, a generator, or has no parameter for the session.
        """
        call = CallForm(handler, self._name)
        update_position, session_position = call.update_position, call.session_position

        @functools.wraps(handler)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            given = len(args)
            update = args[update_position] if given > update_position else call.update_of(kwargs)
            with _Use(self, self._key_of(update), update) as session:
                if given == session_position and not kwargs:
                    return handler(*args, session)
                return handler(*call.place(session, args, kwargs), **kwargs)

        decorated: Any = wrapper
        # telebot looks at the signature to decide what to pass to a handler.
        decorated.__signature__ = call.published
        decorated.__telesession__ = self
        return wrapper

    def open(self, key: str | int, update: object = None) -> AbstractContextManager[S]:
        """
        The session of a key outside a handler, as a context manager, under the same rules.

        Leaving the `with` block saves the changes; an exception in it discards them. Inside a
        handler that has this very session, it is the handler's session, saved by the handler.

        Args:
            key: The storage key without the prefix, such as a user's id for `by_sender`.
            update: What an `initial` that wants the update gets.

        Raises:
            LockTimeoutError: On entering, when it stayed busy for `lock_timeout`.
        """
        return _Use(self, self._checked_key(key), update)

    def peek(self, key: str | int) -> dict[str, Any] | None:
        """
        The live fields of a session as they were last saved, or `None` if nothing is stored.

        Takes no lock, renews nothing, and creates nothing. Fields are plain data even where
        handlers get a dataclass.
        """
        return self._peek(self._checked_key(key))

    def delete(self, key: str | int) -> bool:
        """
        Delete a session once nobody uses it, and say whether it was stored.

        Inside a handler that has this very session it is `forget`: the handler's return does it.
        """
        full_key = self._checked_key(key)
        opened = self._opened(full_key)
        if opened is not None:
            forget(opened)
            return self._storage.has(full_key)
        self._settle(full_key, self._lock_timeout)
        with self._storage.hold(full_key, self._lock_timeout) as held:
            return held.delete()

    def move(self, old_key: str | int, new_key: str | int) -> bool:
        """
        Give a session another key, with its fields and their deadlines, once nobody uses either.

        It counts as a use: the `lifetime` begins anew. The session is written under the new key
        before it is deleted under the old one, so a crash between the two leaves both, and to
        repeat the move ends it.

        Returns:
            Whether the session is under the new key now. Where there was none under the old one,
            nothing happens.

        Raises:
            SessionError: There is another session under the new key, and neither was changed, or
                this is a handler that has one of the two.
        """
        old, new = self._checked_key(old_key), self._checked_key(new_key)
        if self._opened(old) is not None or self._opened(new) is not None:
            raise SessionError(
                f"could not move session {old!r} to {new!r}: the handler that does it has one of "
                "them; do it when that has returned"
            )
        for key in (old, new):
            self._settle(key, self._lock_timeout)
        if old == new:
            return self._storage.has(old)
        moved = self._transfer(old, new, self._lock_timeout)
        if moved is None:
            raise SessionError(_taken(old, new))
        return moved

    def attach(self, bot: Bot, *, follow_migrations: bool = False) -> None:
        """
        Give all handlers of a bot that have the session parameter their session, undecorated.

        That is every kind of handler, next steps and replies among them, whether registered
        before or later, with or without class middlewares. Handlers without the parameter stay as
        they are, and a decorated one keeps the session of its decorator. Attaching once more
        makes no difference; several `Sessions` can be attached under several names.

        Args:
            bot: A `TeleBot`, before it is started.
            follow_migrations: Whether the session of a group that becomes a supergroup moves
                with it to the new chat id, at once or, if a handler has it, when it is next used.
                What still comes from the old chat gets it, too, until the process ends. Only for
                `get_storage_key=by_chat`; what is kept for single members, topics, questions and
                telebot's states stays under the old id.

        Raises:
            TypeError: It is no `TeleBot`, or one of its handlers cannot have a session. Nothing
                was attached then.
            ValueError: The parameter's name is that of other sessions that are attached, or
                `follow_migrations` is for sessions of something else than chats.
        """
        if follow_migrations and self._get_storage_key is not by_chat:
            raise ValueError(
                "attach(follow_migrations=True) moves the sessions of chats: these need "
                "get_storage_key=by_chat"
            )
        Attachment.make(bot).add(self, follow_migrations=follow_migrations)

    def detach(self, bot: Bot) -> None:
        """
        Undo `attach`: the bot is what it was, but for handlers that run just now.

        Raises:
            ValueError: These sessions are not attached to the bot.
        """
        attachment = Attachment.of(bot)
        if attachment is None:
            raise ValueError(f"{self!r} is not attached to this bot, so it cannot be detached")
        attachment.remove(self)

    def keys(self) -> Iterator[str]:
        """Iterate over the keys of the stored sessions that have the prefix, without it."""
        for key in self._storage.keys(self._prefix):
            yield key[len(self._prefix) :]

    def __repr__(self) -> str:
        return f"<Sessions {self._prefix!r} in {self._storage!r}>"

    def _follow(self, old_key: str, new_key: str) -> None:
        """
        Let a session go on under another key: at once, or before it is used for the next time.

        Whoever tells the news does not wait for a handler that has it.
        """
        new = self._prefix + new_key
        self._storage._successions.add(self._prefix + old_key, new)
        with suppress(LockTimeoutError):
            self._settle(new, 0)

    def _settle(self, key: str, timeout: float | None) -> None:
        """Move to a key what is pending; if that fails, nobody may begin anew under it."""
        pending = self._storage._successions.pending
        old = pending.get(key)
        if old is None:
            return
        if self._transfer(old, key, timeout) is None:
            _log.error("a group became a supergroup, and we %s", _taken(old, key))
        pending.pop(key, None)

    def _transfer(self, old: str, new: str, timeout: float | None) -> bool | None:
        """
        Move what is there under a key to another one.

        Returns:
            Whether there was anything; `None` if there is something else under the new key.
        """
        # Two that move between the same keys take the locks in the same order.
        first, second = sorted((old, new))
        with (
            self._storage.hold(first, timeout) as one,
            self._storage.hold(second, timeout) as other,
        ):
            source, target = (one, other) if first == old else (other, one)
            payload = source.get()
            if payload is None:
                return False
            moved, there = self._records.rekey(payload, old, new), target.get()
            # What is there goes second: it may be damaged, and a codec trusts the first.
            if there is not None and not self._records.says_the_same(moved, there, new):
                return None
            target.set(moved, self._lifetime)
            target.flush()
            source.delete()
            return True

    def _opened(self, full_key: str) -> Session | None:
        """The session of a key, if this very thread has it open."""
        place = threading.get_ident(), full_key
        opened: Session | None = self._storage._process.opened.get(place)
        return opened

    def _peek(self, key: str) -> dict[str, Any] | None:
        payload, old = self._storage.get(key), self._storage._successions.pending.get(key)
        if payload is None and old is not None:
            key, payload = old, self._storage.get(old)
        return None if payload is None else self._records.load(payload, key, self._storage.now)[0]

    def _key_of(self, update: Any) -> str:
        try:
            key: str | int | None = self._get_storage_key(update)
        except Exception as error:
            raise SessionError(
                f"no session for this {type(update).__name__}: get_storage_key raised "
                f"{type(error).__name__}; let it return None for an update without a session"
            ) from error
        if not (isinstance(key, str) and key) and (fault := key_fault(key)):
            raise NoSessionKeyError(type(update).__name__, f"returned {fault}")
        return self._full_key(key)

    def _checked_key(self, key: str | int) -> str:
        if fault := key_fault(key):
            raise TypeError(f"the key of a session is a non-empty str or an int, not {fault}")
        return self._full_key(key)

    def _full_key(self, key: str | int | None) -> str:
        """The key in the storage, also of a session that goes on under another one."""
        full_key = f"{self._prefix}{key}"
        return self._storage._successions.heirs.get(full_key, full_key)


@overload
def with_session(
    handler: Callable[Concatenate[Owner, T, Session, P], R], /
) -> Callable[Concatenate[Owner, T, P], R]: ...


@overload
def with_session(
    handler: Callable[Concatenate[U, Session, P], R], /
) -> Callable[Concatenate[U, P], R]: ...


# A mapping fits the last overload too; that this one comes first is what makes it a Session.
@overload
def with_session(
    *,
    initial: MakesFields = ...,
    **options: Unpack[Options],
) -> _Decorator[Session]: ...


@overload
def with_session(*, initial: MakesInstance[D], **options: Unpack[Options]) -> _Decorator[D]: ...


def with_session(handler: Any = None, /, **options: Any) -> Any:
    """
    Decorate a blocking handler so that it gets the session of whoever sent the update.

    Bare (`@with_session`) or with the options of `Sessions`
    (`@with_session(initial=lambda: {"counter": 0})`). See `Sessions.with_session`.
    """
    sessions: Sessions[Any] = Sessions(**options)
    return sessions.with_session if handler is None else sessions.with_session(handler)


class _Use(State, Generic[S]):
    """
    One use of a session, from its lock to its release: the life of an update.

    Entered and left once. Where the thread has the session in use already, both uses are of the
    same fields, and the outermost commits.
    """

    _hold: AbstractContextManager[Hold]
    _held: Hold
    _opened: dict[tuple[int, str], Session]
    _place: tuple[int, str]
    _payload: bytes | None
    _session: Session

    def __init__(self, sessions: Sessions[S], key: str, update: object) -> None:
        self.key = key
        self._sessions = sessions
        self._update = update
        self._outer = False

    def __enter__(self) -> S:
        shown: S
        sessions = self._sessions
        self._opened = opened = sessions._storage._process.opened
        # Looked up in the module, where gevent may replace it at any time.
        self._place = place = threading.get_ident(), self.key
        if place in opened:
            self._session = opened[place]
            settle_defaults(self._session)
            shown = sessions._initial.show(self._session, self._update)
            return shown
        if self.key in sessions._storage._successions.pending:
            sessions._settle(self.key, sessions._lock_timeout)
        self._hold = sessions._storage.hold(self.key, sessions._lock_timeout)
        self._held = self._hold.__enter__()
        try:
            self._payload = payload = self._held.get()
            if payload is None:
                session = self._make()
            else:
                record = sessions._records.load(payload, self.key, self._held.now)
                session = open_session(*record, self)
            shown = sessions._initial.show(session, self._update)
        except BaseException:
            self._hold.__exit__(None, None, None)
            raise
        self._session = opened[place] = session
        self._outer = True
        return shown

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._outer:
            settle_defaults(self._session)
            return
        try:
            if (
                kind is None or (self._sessions._commit_on_error and issubclass(kind, Exception))
            ) and not self._held.is_inherited():
                self._commit()
        finally:
            self.closed = True
            del self._opened[self._place], self._session
            self._hold.__exit__(None, None, None)

    def _make(self) -> Session:
        """A new session, of fields that are nobody else's."""
        sessions = self._sessions
        fields = sessions._initial.make(self.key, self._update)
        session = open_session({}, {}, self)
        session.update(sessions._records.copy(fields, self.key))
        return session

    def save(self) -> None:
        """Write the session now, in the middle of its handler."""
        if self._held.is_inherited():
            raise SessionError(
                f"could not save session {self.key!r}: this process was forked while a handler had "
                "the session, which only the parent can write; use Sessions.open in the child, "
                "outside of the handler"
            )
        before = self._payload, self.marks
        try:
            self._commit()
            self._held.flush()
        except BaseException:
            # A handler that goes on all the same still has everything to write.
            self._payload, self.marks = before
            raise

    def _commit(self) -> None:
        """Bring the storage to what the session is: deleted, written, or merely touched."""
        session, lifetime = self._session, self._sessions._lifetime
        if self.views is None:
            fields = live_fields(session)
        else:
            settle_defaults(session)
            fields = packed_fields(session)
        if self.forgotten or not fields:
            if self._payload is not None:
                self._held.delete()
                self._payload = None
            return
        payload, marks = self._sessions._records.dump(
            session, fields, self._payload, self._held.now
        )
        if payload != self._payload:
            self._held.set(payload, lifetime)
            self._payload, self.marks = payload, marks
        elif lifetime is not None and not self._held.touch(lifetime):
            # The handler took longer than the session lives without one.
            self._held.set(payload, lifetime)


def _taken(old: str, new: str) -> str:
    return (
        f"could not move session {old!r} to {new!r}: there is one already; delete the one that "
        "shall go"
    )
