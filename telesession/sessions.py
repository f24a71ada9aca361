"""The sessions of a bot: their options, decorators for handlers, and work outside of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import itemgetter
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    overload,
)

from telesession.bot.attachable import Attachable
from telesession.bot.attachment import Attachment, Bot
from telesession.errors import SessionError
from telesession.handlers import decorate
from telesession.initial import Initial
from telesession.keys import by_sender
from telesession.kinds.declared import declare
from telesession.kinds.kind import Kind
from telesession.kinds.limited import LimitedKind
from telesession.moves import checked_form, note_move, target_is_taken
from telesession.options import (
    WORKERS,
    MakesFields,
    MakesInstance,
    OnError,
    OnUnreadable,
    Options,
    checked_key_function,
    checked_lifetime,
    checked_max_bytes,
    checked_migrations,
    checked_name,
    checked_on_event,
    checked_on_unreadable,
    checked_room,
    checked_storage,
    checked_type,
    checked_version,
    refuse_unnamed,
)
from telesession.record import Migration, RecordTranslator
from telesession.storage.memory import MemoryStorage
from telesession.ttl import seconds
from telesession.typed.views import Typed
from telesession.unit.blocks import Opening, locked
from telesession.unit.entry import Use
from telesession.unit.unit import Unit

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from _typeshed import DataclassInstance

    from telesession.session import Session
    from telesession.storage.base import Storage
    from telesession.unit.entry import Wanted
    from telesession.unit.events import OnEvent

D = TypeVar("D", bound="DataclassInstance")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
Owner = TypeVar("Owner")
U = TypeVar("U")
T = TypeVar("T", bound="_Update")
P = ParamSpec("P")
R = TypeVar("R")

default_storage = MemoryStorage()
"""The storage of all sessions without the option `storage`."""


class _Update(Protocol):
    """An update of telebot, by a method that no session has. It tells methods from functions."""

    @classmethod
    def de_json(cls, json_string: Any, /) -> Any: ...


class _Decorator(Protocol[S_co]):
    """The decorator of functions and methods that `with_session(...)` returns."""

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
    Sessions of one kind: their storage, their first fields and their lifetime.

    Configure it once, keep it for as long as the bot runs, and use it from any thread.

    Args:
        initial: The fields of a new session: a mapping (copied for each session), a dataclass,
            or a callable that returns a mapping or an instance of a dataclass. A callable with a
            required argument gets the update; a class never does. Values may be `ttl(...)`.
        get_storage_key: A function from an update to the key of its session; `None` means that the
            update has no session. The sender's id by default.
        storage: The storage of the records. By default one `MemoryStorage` for the whole process,
            so all handlers without this option see the same sessions.
        lifetime: Seconds or a `timedelta` that a session lives after its last use, counted anew
            by every handler; `None` keeps it for ever.
        name: The parameter of handlers that receives the session.
        prefix: Put before every key, so that bots and purposes can share a storage. Sessions with
            another `name` than `session` lie in a room of that name by default; others have no
            prefix. It must not begin with `@`, as rooms do.
        lock_timeout: Seconds or a `timedelta` to wait for a busy session, 0 for not at all;
            `None` waits for ever. 60 s by default.
        commit_on_error: Whether to keep the changes of a handler that raises an `Exception`.
        expires_after: Seconds or a `timedelta` that a session lives after it began, however often
            it is used; `None` sets no end. The record keeps the end. A record that was stored
            without one gets it at its next use.
        max_bytes: The size of the largest record that is written. A handler that leaves a larger
            one gets an `EncodeError`, which names the largest fields. `None` sets no limit.
        on_event: Called with a `UnitEvent` for each handler call and each block of `open`, once
            the locks are free. It gets the figures of all `Sessions` that have the same function.
            An exception that it raises is logged.
        on_unreadable: Called with the key and the `DecodeError` when a handler or a block opens a
            session whose record cannot be read. If it returns true, the record is set aside under
            a key that begins with `@set-aside:`, and the session begins anew; otherwise, and by
            default, the error is raised. `peek` and `items` do not call it.
        version: The version of the fields, 0 by default. A record of a newer version is a
            `DecodeError`, because a newer program wrote it.
        migrations: version -> the function that leads older fields to it. Older records pass
            through the missing steps in the order of the numbers, which may have gaps. A function
            gets the fields as a plain `dict`, and changes it or returns another `dict`.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option has an unusable value, or other `Sessions` have the same records as
            instances of an unrelated dataclass.
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
        *unnamed: Any,
        initial: Any = dict,
        get_storage_key: Callable[[Any], str | int | None] = by_sender,
        storage: Storage | None = None,
        lifetime: float | timedelta | None = None,
        name: str = "session",
        prefix: str | None = None,
        lock_timeout: float | timedelta | None = 60,
        commit_on_error: bool = False,
        expires_after: float | timedelta | None = None,
        max_bytes: int | None = None,
        on_event: OnEvent | None = None,
        on_unreadable: OnUnreadable | None = None,
        version: int = 0,
        migrations: Mapping[int, Migration] | None = None,
    ) -> None:
        refuse_unnamed("Sessions", unnamed)
        checked = checked_storage(default_storage if storage is None else storage)
        translator = RecordTranslator(
            checked.codec,
            persistent=checked.persistent,
            version=checked_version(version),
            migrations=checked_migrations(migrations or {}, version),
        )
        name = checked_name(name)
        room = checked_room(prefix, name)
        declare_there = partial(
            declare, storage=checked, room=room, is_default=checked is default_storage
        )
        make_typed = partial(
            Typed, check=translator.check, check_elsewhere=translator.check_elsewhere
        )
        end = checked_lifetime(expires_after, "expires_after", "None sets no end")
        limit = checked_max_bytes(max_bytes)
        make_kind: Callable[..., Kind] = Kind
        if end is not None or limit is not None:
            make_kind = partial(LimitedKind, expires_after=end, max_bytes=limit)
        self._kind = make_kind(
            Initial(initial, make_typed, declare_there),
            translator,
            get_storage_key=checked_key_function(get_storage_key, "get_storage_key"),
            storage=checked,
            name=name,
            room=room,
            lifetime=checked_lifetime(lifetime),
            lock_timeout=None if lock_timeout is None else seconds(lock_timeout, "lock_timeout"),
            commit_on_error=checked_type("commit_on_error", commit_on_error, bool),
            on_event=checked_on_event(on_event),
            on_unreadable=checked_on_unreadable(on_unreadable),
            older="" if prefix is None and room else None,
        )

    @overload
    def with_session(
        self, handler: Callable[Concatenate[Owner, T, S, P], R], /
    ) -> Callable[Concatenate[Owner, T, P], R]: ...

    @overload
    def with_session(
        self, handler: Callable[Concatenate[U, S, P], R], /
    ) -> Callable[Concatenate[U, P], R]: ...

    def with_session(self, handler: Any = None, /, **options: Any) -> Callable[..., Any]:
        """
        Decorate a blocking handler so that it gets its session.

        If the handler returns, all its changes are saved. If it raises, none are. Until then no
        other handler has this session. Put this decorator below telebot's decorator, which
        registers the function below it: `@bot.message_handler()` first, then
        `@sessions.with_session`.

        Two of these decorators directly above each other lock their sessions together, in the
        same order in all handlers. So such handlers cannot wait for each other in a circle.

        Returns:
            A function without the session parameter. The handler itself is its `__wrapped__`.

        Raises:
            TypeError: It is `async`, a generator, or has no parameter for the session.
        """
        if not isinstance(self, Sessions):
            raise TypeError(
                "Sessions.with_session needs an object; write sessions = Sessions(...), and "
                "@sessions.with_session above the handler"
            )
        if handler is None or options:
            raise TypeError(
                "write @sessions.with_session without parentheses; its options are those of "
                "sessions = Sessions(...)"
            )
        return decorate(handler, self._kind, self._kind.name)

    if not TYPE_CHECKING:

        def __call__(self, *_: object, **__: object) -> NoReturn:
            """Refuse `@sessions`. Type checkers refuse it, too, because they see no such method."""
            raise TypeError(
                "Sessions are no decorator and no function; write @sessions.with_session above a "
                "handler, and sessions.open(key) elsewhere"
            )

    @overload
    def open(
        self,
        key: str | int,
        /,
        *,
        update: object = ...,
        create: bool = ...,
        renew: bool = ...,
        independent: bool = ...,
    ) -> AbstractContextManager[S]: ...

    @overload
    def open(
        self,
        key: str | int,
        second: str | int,
        /,
        *,
        update: object = ...,
        create: bool = ...,
        renew: bool = ...,
        independent: bool = ...,
    ) -> AbstractContextManager[tuple[S, S]]: ...

    @overload
    def open(
        self,
        key: str | int,
        second: str | int,
        third: str | int,
        /,
        *more: str | int,
        update: object = ...,
        create: bool = ...,
        renew: bool = ...,
        independent: bool = ...,
    ) -> AbstractContextManager[tuple[S, ...]]: ...

    def open(
        self,
        key: str | int,
        /,
        *more: str | int,
        update: object = None,
        create: bool = True,
        renew: bool = True,
        independent: bool = False,
    ) -> AbstractContextManager[Any]:
        """
        The session of a key, or of several keys, as a context manager under the same rules.

        In a thread without a handler, leaving the `with` block saves the changes, and an exception
        in the block discards them. Inside a handler the block is part of the handler's
        transaction. Its changes are saved when the handler returns, and an exception in the block
        undoes the sessions that the block opened first. Their locks stay until the handler
        returns. A session that the handler has already is the same object.

        Args:
            key: The storage key without the prefix, such as a user's id for `by_sender`.
            more: Further keys. The sessions come as a tuple, in the order of the keys; their locks
                are taken in one order, the same in all processes.
            update: The update, if `initial` takes it.
            create: Whether a session that is not stored is made.
            renew: Whether a session without changes gets its whole `lifetime` again.
            independent: Whether the block is a transaction of its own, also inside a handler.
                Leaving the block saves its sessions and frees their locks. Use it in a loop over
                many sessions, and in a handler that does slow work afterwards.

        Raises:
            KeyError: On entering, with `create=False`, when there is no session.
            LockTimeoutError: On entering, when a session stayed busy for `lock_timeout`.
            DeadlockError: On entering, when handlers wait for each other's sessions in a circle.
            DecodeError: On entering, when a record cannot be read.
            EncodeError: At the end of the transaction, when a field would not come back; nothing
                was saved.
            LockLostError: At the end of the transaction, when a lock was lost.
            StorageError: The storage failed.
        """
        use = Use(create, renew, independent)
        if more:
            return Opening(self._wanted((key, *more)), update, use, tuple)
        return Opening(self._wanted((key,)), update, use, itemgetter(0))

    def open_all(
        self,
        keys: Iterable[str | int],
        /,
        *,
        update: object = None,
        create: bool = True,
        renew: bool = True,
        independent: bool = False,
    ) -> AbstractContextManager[list[S]]:
        """Like `open`, with any number of keys; the sessions come as a list in their order."""
        return Opening(self._wanted(keys), update, Use(create, renew, independent), list)

    def peek(self, key: str | int) -> S | None:
        """
        A session as it was last saved, to be read; `None` if nothing is stored.

        Takes no lock, renews nothing and creates nothing. The session is closed: a change of it
        raises `SessionClosedError`.

        Raises:
            DecodeError: The record cannot be read.
        """
        session: S | None = self._kind.read(self._kind.place_of_key(key))
        return session

    def delete(self, key: str | int) -> bool:
        """
        Delete a session once no other handler has it, and return whether it was stored.

        Inside a handler it is part of the handler's transaction: the return deletes the record.

        Raises:
            LockTimeoutError: The session stayed busy for `lock_timeout`.
        """
        return self._kind.delete(self._kind.place_of_key(key))

    def move(self, old_key: str | int, new_key: str | int) -> bool:
        """
        Give a session another key, with its fields and their deadlines, once it is free.

        It counts as a use: the `lifetime` begins anew. Both records are written together. Inside
        a handler the move is part of the handler's transaction.

        Returns:
            Whether the session is under the new key now. If there was none under the old key,
            nothing happens.

        Raises:
            DecodeError: One of the two records cannot be read; neither was changed.
            EncodeError: The record is larger than `max_bytes`, and stays where it is.
            LockTimeoutError: One of the two stayed busy for `lock_timeout`. Neither was changed.
            SessionError: There is another session under the new key, or the calling handler has
                one of the two. Neither was changed.
        """
        kind = self._kind
        old, new = kind.place_of_key(old_key), kind.place_of_key(new_key)
        if any(Unit.find(kind.storage, key) is not None for key in (old, new)):
            raise SessionError(
                f"could not move session {str(old_key)!r} to {str(new_key)!r}: the handler "
                "that moves it has one of them; move it after that handler has returned"
            )
        if old == new:
            return kind.storage.has(old)
        with locked((kind, old), (kind, new)) as (source, target):
            options = kind.translator, kind.lifetime, kind.check_size
            try:
                moved = note_move(source.hold, target.hold, *options)
            except SessionError as error:
                kind.translate_error(error)
                raise
            if moved is None:
                raise target_is_taken(old_key, new_key)
            return moved

    def attach(
        self,
        bot: Bot,
        *,
        follow_migrations: bool = False,
        sequential: bool = True,
        total_limit: int | None = None,
        on_error: OnError | None = None,
        drain: float | timedelta | None = 8,
        inbox: Storage | None = None,
    ) -> None:
        """
        Give all handlers of a bot that have the session parameter their session, undecorated.

        This includes every kind of handler, next steps and replies, registered before or later,
        with or without class middlewares. Handlers without the parameter stay as they are, and a
        decorated handler keeps the session of its decorator. A second call makes no difference.
        Several `Sessions` can be attached under several names.

        A bot with threads gets the workers of `use_sequential_workers`, with the key function of
        these sessions, unless it has workers already.

        Args:
            bot: A `TeleBot`, before it is started.
            follow_migrations: Whether the sessions of a group that becomes a supergroup move to
                the new chat id: those of the group, of its members and of its topics. Each moves
                at once or, if a handler has it, before its next use. Updates that still come from
                the old chat get the moved sessions, until the process ends. Questions and
                telebot's states stay under the old id.
            sequential: Whether a bot with threads gets workers.
            total_limit: See `use_sequential_workers`, also for the next three.
            on_error: Gets the exceptions of handlers.
            drain: Seconds or a `timedelta` for the waiting updates when the bot stops.
            inbox: The storage that keeps updates until they are handled.

        Raises:
            TypeError: It is no `TeleBot`, one of its handlers cannot have a session, or an option
                of the workers is of the wrong type. Nothing was attached then.
            ValueError: The parameter's name is that of other sessions that are attached,
                `follow_migrations` is for sessions with a key function of your own, or there are
                options for workers that the bot does not get. Nothing was attached then.
        """
        if follow_migrations:
            checked_form(self._kind.get_storage_key)
        given = {"total_limit": total_limit, "on_error": on_error, "drain": drain, "inbox": inbox}
        options = {name: value for name, value in given.items() if value is not WORKERS[name]}
        if options and not sequential:
            raise ValueError(
                f"attach(sequential=False) gives the bot no workers, so it has no use for "
                f"{', '.join(options)}"
            )
        attachment = Attachment.make(bot)
        attachable = Attachable(self, self._kind)
        is_new = attachment.add(attachable, follow_migrations=follow_migrations)
        if not sequential:
            return
        try:
            attachment.use_workers(attachable, **options)
        except BaseException:
            if is_new:
                attachment.remove(attachable)
            raise

    def detach(self, bot: Bot) -> None:
        """
        Undo `attach`: the handlers get no session any more. Running handlers are not changed.

        The bot keeps the workers that `attach` gave it, and the logger `telesession` says so.

        Raises:
            ValueError: These sessions are not attached to the bot.
        """
        attachment = Attachment.of(bot)
        if attachment is None:
            raise ValueError(f"{self!r} is not attached to this bot, so it cannot be detached")
        attachment.remove(Attachable(self, self._kind))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """
        Iterate over the keys of the stored sessions, as `open` takes them.

        Args:
            prefix: The beginning of the keys that are wanted; all by default.
        """
        return self._kind.keys(prefix)

    def items(self, prefix: str = "") -> Iterator[tuple[str, S]]:
        """
        Iterate over the keys of the stored sessions, each with its session as `peek` gives it.

        At most one session at a time is in memory. A session that is stored or deleted during the
        iteration may be left out.

        Args:
            prefix: The beginning of the keys that are wanted; all by default.

        Raises:
            ExceptionGroup: After the last session: the `DecodeError`s of all records that could
                not be read. The storage still has them.
        """
        return self._kind.items(prefix)

    def clear(self, prefix: str = "") -> int:
        """
        Delete stored sessions one after the other, each once no handler has it.

        Each deletion is a transaction of its own, also inside a handler, and is not undone if a
        later one fails. Sessions that are stored during the call may stay.

        Args:
            prefix: The beginning of the keys of the sessions to delete; all by default.

        Returns:
            The number of deleted sessions.

        Raises:
            LockTimeoutError: A session stayed busy; those before it are deleted.
            DeadlockError: The calling handler has one of the sessions.
        """
        return self._kind.clear(prefix)

    def __contains__(self, key: str | int) -> bool:
        """Whether a session is stored under a key."""
        return self._kind.has(self._kind.place_of_key(key))

    def __len__(self) -> int:
        """The number of stored sessions; it reads all their keys."""
        return sum(1 for _ in self._kind.places())

    def __bool__(self) -> bool:
        """Always true, also while no session is stored."""
        return True

    def __repr__(self) -> str:
        return f"<Sessions {self._kind.room!r} in {self._kind.storage!r}>"

    def _wanted(self, keys: Iterable[str | int]) -> list[Wanted]:
        kind = self._kind
        return [(kind, kind.place_of_key(key)) for key in keys]


def kind_of(sessions: Sessions[Any]) -> Kind:
    """The kind of sessions: their options, and the translations of keys and records."""
    return sessions._kind


def sessions_in_room(
    room: str, older: str | None = None, **options: Unpack[Options]
) -> Sessions[Session]:
    """
    Sessions in one of the library's own rooms, which no option `prefix` reaches.

    Args:
        room: The room.
        older: The beginning of the keys before there were rooms; `None` without a change.
        options: Those of `Sessions`.
    """
    # Under the usual name the constructor would note sessions without a room; see `Moves.rooms`.
    options["name"] = "record"
    sessions = Sessions(**options)
    kind = kind_of(sessions)
    kind.room, kind.older = room, older
    return sessions


@overload
def with_session(
    handler: Callable[Concatenate[Owner, T, Session, P], R], /
) -> Callable[Concatenate[Owner, T, P], R]: ...


@overload
def with_session(
    handler: Callable[Concatenate[U, Session, P], R], /
) -> Callable[Concatenate[U, P], R]: ...


# Before the next overload, because a mapping fits that one, too, and must give a Session.
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
    Decorate a blocking handler so that it gets the session of the sender of the update.

    Bare (`@with_session`) or with the options of `Sessions`
    (`@with_session(initial=lambda: {"counter": 0})`). See `Sessions.with_session`.
    """
    if isinstance(handler, Sessions):
        raise TypeError(
            "with_session takes no Sessions; write @sessions.with_session above the handler"
        )
    for option in options:
        if option not in (Sessions.__init__.__kwdefaults__ or ()):
            raise TypeError(
                f"with_session has no option {option!r}; filters of a handler belong to telebot's "
                "decorator above it, as in @bot.message_handler(commands=[...])"
            )
    sessions: Sessions[Any] = Sessions(**options)
    return sessions.with_session if handler is None else sessions.with_session(handler)
