"""The key functions, over every kind of update that telebot hands to a handler."""

from __future__ import annotations

import inspect
import logging
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st
from telebot import TeleBot, types, util

from support.updates import (
    CASES,
    KEYS,
    MADE_UP_USERS,
    TOKEN,
    UpdateCase,
    decorate,
    handler_name,
    register,
)
from telesession import (
    by_chat,
    by_sender,
    by_sender_in_chat,
    by_sender_in_topic,
    by_topic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Chat = tuple[int, dict[str, Any]]
Sender = tuple[int, dict[str, Any], int]
Topic = tuple[int, dict[str, Any], dict[str, Any]]
Member = tuple[int, dict[str, Any], dict[str, Any], int]

STRANGER = 7741180352

KEY_FUNCTIONS = {
    "sender": by_sender,
    "chat": by_chat,
    "sender_in_chat": by_sender_in_chat,
    "topic": by_topic,
    "sender_in_topic": by_sender_in_topic,
}

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def expected_keys(case: UpdateCase) -> dict[str, str | None]:
    """The keys the table promises for an update, by the field that holds them."""
    return {field: getattr(case, field) for field in KEY_FUNCTIONS}


def actual_keys(update: Any) -> dict[str, str | None]:
    """The keys the key functions give for an update, by the same names."""
    return {field: key_function(update) for field, key_function in KEY_FUNCTIONS.items()}


def ids(tree: Any) -> Iterator[int]:
    """Every id of a user or a chat in an update; all other ids have longer names or are text."""
    if isinstance(tree, dict):
        if isinstance(tree.get("id"), int):
            yield tree["id"]
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from ids(branch)


def renumbered(tree: Any, new_ids: dict[int, int]) -> Any:
    """The same update with other users and chats in the place of some."""
    if isinstance(tree, dict):
        branches = {name: renumbered(branch, new_ids) for name, branch in tree.items()}
        if tree.get("id") in new_ids:
            branches["id"] = new_ids[tree["id"]]
        return branches
    return [renumbered(branch, new_ids) for branch in tree] if isinstance(tree, list) else tree


def with_other_ids(case: UpdateCase, new_ids: dict[int, int]) -> Any:
    """What a handler would get for the same update with other users and chats in it."""
    return replace(case, update=renumbered(case.update, new_ids)).payload()


@every_case
@pytest.mark.parametrize("add_handler", [decorate, register])
def test_a_handler_gets_an_object_with_exactly_the_expected_keys(
    case: UpdateCase, add_handler: Callable[..., None]
) -> None:
    """
    What telebot hands to a handler of each kind, however added, has the keys of the table.
    """
    bot = TeleBot(TOKEN, threaded=False)
    seen: list[dict[str, str | None]] = []

    add_handler(bot, case.kind, lambda update: seen.append(actual_keys(update)))
    bot.process_new_updates([case.parse()])

    assert [expected_keys(case)] == seen


def test_the_table_covers_every_kind_of_update() -> None:
    """
    The table has a row for each update kind of the installed telebot, and for no other.
    """
    fields = vars(types.Update.de_json({"update_id": 583920139})).keys() - {"update_id"}
    kinds = {case.kind for case in CASES}

    assert set(util.update_types) == kinds
    assert fields == kinds


def test_the_table_reaches_every_handler_decorator() -> None:
    """
    Each `*_handler` decorator that telebot offers takes one of the kinds in the table.
    """
    decorators = {
        name
        for name, method in inspect.getmembers(TeleBot, inspect.isfunction)
        if name.endswith("_handler")
        and not name.startswith(("_", "add_", "register_", "clear_"))
        and "handler" not in inspect.signature(method).parameters
    }

    assert decorators - {"middleware_handler"} == {handler_name(case.kind) for case in CASES}


def test_the_names_of_the_cases_are_unique() -> None:
    """
    No two rows of the table share a name or an update id, so that none hides another.
    """
    assert len(CASES) == len({case.name for case in CASES})
    assert len(CASES) == len({case.update["update_id"] for case in CASES})


def test_every_row_has_a_sample() -> None:
    """The table has keys for the samples and for nothing else."""
    assert {case.name for case in CASES} == KEYS.keys()


def test_keys_of_different_kinds_never_meet() -> None:
    """
    No key of one key function is a key of another, over every update in the table.
    """
    keys = [
        {key_function(case.payload()) for case in CASES} - {None}
        for key_function in KEY_FUNCTIONS.values()
    ]

    assert [set()] * 10 == [one & other for one, other in combinations(keys, 2)]


@pytest.mark.parametrize("made_up_user", MADE_UP_USERS)
def test_strangers_behind_a_made_up_user_do_not_share_a_key(made_up_user: int) -> None:
    """
    Chats that Telegram hides behind one made-up user have keys of their own, none of them its id.
    """
    hidden = [case for case in CASES if made_up_user in ids(case.update)]
    keys = {case.name: by_sender(case.payload()) for case in hidden}

    assert {case.name: case.sender for case in hidden} == keys
    assert len(set(keys.values())) > 1
    assert str(made_up_user) not in keys.values()


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.sender is not None], ids=lambda case: case.name
)
def test_an_update_of_a_stranger_gets_the_key_of_the_stranger(case: UpdateCase) -> None:
    """
    The same update from somebody else has somebody else's key, so two senders never share one.
    """
    assert str(STRANGER) == by_sender(with_other_ids(case, {int(case.sender or 0): STRANGER}))


@every_case
def test_the_sender_alone_decides_the_key(case: UpdateCase) -> None:
    """
    Everybody else in an update, made-up users included, may change without changing the key.
    """
    others = sorted(set(ids(case.update)) - {int(case.sender or 0)})
    new_ids = {other: STRANGER + place for place, other in enumerate(others)}

    assert case.sender == by_sender(with_other_ids(case, new_ids))


