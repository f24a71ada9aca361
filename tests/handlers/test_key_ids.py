"""Keys that are made from ids, and ids that are read from keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from support.storages import SECRET
from support.updates import CASES, MADE_UP_USERS, UpdateCase, said
from telesession import (
    MemoryStorage,
    Sessions,
    by_chat,
    by_sender,
    by_sender_in_chat,
    by_sender_in_topic,
    by_topic,
    make_key,
    parse_key,
)
from telesession.keys import KeyIds

if TYPE_CHECKING:
    from collections.abc import Callable

# Column of the table -> the key function, and the ids that its keys have.
IN_CHAT = ("chat_id", "business_connection_id", "is_guest")
IN_TOPIC = (*IN_CHAT, "message_thread_id", "direct_messages_topic_id")
COLUMNS: dict[str, tuple[Callable[[Any], str | None], tuple[str, ...]]] = {
    "sender": (by_sender, ("user_id",)),
    "chat": (by_chat, IN_CHAT),
    "sender_in_chat": (by_sender_in_chat, (*IN_CHAT, "user_id")),
    "topic": (by_topic, IN_TOPIC),
    "sender_in_topic": (by_sender_in_topic, (*IN_TOPIC, "user_id")),
}
KEYED = [
    pytest.param(case, column, id=f"{case.name}-{column}")
    for case in CASES
    for column in COLUMNS
    if getattr(case, column) is not None
]


def ids_of(case: UpdateCase, column: str) -> dict[str, Any]:
    """The ids in the JSON of an update that belong to a key, by their names in the Bot API."""
    payload = case.update[case.kind]
    message = payload.get("message", payload)
    is_topic = message.get("is_topic_message") or case.kind == "stopped_message_generation"
    found = {
        "chat_id": message.get("chat", {}).get("id"),
        "user_id": None if case.sender is None else int(case.sender),
        "message_thread_id": message.get("message_thread_id") if is_topic else None,
        "direct_messages_topic_id": message.get("direct_messages_topic", {}).get("topic_id"),
        "business_connection_id": message.get("business_connection_id"),
        "is_guest": "guest_query_id" in message or None,
    }
    wanted = COLUMNS[column][1]
    return {name: found[name] for name in wanted if found[name] is not None}


@pytest.mark.parametrize(("case", "column"), KEYED)
def test_a_key_tells_the_ids_of_its_update(case: UpdateCase, column: str) -> None:
    """`parse_key` gives the ids that Telegram has sent, and no others."""
    assert KeyIds(**ids_of(case, column)) == parse_key(getattr(case, column))


@pytest.mark.parametrize(("case", "column"), KEYED)
def test_the_ids_of_an_update_make_its_key(case: UpdateCase, column: str) -> None:
    """`make_key` gives what the key function gives, except for chats with the bot as a guest."""
    function, ids = COLUMNS[column][0], ids_of(case, column)
    if ids.pop("is_guest", False):
        key = parse_key(getattr(case, column))
        assert (True, False) == (key.is_guest, make_key(function, **ids) == getattr(case, column))
    else:
        assert function(case.payload()) == make_key(function, **ids)


def test_the_table_has_every_id() -> None:
    """Control: each field of `KeyIds` is in an update of the table."""
    found = {name for case in CASES for column in COLUMNS for name in ids_of(case, column)}

    assert set(KeyIds._fields) == found


# Small ids meet each other, and large ones are none of the made-up users.
numbers = st.integers(-12, 12) | st.integers(10**10, 10**40)
topics = st.dictionaries(
    st.sampled_from(["message_thread_id", "direct_messages_topic_id"]), numbers, max_size=1
)
connections = st.none() | st.text("1-:@_guestbinoralc\n", min_size=1)


@given(st.sampled_from([*COLUMNS]), numbers, numbers, topics, connections)
def test_any_ids_come_back(
    column: str, chat: int, sender: int, topic: dict[str, int], connection: str | None
) -> None:
    """The ids that make a key can be read from it, with any name of a connection."""
    function, wanted = COLUMNS[column]
    drawn = {"chat_id": chat, "user_id": sender, "business_connection_id": connection, **topic}
    ids: dict[str, Any] = {name: drawn[name] for name in wanted if name in drawn}

    assert KeyIds(**ids) == parse_key(make_key(function, **ids))


def test_a_timer_finds_the_session_of_a_member() -> None:
    """The key opens the session that a handler of the member has, without an update."""
    sessions = Sessions(storage=MemoryStorage(), get_storage_key=by_sender_in_chat)
    message = said("hi", chat={"id": -5, "type": "group"}).message

    @sessions.with_session
    def count(_message: Any, session: Any) -> None:
        session.counter = 1

    count(message)
    key = make_key(by_sender_in_chat, chat_id=-5, user_id=message.from_user.id)

    assert {"counter": 1} == sessions.peek(key)


def test_a_key_that_was_listed_tells_where_to_write() -> None:
    """`Sessions.keys` gives keys that `parse_key` takes, in a room or with a prefix."""
    sessions = Sessions(storage=MemoryStorage(), name="cart", get_storage_key=by_topic)
    with sessions.open(make_key(by_topic, chat_id=-5, message_thread_id=7)) as cart:
        cart.items = ["tea"]

    assert [KeyIds(chat_id=-5, message_thread_id=7)] == list(map(parse_key, sessions.keys()))


@pytest.mark.parametrize(
    ("function", "ids", "reason"),
    [
        (by_sender, {}, "needs user_id"),
        (by_chat, {}, "needs chat_id"),
        (by_sender_in_topic, {"message_thread_id": 7}, "needs chat_id, user_id"),
        (by_sender, {"user_id": 1, "chat_id": -5}, "has no chat_id; it has user_id"),
        (by_sender, {"user_id": 1, "business_connection_id": "a"}, "no business_connection_id"),
        (by_chat, {"chat_id": -5, "user_id": 1}, "has no user_id"),
        (by_sender_in_chat, {"chat_id": -5, "user_id": 1, "message_thread_id": 7}, "has no mess"),
        (by_topic, {"chat_id": -5, "message_thread_id": 7, "user_id": 1}, "has no user_id"),
        (by_chat, {"chat_id": SECRET}, "chat_id must be an int, not str"),
        (by_chat, {"chat_id": True}, "chat_id must be an int, not bool"),
        (by_chat, {"chat_id": -5.0}, "chat_id must be an int, not float"),
        (by_topic, {"chat_id": -5, "message_thread_id": SECRET}, "must be an int, not str"),
        (by_chat, {"chat_id": 5, "business_connection_id": 7}, "a non-empty str, not int"),
        (by_chat, {"chat_id": 5, "business_connection_id": ""}, "a non-empty str, not empty"),
        (
            by_topic,
            {"chat_id": -5, "message_thread_id": 7, "direct_messages_topic_id": 8},
            "pass message_thread_id or direct_messages_topic_id, not both",
        ),
        (partial(by_chat), {"chat_id": -5}, "by_sender_in_topic, not those of partial"),
        (said, {"chat_id": -5}, "not those of said"),
        ("by_chat", {"chat_id": -5}, "not those of str"),
    ],
)
def test_ids_that_make_no_key_are_refused(function: Any, ids: dict[str, Any], reason: str) -> None:
    """A `TypeError` names the id or the function, and shows no value."""
    with pytest.raises(TypeError, match=reason) as refused:
        make_key(function, **ids)

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("user_id", MADE_UP_USERS)
@pytest.mark.parametrize("more", [{}, {"chat_id": -5}], ids=["sender", "sender_in_chat"])
def test_a_made_up_user_has_no_key(user_id: int, more: dict[str, int]) -> None:
    """Such a key would join unrelated senders: refused, and no ready-made function has made it."""
    function = by_sender_in_chat if more else by_sender
    with pytest.raises(ValueError, match="sender_chat"):
        make_key(function, user_id=user_id, **more)
    with pytest.raises(ValueError, match="none of those"):
        parse_key(f"sender_in_chat:-5:{user_id}" if more else str(user_id))


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        "-",
        "-0",
        "007",
        "+5",
        " 5",
        "5\n",
        "\N{ARABIC-INDIC DIGIT FIVE}",
        "chat:",
        "chat:5:",
        "chat:-05",
        "chat:5@",
        "chat:5@guests",
        "chat:5@business-",
        "@cart:chat:5",
        "sender_in_chat:5",
        "sender_in_chat:5:",
        "sender_in_chat:5:general",
        "topic:5",
        "topic:5:General",
        "topic:5:direct-",
        "topic:5:direct-general",
        "sender_in_topic:5:general",
        "sender_in_topic:5:5:",
        "sender_in_topic::5:5",
        f"chat:{SECRET}",
    ],
)
def test_other_keys_are_refused(text: str) -> None:
    """A text that no ready-made function makes is a `ValueError`, which does not show it."""
    with pytest.raises(ValueError, match=r"^this key is none of those that by_sender, ") as refused:
        parse_key(text)

    assert SECRET not in str(refused.value)


def test_a_key_that_is_no_text_is_refused() -> None:
    """`parse_key` takes the text of a key only."""
    number: Any = 42
    with pytest.raises(TypeError, match="takes a str, not int"):
        parse_key(number)
