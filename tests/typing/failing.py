"""
What mypy --strict and pyright (strict) must refuse: the lines that say `E:`, and no other.

Checked by test_typing.py, never run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telebot import TeleBot

from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    Storage,
    as_dict,
    forget,
    on_commit,
    save,
    session_key,
    set_lifetime,
    ttl,
    ttl_left,
    with_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telebot.types import CallbackQuery, Message


@dataclass
class Cart:
    items: list[str] = field(default_factory=list[str])
    code: str = ""
    count: int = 0


@dataclass
class Profile:
    name: str = ""
    age: int = 0


def new_cart(message: Message) -> Cart:
    return Cart(code=str(message.text))


carts = Sessions(initial=Cart)
profiles = Sessions(initial=Profile, name="profile")


# -- the session parameter has the wrong type


@with_session  # E: mypy, pyright
def bare_for_a_dataclass(message: Message, session: Cart) -> None: ...


@with_session()  # E: mypy, pyright
def called_for_a_dataclass(message: Message, session: Cart) -> None: ...


@with_session(initial=lambda: {"counter": 0})  # E: mypy, pyright
def mapping_for_a_dataclass(message: Message, session: Cart) -> None: ...


@with_session(initial=Cart)  # E: mypy, pyright
def dataclass_for_a_session(message: Message, session: Session) -> None: ...


@with_session(initial=Cart)  # E: mypy, pyright
def dataclass_for_another(message: Message, session: Profile) -> None: ...


@with_session(initial=new_cart)  # E: mypy, pyright
def function_for_another(message: Message, session: Profile) -> None: ...


@with_session(initial=lambda: Cart(count=1))  # E: mypy, pyright
def lambda_for_another(message: Message, session: Profile) -> None: ...


@carts.with_session  # E: mypy, pyright
def sessions_for_another(message: Message, session: Profile) -> None: ...


@with_session  # E: mypy, pyright
def text_for_a_session(message: Message, session: str) -> None: ...


@with_session  # E: mypy, pyright
def no_session(message: Message) -> None: ...


@carts.with_session  # E: mypy, pyright
def no_update() -> None: ...


# The lowest decorator gives the first session after the update: here the order is another.
@profiles.with_session  # E: mypy
@carts.with_session  # E: pyright
def other_order(message: Message, profile: Profile, session: Cart) -> None: ...


class Stand:
    @with_session  # E: mypy, pyright
    def bare_for_a_dataclass(self, message: Message, session: Cart) -> None: ...

    @with_session(initial=Cart)  # E: mypy, pyright
    def dataclass_for_a_session(self, message: Message, session: Session) -> None: ...

    @carts.with_session  # E: mypy, pyright
    def sessions_for_another(self, message: Message, session: Profile) -> None: ...

    @with_session  # E: mypy, pyright
    def no_session(self, message: Message) -> None: ...


# -- a field has the wrong type


@with_session(initial=Cart)
def set_fields(message: Message, session: Cart) -> None:
    session.code = ttl("1234", 300)
    session.code = 1234  # E: mypy, pyright
    session.code = ttl(1234, 300)  # E: mypy, pyright
    session.count = ttl("five")  # E: mypy, pyright
    session.items = ttl(["tea", 5])  # E: mypy, pyright
    session.cuont = 1  # E: mypy, pyright
    session.add("tea")  # E: mypy, pyright


lifetime_as_text = ttl("1234", "300")  # E: mypy, pyright
no_value = ttl(lifetime=300)  # E: mypy, pyright
number: int = ttl("1234", 300)  # E: mypy, pyright


# -- a decorated function is called in the wrong way


@with_session
def count(message: Message, session: Session) -> int:
    return len(session)


@with_session(initial=Cart)
def measure(message: Message, session: Cart, length: int, *, unit: str = "cm") -> str:
    return f"{length} {unit} {session.code}"


def call_functions(message: Message, query: CallbackQuery) -> None:
    count(message)
    count()  # E: mypy, pyright
    count(query)  # E: mypy, pyright
    count("text")  # E: mypy, pyright
    count(message, Session())  # E: mypy, pyright
    count(message, session=Session())  # E: mypy, pyright
    text: str = count(message)  # E: mypy, pyright
    measure(message, 3, unit=text)
    measure(message)  # E: mypy, pyright
    measure(message, "3")  # E: mypy, pyright
    measure(message, Cart(), 3)  # E: mypy, pyright
    measure(message, 3, unit=5)  # E: mypy, pyright
    measure(message, 3, units="cm")  # E: mypy, pyright
    measure(message, 3, "cm")  # E: mypy, pyright


# -- and so is a method


class Shop:
    @with_session
    def greet(self, message: Message, session: Session) -> str:
        return session_key(session)

    @carts.with_session
    def add(self, message: Message, session: Cart, item: str) -> int:
        session.items.append(item)
        return len(session.items)


def call_methods(shop: Shop, message: Message, query: CallbackQuery) -> None:
    shop.greet(message)
    shop.greet()  # E: mypy, pyright
    shop.greet(query)  # E: mypy, pyright
    shop.greet(message, Session())  # E: mypy, pyright
    Shop.greet(message)  # E: mypy, pyright
    added: int = shop.add(message, "tea")
    shop.add(message)  # E: mypy, pyright
    shop.add(message, added)  # E: mypy, pyright
    shop.add(message, Cart(), "tea")  # E: mypy, pyright
    refused: str = shop.add(message, "tea")  # E: mypy, pyright
    shop.add(message, refused)


# -- options


def two_updates(first: Message, second: Message) -> Cart:
    return Cart(code=f"{first.text}{second.text}")


Sessions(initail=Cart)  # E: mypy, pyright
Sessions(Cart)  # E: mypy, pyright
Sessions(initial=5)  # E: mypy, pyright
Sessions(initial=None)  # E: mypy, pyright
Sessions(initial=int)  # E: mypy, pyright
Sessions(initial=Cart())  # E: mypy, pyright
Sessions(initial=lambda: 5)  # E: mypy, pyright
Sessions(initial=two_updates)  # E: mypy, pyright
Sessions(initial=Cart, get_storage_key="id")  # E: mypy, pyright
Sessions(initial=Cart, get_storage_key=lambda _: 1.5)  # E: mypy, pyright
Sessions(initial=Cart, storage={})  # E: mypy, pyright
Sessions(initial=Cart, storage=MemoryStorage)  # E: mypy, pyright
Sessions(initial=Cart, lifetime="30")  # E: mypy, pyright
Sessions(initial=Cart, name=None)  # E: mypy, pyright
Sessions(initial=Cart, prefix=5)  # E: mypy, pyright
Sessions(initial=Cart, lock_timeout="60")  # E: mypy, pyright
Sessions(initial=Cart, commit_on_error="yes")  # E: mypy, pyright
Sessions(initial=Cart, expires_after="30")  # E: mypy, pyright
Sessions(initial=Cart, max_bytes=1.5)  # E: mypy, pyright
Sessions(initial=Cart, on_event=lambda: None)  # E: mypy, pyright
Sessions(initial=Cart, on_event=len)  # E: mypy, pyright
Sessions(initial=Cart, on_unreadable=lambda key: True)  # E: mypy, pyright
Sessions(initial=Cart, on_unreadable=lambda key, error: "yes")  # E: mypy, pyright
with_session(initail=dict)  # E: mypy, pyright
with_session({"counter": 0})  # E: mypy, pyright
with_session(lifetime="30")  # E: mypy, pyright
with_session(initial=5)  # E: mypy, pyright


with_session(Cart)  # E: mypy, pyright
with_session(new_cart)  # E: mypy, pyright
with_session(carts)  # E: mypy, pyright


@carts  # E: mypy, pyright
def below_the_sessions(message: Message, session: Cart) -> None: ...


@carts.with_session()  # E: mypy, pyright
def below_parentheses(message: Message, session: Cart) -> None: ...


@carts.with_session(name="session")  # E: mypy, pyright
def below_options(message: Message, session: Cart) -> None: ...


@Sessions.with_session  # E: mypy, pyright
def below_the_class(message: Message, session: Session) -> None: ...


# -- the functions on a session


def use_functions(session: Session) -> None:
    seconds: float = ttl_left(session, "code")  # E: mypy, pyright
    ttl_left(session, 5)  # E: mypy, pyright
    set_lifetime(session, "30")  # E: mypy, pyright
    set_lifetime(session)  # E: mypy, pyright
    key: int = session_key(session)  # E: mypy, pyright
    fields: Cart = as_dict(session)  # E: mypy, pyright
    saved: bool = save(session)  # E: mypy, pyright
    forgotten: bool = forget(session)  # E: mypy, pyright
    count(seconds, key, fields, saved, forgotten)  # E: mypy, pyright


# -- outside a handler

carts.open()  # E: mypy, pyright
carts.open(4.2)  # E: mypy, pyright
carts.peek(None)  # E: mypy, pyright
code_of_none = carts.peek(42).code  # E: mypy, pyright
carts.open(1, None)  # E: mypy, pyright
carts.open(1, update=2, creat=False)  # E: mypy, pyright
carts.open(1, create="no")  # E: mypy, pyright
carts.open(1, 2, renew=None)  # E: mypy, pyright
carts.open_all(1)  # E: mypy, pyright
carts.open_all([None])  # E: mypy, pyright
carts.open_all([1], independent="yes")  # E: mypy, pyright
carts.items(5)  # E: mypy, pyright
carts.keys(5)  # E: mypy, pyright
carts.clear(5)  # E: mypy, pyright
none_in = None in carts  # E: mypy, pyright
float_in = 4.2 in carts  # E: mypy, pyright
with carts.open(42) as cart:
    cart.code = 5  # E: mypy, pyright
    profile: Profile = cart  # E: mypy, pyright
with carts.open(1, 2) as (mine, theirs):
    theirs.code = 5  # E: mypy, pyright
with carts.open(1, 2) as (mine, theirs, third):  # E: mypy, pyright
    pass
with carts.open_all([1, 2]) as several:
    several.code = ""  # E: mypy, pyright
for key, peeked in carts.items():
    peeked.code = 5  # E: mypy, pyright
    number_of_key: int = key  # E: mypy, pyright


# -- functions that are called once the sessions are saved


def send(text: str, *, silent: bool = False) -> None:
    as_dict([text, silent])


on_commit(send, "saved", silent=True)
on_commit()  # E: mypy, pyright
on_commit("saved")  # E: mypy, pyright
on_commit(send)  # E: mypy, pyright
on_commit(send, 5)  # E: mypy, pyright
on_commit(send, "saved", silent="yes")  # E: mypy, pyright
on_commit(send, "saved", loud=True)  # E: mypy, pyright


# -- storages


class HalfStorage(Storage):
    def get(self, key: str) -> bytes | None:
        return None

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None: ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter(())


class TextStorage(HalfStorage):
    def get(self, key: str) -> str | None:  # E: mypy, pyright
        return None

    def delete(self, key: int) -> bool:  # E: mypy, pyright
        return bool(key)


HalfStorage()  # E: mypy, pyright
MemoryStorage({"42": "text"})  # E: mypy, pyright
MemoryStorage(codec=object())  # E: mypy, pyright


# -- telebot's own decorators are untyped, which strict checkers report; what is below them is not

bot = TeleBot("123456:offline")


@bot.message_handler()  # E: mypy, pyright
@with_session
def registered(message: Message, session: Session) -> None: ...


@bot.callback_query_handler(func=None)  # E: mypy, pyright
@with_session(initial=Cart)  # E: mypy, pyright
def registered_for_another(query: CallbackQuery, session: Profile) -> None: ...