def test_a_customer_of_two_businesses_has_a_chat_with_each() -> None:
    """
    One customer is one sender, but the chats with two businesses have different keys.
    """
    with_one, with_other = (
        next(case.payload() for case in CASES if case.name == name)
        for name in (
            "business message of a customer",
            "business message of the customer to another business",
        )
    )

    assert by_sender(with_one) == by_sender(with_other)
    assert with_one.chat.id == with_other.chat.id
    assert {"chat", "sender_in_chat", "topic", "sender_in_topic"} == {
        field
        for field, key_function in KEY_FUNCTIONS.items()
        if key_function(with_one) != key_function(with_other)
    }


def test_topics_of_one_chat_do_not_share_a_key() -> None:
    """
    A forum's topics, its General topic and a direct-messages topic all have different keys.
    """
    chat = SimpleNamespace(id=-1001958302746)
    topics = [
        SimpleNamespace(chat=chat, is_topic_message=True, message_thread_id=217),
        SimpleNamespace(chat=chat, is_topic_message=True, message_thread_id=348),
        SimpleNamespace(
            chat=chat,
            message_thread_id=None,
            direct_messages_topic=SimpleNamespace(topic_id=217),
        ),
        SimpleNamespace(chat=chat, message_thread_id=None),
    ]

    assert len(topics) == len({by_topic(topic) for topic in topics})


@pytest.mark.parametrize("made_up", MADE_UP_USERS)
def test_a_made_up_user_without_its_chat_has_no_key(made_up: int) -> None:
    """
    Where Telegram sends only the user that stands in for others, there is nobody to key on.
    """
    update = SimpleNamespace(from_user=SimpleNamespace(id=made_up))

    assert None is by_sender(update)


def test_a_private_chat_of_a_guest_bot_has_no_key() -> None:
    """
    Two people who summon the bot in chats with a third one do not share that one's id as a key.
    """
    chat = SimpleNamespace(id=412587349, type="private")

    assert None is by_chat(SimpleNamespace(chat=chat, guest_query_id="5837261904"))


def test_an_update_without_anything_has_no_keys() -> None:
    """
    An object with none of Telegram's fields gets no key from any key function.
    """
    assert dict.fromkeys(KEY_FUNCTIONS) == actual_keys(object())


@every_case
def test_reading_the_keys_of_an_update_is_silent(
    case: UpdateCase, caplog: pytest.LogCaptureFixture
) -> None:
    """
    No key function touches a field whose use telebot warns about.
    """
    update = case.payload()
    with caplog.at_level(logging.DEBUG, logger="TeleBot"):
        actual_keys(update)

    assert not caplog.messages


numbers = st.integers(-12, 12) | st.integers()
# Hypothesis also draws numbers that the package has, such as these ids.
senders = numbers.filter(lambda sender: sender not in MADE_UP_USERS)
connections = st.text(alphabet="1-:@_guestbinoralc", min_size=1)
ways = (
    st.just({})
    | st.just({"guest_query_id": "1772048217994310567"})
    | st.builds(lambda connection: {"business_connection_id": connection}, connections)
)
topics = (
    st.just({})
    | st.builds(lambda thread: {"is_topic_message": True, "message_thread_id": thread}, numbers)
    | st.builds(lambda topic: {"direct_messages_topic": {"topic_id": topic}}, numbers)
)


def message_from(chat: int, sender: int, *fields: dict[str, Any]) -> types.Message:
    """A message with any ids, such as telebot hands to a handler."""
    everything: dict[str, Any] = {
        "message_id": 1,
        "date": 1766304000,
        "chat": {"id": chat, "type": "supergroup"},
        "from": {"id": sender, "is_bot": False, "first_name": "Anna"},
    }
    for some in fields:
        everything |= some
    return types.Message.de_json(everything)


@given(one=st.tuples(numbers, ways), other=st.tuples(numbers, ways))
def test_different_chats_have_different_keys(one: Chat, other: Chat) -> None:
    """
    Two messages have one `by_chat` key exactly when they come from one chat in one way.
    """
    keys = [by_chat(message_from(chat, 1, way)) for chat, way in (one, other)]

    assert (one == other) == (keys[0] == keys[1])


@given(one=st.tuples(numbers, ways, senders), other=st.tuples(numbers, ways, senders))
def test_different_senders_and_chats_have_different_keys(one: Sender, other: Sender) -> None:
    """
    Two messages have one `by_sender_in_chat` key exactly when chat and sender are the same.
    """
    keys = [by_sender_in_chat(message_from(chat, who, way)) for chat, way, who in (one, other)]

    assert (one == other) == (keys[0] == keys[1])


@given(one=st.tuples(numbers, ways, topics), other=st.tuples(numbers, ways, topics))
def test_different_topics_have_different_keys(one: Topic, other: Topic) -> None:
    """
    Two messages have one `by_topic` key exactly when chat and topic are the same.
    """
    keys = [by_topic(message_from(chat, 1, way, topic)) for chat, way, topic in (one, other)]

    assert (one == other) == (keys[0] == keys[1])


@given(
    one=st.tuples(numbers, ways, topics, senders), other=st.tuples(numbers, ways, topics, senders)
)
def test_different_senders_and_topics_have_different_keys(one: Member, other: Member) -> None:
    """
    Two messages have one `by_sender_in_topic` key exactly when chat, topic and sender are the same.
    """
    keys = [
        by_sender_in_topic(message_from(chat, who, way, topic))
        for chat, way, topic, who in (one, other)
    ]

    assert (one == other) == (keys[0] == keys[1])
