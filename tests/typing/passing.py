"""What mypy --strict and pyright (strict) must accept. Checked by test_typing.py, never run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, assert_type

from cachetools import LRUCache, TTLCache
from telebot.handler_backends import ContinueHandling
from telebot.types import (
    BotSubscriptionUpdated,
    BusinessConnection,
    BusinessMessagesDeleted,
    CallbackQuery,
    ChatBoostRemoved,
    ChatBoostUpdated,
    ChatJoinRequest,
    ChatMemberUpdated,
    ChosenInlineResult,
    InlineQuery,
    ManagedBotUpdated,
    Message,
    MessageGenerationStopped,
    MessageReactionCountUpdated,
    MessageReactionUpdated,
    PaidMediaPurchased,
    Poll,
    PollAnswer,
    PreCheckoutQuery,
    ShippingQuery,
)

from telesession import (
    DecodeError,
    EncodeError,
    LockLostError,
    LockTimeoutError,
    MemoryStorage,
    NoSessionKeyError,
    PickleCodec,
    Session,
    SessionClosedError,
    SessionError,
    Sessions,
    Storage,
    StorageError,
    UnitEvent,
    as_dict,
    by_chat,
    by_sender,
    by_sender_in_chat,
    by_sender_in_topic,
    by_topic,
    forget,
    make_key,
    on_commit,
    parse_key,
    save,
    session_key,
    set_lifetime,
    ttl,
    ttl_left,
    with_session,
)

if TYPE_CHECKING:
    from telebot import TeleBot


AnyUpdate = (
    BotSubscriptionUpdated
    | BusinessConnection
    | BusinessMessagesDeleted
    | CallbackQuery
    | ChatBoostRemoved
    | ChatBoostUpdated
    | ChatJoinRequest
    | ChatMemberUpdated
    | ChosenInlineResult
    | InlineQuery
    | ManagedBotUpdated
    | Message
    | MessageGenerationStopped
    | MessageReactionCountUpdated
    | MessageReactionUpdated
    | PaidMediaPurchased
    | Poll
    | PollAnswer
    | PreCheckoutQuery
    | ShippingQuery
)


@dataclass
class Cart:
    items: list[str] = field(default_factory=list[str])
    code: str = ""
    count: int = 0
    size: float | None = None

    def add(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)


@dataclass
class Profile:
    name: str


class Answers(TypedDict):
    name: str


def new_cart(message: Message) -> Cart:
    return Cart(code=str(message.text))


def new_fields(update: Message | CallbackQuery) -> Mapping[str, Any]:
    return {"began_with": type(update).__name__}


def new_answers() -> Answers:
    return {"name": ttl("nobody", 30)}


carts = Sessions(initial=Cart)


# -- bare and called, and what a decorated function is


@with_session
def bare(message: Message, session: Session) -> None: ...


@with_session()
def called(message: Message, session: Session) -> int:
    return len(session)


@with_session(initial=lambda: {"counter": 0})
def configured(query: CallbackQuery, session: Session) -> ContinueHandling:
    return ContinueHandling()


@Sessions().with_session
def made_by_sessions(query: InlineQuery, session: Session) -> str:
    return session_key(session)


assert_type(bare, Callable[[Message], None])
assert_type(called, Callable[[Message], int])
assert_type(configured, Callable[[CallbackQuery], ContinueHandling])
assert_type(made_by_sessions, Callable[[InlineQuery], str])


# -- the session's type follows from initial


@with_session(initial=Cart)
def of_a_dataclass(message: Message, session: Cart) -> None: ...


@with_session(initial=new_cart)
def of_a_function_of_the_update(message: Message, session: Cart) -> None: ...


@with_session(initial=lambda: Cart(count=1))
def of_a_lambda(message: Message, session: Cart) -> None: ...


@with_session(initial=lambda message: Cart(code=message.text))
def of_a_lambda_of_the_update(message: Message, session: Cart) -> None: ...


@with_session(initial={"counter": 0, "log": []})
def of_a_mapping(message: Message, session: Session) -> None: ...


@with_session(initial=new_fields)
def of_a_function_that_returns_a_mapping(message: Message, session: Session) -> None: ...


@with_session(initial=lambda message: {"name": message.from_user.first_name})
def of_a_lambda_that_returns_a_mapping(message: Message, session: Session) -> None: ...


@with_session(initial=new_answers)
def of_a_typed_dict(message: Message, session: Session) -> None: ...


@carts.with_session
def of_sessions(message: Message, session: Cart) -> None: ...


@with_session
def of_a_wider_type(message: Message, session: Mapping[str, Any]) -> None: ...


assert_type(Sessions(), Sessions[Session])
assert_type(Sessions(initial=dict), Sessions[Session])
assert_type(Sessions(initial={}), Sessions[Session])
assert_type(Sessions(initial=lambda: {"code": ttl("1234", 300)}), Sessions[Session])
assert_type(Sessions(initial=new_fields), Sessions[Session])
assert_type(Sessions(initial=Cart), Sessions[Cart])
assert_type(Sessions(initial=new_cart), Sessions[Cart])
assert_type(Sessions(initial=lambda: Profile("Anna")), Sessions[Profile])
assert_type(Sessions(initial=lambda message: Profile(message.text)), Sessions[Profile])
assert_type(Sessions[Cart](initial=Cart), Sessions[Cart])
assert_type(of_a_lambda_of_the_update, Callable[[Message], None])
assert_type(of_a_typed_dict, Callable[[Message], None])


# -- everything else passes through


@with_session
def measure(message: Message, session: Session, length: int, *, unit: str = "cm") -> str:
    return f"{length} {unit}"


@with_session
def with_data(message: Message, session: Session, data: dict[str, Any]) -> int:
    return len(data)


@with_session()
def with_data_and_bot(
    message: Message, session: Session, data: dict[str, Any], bot: TeleBot
) -> int:
    return len(data)


@carts.with_session
def with_anything(message: Message, session: Cart, *args: Any, **kwargs: Any) -> int:
    return len(args) + len(kwargs)


@with_session(initial=Cart)
def with_two_kinds_of_updates(update: Message | CallbackQuery, session: Cart) -> int:
    return update.from_user.id if isinstance(update, CallbackQuery) else 0


@with_session
def with_a_default(message: Message, session: Session | None = None) -> bool:
    return session is None


@with_session
def by_position(message: Message, session: Session, /, **answers: str) -> int:
    return len(answers)


def pass_through(message: Message, query: CallbackQuery, bot: TeleBot) -> None:
    assert_type(measure(message, 3), str)
    assert_type(measure(message, 3, unit="inch"), str)
    assert_type(measure(message, length=3), str)
    assert_type(with_data(message, {}), int)
    assert_type(with_data_and_bot(message, data={}, bot=bot), int)
    assert_type(with_anything(message, 1, "two", three=3), int)
    assert_type(with_two_kinds_of_updates(message), int)
    assert_type(with_two_kinds_of_updates(query), int)
    assert_type(with_a_default(message), bool)
    assert_type(by_position(message, name="Anna"), int)


# -- several decorators: the lowest one gives the first session after the update

profiles = Sessions(initial=Profile, name="profile")
games = Sessions(name="game")


@profiles.with_session
@carts.with_session
def with_two_classes(message: Message, session: Cart, profile: Profile) -> int:
    return session.count + len(profile.name)


@carts.with_session
@games.with_session
def with_a_mapping(message: Message, game: Session, session: Cart, unit: str = "cm") -> int:
    return len(game) + session.count + len(unit)


@games.with_session
@with_session
def with_two_mappings(message: Message, session: Session, game: Session) -> int:
    return len(game) + len(session)


@games.with_session
@profiles.with_session
@carts.with_session
def with_three(message: Message, session: Cart, profile: Profile, game: Session) -> int:
    return session.count + len(profile.name) + len(game)


class Desk:
    @profiles.with_session
    @carts.with_session
    def order(self, message: Message, session: Cart, profile: Profile) -> int:
        return session.count + len(profile.name)


def pass_through_decorators(message: Message, desk: Desk) -> None:
    assert_type(with_two_classes(message), int)
    assert_type(with_a_mapping(message, "inch"), int)
    assert_type(with_two_mappings(message), int)
    assert_type(with_three(message), int)
    assert_type(desk.order(message), int)


# -- methods


class Shop:
    @with_session
    def greet(self, message: Message, session: Session) -> str:
        return session_key(session)

    @with_session(initial=Cart)
    def add(self, message: Message, session: Cart, item: str, *, count: int = 1) -> int:
        return session.add(item) * count

    @carts.with_session
    def list_items(self, update: Message | CallbackQuery, session: Cart) -> list[str]:
        return session.items

    @carts.with_session
    def take_data(self, message: Message, session: Cart, data: dict[str, Any]) -> int:
        return len(data)

    @carts.with_session
    def take_every_kind(self, update: AnyUpdate, session: Cart) -> int:
        return session.count

    @carts.with_session
    def take_any_update(self, update: Any, session: Cart, item: str) -> int:
        return session.add(item)

    @classmethod
    @with_session
    def make(cls, message: Message, session: Session) -> Shop:
        return cls()

    @staticmethod
    @with_session
    def close(message: Message, session: Session) -> None: ...


def call_methods(shop: Shop, message: Message) -> None:
    assert_type(shop.greet, Callable[[Message], str])
    assert_type(shop.greet(message), str)
    assert_type(Shop.greet(shop, message), str)
    assert_type(shop.add(message, "tea"), int)
    assert_type(shop.add(message, item="tea", count=2), int)
    assert_type(shop.list_items(message), list[str])
    assert_type(shop.take_data(message, {}), int)
    assert_type(shop.take_every_kind(message), int)
    add: Callable[[Message, str], int] = shop.take_any_update
    assert_type(add(message, "tea"), int)
    assert_type(Shop.make(message), Shop)
    assert_type(Shop.close, Callable[[Message], None])


# -- two sessions


@with_session(name="chat", get_storage_key=by_chat)
@with_session(initial=Cart, name="cart")
def two_sessions(message: Message, cart: Cart, chat: Session, hint: str = "") -> int:
    return cart.count


def call_with_two_sessions(message: Message) -> None:
    assert_type(two_sessions(message), int)
    assert_type(two_sessions(message, "hint"), int)


# -- fields


@with_session
def use_fields(message: Message, session: Session) -> None:
    assert_type(session.counter, Any)
    assert_type(session["counter"], Any)
    session.counter += 1
    session.log.append(message.text)
    session["log"] = []
    session["cart"]["apple"] += 1
    session.code = ttl("1234", 300)
    session.code = ttl("1234", timedelta(minutes=5))
    session.update({"a": 1}, b=2)
    del session.counter, session["log"]
    assert_type(list(session), list[str])
    assert_type(len(session), int)
    assert_type("counter" in session, bool)
    assert_type(session == {"counter": 1}, bool)
    assert_type({**session}, dict[str, Any])
    assert_type(dict(session), dict[str, Any])
    session.get("counter", 0)
    session.pop("counter", None)
    session.setdefault("counter", 0)
    session.clear()


@with_session(initial=Cart)
def use_typed_fields(message: Message, session: Cart) -> None:
    session.items = ["tea"]
    session.code = ttl("1234", 300)
    session.count = ttl(3)
    session.size = ttl(None, 30)
    session.size = ttl(2.5, lifetime=timedelta(seconds=1))
    set_lifetime(session, timedelta(days=30))
    set_lifetime(session, 0)
    set_lifetime(session, lifetime=None)
    assert_type(session.items, list[str])
    assert_type(session.add("milk"), int)
    assert_type(dataclasses.asdict(session), dict[str, Any])
    assert_type(session == Cart(), bool)


assert_type(ttl("1234", 300), str)
assert_type(ttl(Cart()), Cart)
by_hand = Session({"counter": 1}, log=[])
of_pairs = Session([("counter", 1)])


# -- the functions on a session, and keys


def use_functions(message: Message, session: Session, cart: Cart) -> None:
    assert_type(ttl_left(session, "code"), float | None)
    assert_type(ttl_left(cart, "code"), float | None)
    assert_type(as_dict(session), dict[str, Any])
    assert_type(as_dict(cart), dict[str, Any])
    assert_type(session_key(session), str)
    assert_type(session_key(cart), str)
    save(session)
    save(cart)
    forget(session)
    forget(cart)
    assert_type(by_sender(message), str | None)
    assert_type(by_chat(message), str | None)
    assert_type(by_sender_in_chat(message), str | None)
    assert_type(by_topic(message), str | None)
    assert_type(by_sender_in_topic(message), str | None)
    assert_type(make_key(by_chat, chat_id=message.chat.id), str)
    assert_type(parse_key("chat:1").chat_id, int | None)


# -- outside a handler


def use_sessions(message: Message) -> int:
    assert_type(carts.open(42), AbstractContextManager[Cart])
    with carts.open("42", update=message) as cart, Sessions().open(42) as session:
        assert_type(cart, Cart)
        assert_type(session, Session)
    assert_type(carts.delete("42"), bool)
    assert_type(carts.move(42, "43"), bool)
    with carts.open(42) as cart:
        return cart.count


def open_several(message: Message, users: list[int]) -> None:
    assert_type(carts.open(1, 2), AbstractContextManager[tuple[Cart, Cart]])
    with carts.open(1, "2") as (mine, theirs):
        assert_type(mine, Cart)
        assert_type(theirs, Cart)
    with carts.open(1, 2, 3) as carts_of_three:
        for cart in carts_of_three:
            assert_type(cart, Cart)
    assert_type(carts.open_all(users), AbstractContextManager[list[Cart]])
    with carts.open_all(str(user) for user in users) as carts_of_all:
        assert_type(carts_of_all, list[Cart])
    with Sessions().open(1, 2) as (first, second):
        assert_type(first, Session)
        assert_type(second.counter, Any)


def open_with_options(message: Message) -> None:
    with (
        carts.open(1, create=False) as cart,
        carts.open(1, 2, create=False, renew=False, independent=True, update=message) as both,
        carts.open_all([1, 2], create=False, renew=False, independent=True, update=message) as all_,
    ):
        assert_type(cart, Cart)
        assert_type(both, tuple[Cart, Cart])
        assert_type(all_, list[Cart])


def read_sessions() -> None:
    assert_type(carts.peek(42), Cart | None)
    assert_type(Sessions().peek(42), Session | None)
    assert_type(carts.keys(), Iterator[str])
    assert_type(carts.keys("4"), Iterator[str])
    assert_type(carts.items(prefix="4"), Iterator[tuple[str, Cart]])
    for key, cart in carts.items():
        assert_type(key, str)
        assert_type(cart.add("tea"), int)
    for name, session in Sessions().items():
        assert_type(name, str)
        assert_type(session.counter, Any)
    assert_type(42 in carts, bool)
    assert_type("42" in carts, bool)
    assert_type(len(carts), int)
    assert_type(bool(carts), bool)
    assert_type(carts.clear(), int)
    assert_type(carts.clear(prefix="4"), int)


@carts.with_session
def send_after_the_save(message: Message, session: Cart, bot: TeleBot) -> None:
    on_commit(bot.send_message, message.chat.id, "saved")
    on_commit(session.add, item="tea")
    on_commit(print)


def take_sessions(sessions: Sessions[Cart]) -> None:
    @sessions.with_session
    def handler(message: Message, session: Cart) -> str:
        return session.code

    assert_type(handler, Callable[[Message], str])


# -- options


def key_of_text(message: Message) -> int:
    return message.message_id


def take_figures(event: UnitEvent) -> None:
    assert_type(event.keys, tuple[str, ...])
    assert_type(event.handler, str | None)
    assert_type(event.waited + event.held, float)
    assert_type(event.loaded + event.saved, int)
    assert_type(event.changed, bool)
    assert_type(event.error, str | None)


def set_newer_aside(key: str, error: DecodeError) -> bool:
    return "version" in error.reason and key != "42"


events: list[UnitEvent] = []


every_option = Sessions(
    initial=Cart,
    get_storage_key=key_of_text,
    storage=MemoryStorage(),
    lifetime=timedelta(days=1),
    name="cart",
    prefix="shop:",
    lock_timeout=None,
    commit_on_error=True,
    expires_after=timedelta(days=30),
    max_bytes=65_536,
    on_event=take_figures,
    on_unreadable=set_newer_aside,
)
assert_type(every_option, Sessions[Cart])


@with_session(
    get_storage_key=lambda message: message.chat.id,
    storage=None,
    lifetime=2.5,
    name="session",
    prefix="",
    lock_timeout=timedelta(seconds=5),
    commit_on_error=False,
    expires_after=2.5,
    max_bytes=None,
    on_event=events.append,
    on_unreadable=lambda key, error: True,
)
def every_other_option(message: Message, session: Session) -> None: ...


@with_session(get_storage_key=lambda _: None, lifetime=None, lock_timeout=0)
def no_key(message: Message, session: Session) -> None: ...


# -- one of several dataclasses


@dataclass
class Basic:
    visits: int = 0


@dataclass
class Premium:
    visits: int = 0
    paid: str = ""


def make_account(message: Message) -> Basic | Premium:
    return Premium() if message.text else Basic()


accounts = Sessions(initial=make_account, name="account")
assert_type(accounts.peek(1), Basic | Premium | None)


@accounts.with_session
def visit(message: Message, account: Basic | Premium) -> str:
    account.visits += 1
    return account.paid if isinstance(account, Premium) else ""


# -- storages


class DictStorage(Storage):
    def __init__(self) -> None:
        self.payloads: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.payloads.get(key)

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self.payloads[key] = payload

    def delete(self, key: str) -> bool:
        return self.payloads.pop(key, None) is not None

    def touch(self, key: str, lifetime: float | None) -> bool:
        return key in self.payloads

    def keys(self, prefix: str = "") -> Iterator[str]:
        return (key for key in self.payloads if key.startswith(prefix))


assert_type(Sessions(storage=DictStorage()), Sessions[Session])
MemoryStorage({}, PickleCodec())
MemoryStorage(TTLCache(10_000, 3600, timer=lambda: time.monotonic()))  # noqa: PLW0108
MemoryStorage(LRUCache(64 * 2**20, getsizeof=len))


def use_storage() -> bytes | None:
    with DictStorage() as storage, storage.hold("42", 1.5) as held:
        assert_type(storage, DictStorage)
        assert_type(held.get(), bytes | None)
        assert_type(held.delete(), bool)
        return storage.get("42")


# -- errors


def use_errors() -> None:
    try:
        use_storage()
    except NoSessionKeyError as error:
        assert_type(error.update_type, str)
    except LockTimeoutError as error:
        assert_type(error.key, str)
        assert_type(error.seconds, float)
    except (SessionClosedError, LockLostError, DecodeError) as error:
        assert_type(error.key, str)
    except EncodeError as error:
        assert_type(error.path, str)
        assert_type(error.type_name, str)
    except StorageError as error:
        assert_type(error.key, str | None)
    except SessionError as error:
        assert_type(error.__cause__, BaseException | None)
