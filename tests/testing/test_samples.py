"""The samples are updates that telebot reads, and the acts of users are like them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from telebot import TeleBot, types, util

from telesession.testing import BotAPI, Group, User
from telesession.testing.sample_chats import (
    ANNA,
    BASIC_GROUP,
    BORIS,
    BOT,
    CHANNEL,
    CLARA,
    CONNECTION,
    DIRECT_MESSAGES,
    FORUM,
    GROUP,
    OTHER_CHANNEL,
    OTHER_GROUP,
    OWNER,
)
from telesession.testing.samples import SAMPLES, Sample
from telesession.testing.telegram import content

# Fields that Telegram still sends for old bots, and telebot reads no longer.
OLD_FIELDS = {
    "new_chat_participant",
    "new_chat_member",
    "left_chat_participant",
}
MESSAGES = [
    sample for sample in SAMPLES if "message_id" in sample.payload and "reaction" not in sample.kind
]

every_message = pytest.mark.parametrize("sample", MESSAGES, ids=lambda sample: sample.name)
every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


def sample_named(name: str) -> Sample:
    """The sample with a name."""
    [found] = [sample for sample in SAMPLES if sample.name == name]
    return found


class TestTable:
    def test_every_kind_of_update_has_a_sample(self) -> None:
        """The table has each kind of update of the installed telebot, and no other."""
        assert set(util.update_types) == {sample.kind for sample in SAMPLES}

    def test_names_are_unique(self) -> None:
        """No two samples share a name."""
        assert len(SAMPLES) == len({sample.name for sample in SAMPLES})

    @every_sample
    def test_telebot_reads_a_sample(self, sample: Sample) -> None:
        """telebot finds the payload of the sample in its field, and nothing in the others."""
        update = sample.parse()
        assert [sample.kind] == [kind for kind in util.update_types if getattr(update, kind)]

    @every_message
    def test_telebot_knows_every_field_of_a_message(self, sample: Sample) -> None:
        """Each field of a message is an attribute that telebot fills, except for `OLD_FIELDS`."""
        message = getattr(sample.parse(), sample.kind)
        lost = {name for name in sample.payload if getattr(message, name, None) is None}
        assert set() == lost - {"from"} - OLD_FIELDS


class TestUpdate:
    def test_update_ids_grow(self) -> None:
        """Each look at an update gives it the next id, so one sample can be pushed twice."""
        first, second = SAMPLES[0].update, SAMPLES[0].update
        assert first["update_id"] + 1 == second["update_id"]

    def test_updates_are_copies(self) -> None:
        """A change of an update leaves the sample as it was."""
        sample = sample_named("private message")
        former = copy.deepcopy(sample.payload)
        sample.update["message"]["chat"]["id"] = 7
        assert former == sample.payload

    def test_repr_shows_no_payload(self) -> None:
        """The name and the kind are enough to tell a sample."""
        expected = "Sample(name='private message', kind='message')"
        assert expected == repr(sample_named("private message"))

    def test_numbers_differ(self) -> None:
        """No two messages of one chat have one number, except for a message and its edit."""
        numbers = [
            (sample.payload["chat"]["id"], sample.payload["message_id"])
            for sample in MESSAGES
            if not sample.kind.startswith("edited_")
        ]
        assert len(numbers) == len(set(numbers))


def test_a_bot_gets_every_sample() -> None:
    """A bot that polls for every kind gets each sample once, in order."""
    with BotAPI() as api:
        bot = TeleBot("77:offline", threaded=False)
        with api.short_polls():
            bot.get_updates(allowed_updates=util.update_types)
            for sample in SAMPLES:
                api.push(sample.update)
            # Telegram gives up to 100 updates at once.
            first = bot.get_updates(allowed_updates=util.update_types)
            rest = bot.get_updates(first[-1].update_id + 1, allowed_updates=util.update_types)
    kinds = [
        next(kind for kind in util.update_types if getattr(update, kind))
        for update in (*first, *rest)
    ]
    assert [sample.kind for sample in SAMPLES] == kinds


class Stage:
    """
    A running Bot API with people and chats of the samples, and a bot.

    Args:
        api: The Bot API.
    """

    def __init__(self, api: BotAPI) -> None:
        self.api = api
        self.bot: Any = TeleBot(f"{BOT['id']}:offline", threaded=False)
        self.anna, self.boris, self.clara, self.owner = (
            api.user(person["id"], **{name: person[name] for name in person if name != "id"})
            for person in (ANNA, BORIS, CLARA, OWNER)
        )
        for chat in (GROUP, OTHER_GROUP, BASIC_GROUP):
            api.add_chat(chat)
        self.group = Group(GROUP["id"], api)
        self.other_group = Group(OTHER_GROUP["id"], api)
        self.basic_group = Group(BASIC_GROUP["id"], api)
        self.forum = api.group(FORUM["id"], title=FORUM["title"], forum=True)
        self.channel = api.channel(
            CHANNEL["id"], title=CHANNEL["title"], username=CHANNEL["username"]
        )
        self.other_channel = api.channel(OTHER_CHANNEL["id"], title=OTHER_CHANNEL["title"])
        self.direct = api.direct_messages(DIRECT_MESSAGES["id"], title=DIRECT_MESSAGES["title"])
        self.business = api.business_chat(self.clara, owner=self.owner, connection_id=CONNECTION)

    def owning_boris(self) -> User:
        """Boris as the owner of the group."""
        self.api.community.put_owner(self.group.id, self.boris.json)
        return self.boris

    def menu(self) -> types.Message:
        """A message of the bot with a button, in private with Anna."""
        markup = types.InlineKeyboardMarkup()
        markup.add(types.InlineKeyboardButton("Brew", callback_data="brew:sencha"))
        message: types.Message = self.bot.send_message(ANNA["id"], "tea?", reply_markup=markup)
        return message

    def say(self) -> types.Message:
        """A message of the bot in private with Anna."""
        message: types.Message = self.bot.send_message(ANNA["id"], "tea?")
        return message

    def upgraded(self) -> list[Any]:
        """The two updates about a group that becomes a supergroup."""
        self.api.group(OTHER_GROUP["id"], title=OTHER_GROUP["title"])
        self.boris.upgrade(self.basic_group, OTHER_GROUP["id"])
        return self.api.unconfirmed

    def offered(self) -> dict[str, Any]:
        """An inline query of Anna that the bot has answered with a result with a button."""
        query = self.anna.inline("sencha")
        markup = types.InlineKeyboardMarkup()
        markup.add(types.InlineKeyboardButton("Brew", callback_data="brew:sencha"))
        text = types.InputTextMessageContent("tea?")
        result = types.InlineQueryResultArticle("42", "Sencha", text, reply_markup=markup)
        self.bot.answer_inline_query(query["inline_query"]["id"], [result])
        return query

    def chosen(self) -> dict[str, Any]:
        """The message that Anna sends into a group by her choice."""
        self.anna.choose(self.offered(), "42", chat=self.group)
        message: dict[str, Any] = self.api.unconfirmed[-2]["message"]
        return message

    def invoice(self, payer: User, **options: Any) -> types.Message:
        """An invoice of the bot."""
        prices = [types.LabeledPrice("Tea", 250)]
        invoice: types.Message = self.bot.send_invoice(
            payer.id, "Tea", "A pot", "order", "", "XTR", prices, **options
        )
        return invoice

    def album(self) -> types.Message:
        """Paid media of the bot."""
        photo = types.InputPaidMediaPhoto("teapot.jpg")
        album: types.Message = self.bot.send_paid_media(CLARA["id"], 5, [photo])
        return album

    def pay(self, payer: User) -> Any:
        """A user presses the button of an invoice."""
        return payer.press(self.invoice(payer), "Pay 250 XTR")

    def asked(self) -> types.Message:
        """A poll of the bot in a group, with names."""
        options = [types.InputPollOption("sencha"), types.InputPollOption("assam")]
        poll: types.Message = self.bot.send_poll(GROUP["id"], "tea?", options, is_anonymous=False)
        return poll

    def paid(self, payer: User) -> Any:
        """The update about a payment, once the bot has agreed to it."""
        self.bot.answer_pre_checkout_query(self.pay(payer)["pre_checkout_query"]["id"], ok=True)
        return self.api.unconfirmed[-1]

    def topic_of(self, user: User) -> int:
        """The number of a topic that a user has made."""
        update = user.create_topic(self.forum, "Tea")
        return int(update["message"]["message_thread_id"])

    def joined(self, user: User) -> User:
        """A user who is a member of the group."""
        user.join(self.group)
        return user

    def blocked_by(self, user: User) -> User:
        """A user who has blocked the bot."""
        user.block()
        return user

    def added_by(self, user: User) -> User:
        """The owner of the group, who has added the bot, as a plain member."""
        user.add_bot(self.group, administrator=False)
        return user

    def banned(self, user: User) -> User:
        """A user whom the owner has banned from the group."""
        self.boris.ban(user, self.group)
        return user

    def promoted(self, user: User) -> User:
        """A user whom the owner has made an administrator of the group."""
        self.boris.promote(user, self.group)
        return user

    def boosted_by(self, user: User) -> User:
        """A user who boosts the channel."""
        user.boost(self.channel)
        return user


class Act(NamedTuple):
    """
    An act of a user that must give an update like a sample.

    Args:
        method: The method of `User`.
        sample: The name of the sample.
        act: Does it on a stage, and returns the update.
        differs: The path of a value that may be another one, or missing.
    """

    method: str
    sample: str
    act: Callable[[Stage], Any]
    differs: str = "nothing"


# The sample and the act differ in the user who has created the topic.
CREATOR = "message.reply_to_message.from"

ACTS = [
    Act("send", "private message", lambda stage: stage.anna.send("hi")),
    Act("send", "command", lambda stage: stage.anna.send("/start now")),
    Act("send", "message in a supergroup", lambda s: s.anna.send("hi", chat=s.group)),
    Act("send", "message in a basic group", lambda s: s.boris.send("hi", chat=s.basic_group)),
    Act("send", "message in a topic of a private chat", lambda s: s.anna.send("hi", topic=7)),
    Act(
        "send",
        "message in a forum topic",
        lambda s: s.anna.send("hi", chat=s.forum, topic=7),
        differs=CREATOR,
    ),
    Act("send", "message in the General topic", lambda s: s.anna.send("hi", chat=s.forum)),
    Act("send", "reply to a message of the bot", lambda s: s.anna.send("x", reply_to=s.say())),
    Act("send", "ephemeral command", lambda s: s.anna.send("/a", chat=s.group, ephemeral=True)),
    Act(
        "send",
        "anonymous admin of another group",
        lambda s: s.anna.anonymous_in(s.other_group).send("hi", chat=s.other_group),
    ),
    Act(
        "send",
        "anonymous admin in a forum topic",
        lambda s: s.anna.anonymous_in(s.forum).send("hi", chat=s.forum, topic=7),
        differs=CREATOR,
    ),
    Act("send", "direct message to a channel", lambda s: s.anna.send("hi", chat=s.direct)),
    Act("send", "business message of a customer", lambda s: s.clara.send("x", chat=s.business)),
    Act("send", "business message of the owner", lambda s: s.owner.send("hi", chat=s.business)),
    Act("send", "channel post", lambda stage: stage.channel.send("hi")),
    Act("photo", "photo in a channel", lambda stage: stage.channel.photo()),
    Act("photo", "photo in a private chat", lambda stage: stage.clara.photo("mine")),
    Act("photo", "photo without a caption", lambda stage: stage.anna.photo()),
    Act("album", "first photo of an album", lambda s: s.anna.album(caption="mine")[0]),
    Act("album", "second photo of an album", lambda s: s.anna.album(caption="mine")[1]),
    Act("document", "document", lambda stage: stage.anna.document()),
    Act("voice", "voice", lambda stage: stage.anna.voice()),
    Act("contact", "contact", lambda stage: stage.anna.contact()),
    Act("contact", "contact of another person", lambda s: s.anna.contact(person=s.clara)),
    Act("location", "location", lambda stage: stage.anna.location()),
    Act("checklist", "checklist", lambda stage: stage.anna.checklist("party", "tea", "milk")),
    Act("paid_media", "paid media", lambda stage: stage.anna.paid_media()),
    Act("suggest", "suggested post", lambda s: s.anna.suggest("tea", stars=5, chat=s.direct)),
    Act("share_users", "shared users", lambda s: s.anna.share_users(s.boris, s.clara)),
    Act(
        "share_users",
        "shared users with names",
        lambda s: s.anna.share_users(s.boris, s.clara, names=True),
    ),
    Act("share_chat", "shared chat", lambda s: s.anna.share_chat(s.group)),
    Act("share_chat", "shared chat with names", lambda s: s.anna.share_chat(s.group, names=True)),
    Act("web_app_data", "web app data", lambda stage: stage.anna.web_app_data("{}")),
    Act("send_content", "dice", lambda stage: stage.anna.send_content(content.dice())),
    Act("animation", "animation", lambda stage: stage.anna.animation()),
    Act("audio", "audio", lambda stage: stage.anna.audio()),
    Act("dice", "dice", lambda stage: stage.anna.dice()),
    Act("live_photo", "live photo", lambda stage: stage.anna.live_photo()),
    Act("poll", "poll in a message", lambda stage: stage.anna.poll("tea?", "sencha", "assam")),
    Act("sticker", "sticker", lambda stage: stage.anna.sticker()),
    Act("venue", "venue", lambda stage: stage.anna.venue()),
    Act("video", "video", lambda stage: stage.anna.video()),
    Act("video_note", "video note", lambda stage: stage.anna.video_note()),
    Act("forward", "forward of a channel post", lambda s: s.anna.forward(s.channel.photo())),
    Act("forward", "forward of a user", lambda s: s.anna.forward(s.clara.send("hi"))),
    Act(
        "forward",
        "forward of a hidden user",
        lambda s: s.anna.forward(s.clara.send("hi"), hidden=True),
    ),
    Act("vote", "poll answer of a user", lambda s: s.anna.vote(s.asked(), "sencha")),
    Act(
        "vote",
        "poll answer of a channel without a user",
        lambda s: s.anna.anonymous_in(s.group).vote(s.asked(), "sencha"),
    ),
    Act("pay", "pre-checkout query", lambda s: s.boris.pay(s.invoice(s.boris))),
    Act("pay", "shipping query", lambda s: s.anna.pay(s.invoice(s.anna, is_flexible=True))),
    Act(
        "buy",
        "purchased paid media",
        lambda s: s.clara.buy(s.album()),
        differs="purchased_paid_media.from_user",
    ),
    Act("summon", "guest bot summoned in a group", lambda s: s.anna.summon("tea", s.group)),
    Act(
        "request_to_join",
        "join request without a link",
        lambda s: s.clara.request_to_join(s.group, bio="tea"),
    ),
    Act("invite", "member joins", lambda s: s.boris.invite(s.group)),
    Act("invite", "member added by another", lambda s: s.boris.invite(s.group, s.clara)),
    Act("join", "member joins", lambda s: s.boris.join(s.group)),
    Act("join", "status of a joined member", lambda s: s.boris.join(s.channel)),
    Act("leave", "member leaves", lambda s: s.joined(s.boris).leave(s.group)),
    Act("ban", "member banned by another", lambda s: s.owning_boris().ban(s.anna, s.group)),
    Act(
        "ban",
        "member removed by another",
        lambda s: s.owning_boris().ban(s.joined(s.clara), s.group),
    ),
    Act(
        "promote",
        "member promoted by another",
        lambda s: s.owning_boris().promote(s.joined(s.anna), s.group),
    ),
    Act("block", "bot blocked by a user", lambda s: s.anna.block()),
    Act("unblock", "bot unblocked by a user", lambda s: s.blocked_by(s.anna).unblock()),
    Act(
        "add_bot",
        "bot added to a group",
        lambda s: s.boris.add_bot(s.group, administrator=False),
    ),
    Act(
        "remove_bot",
        "bot banned from a group",
        lambda s: s.added_by(s.owning_boris()).remove_bot(s.group),
    ),
    Act(
        "unban",
        "member unbanned by another",
        lambda s: s.owning_boris().unban(s.banned(s.anna), s.group),
    ),
    Act(
        "demote",
        "member demoted by another",
        lambda s: s.owning_boris().demote(s.promoted(s.anna), s.group),
    ),
    Act(
        "restrict",
        "member restricted by another",
        lambda s: s.owning_boris().restrict(s.joined(s.anna), s.group),
    ),
    Act(
        "pin",
        "pinned message",
        lambda s: s.owning_boris().pin(s.anna.send("hi", chat=s.group)),
    ),
    Act(
        "delete",
        "deleted business messages",
        lambda s: s.clara.delete(s.clara.send("hi", chat=s.business)),
    ),
    Act("create_topic", "forum topic created", lambda s: s.boris.create_topic(s.forum, "Tea")),
    Act(
        "close_topic",
        "forum topic closed",
        lambda s: s.boris.close_topic(s.forum, s.topic_of(s.boris)),
        differs="message.reply_to_message",
    ),
    Act("boost", "boost of a user", lambda s: s.anna.boost(s.channel)),
    Act("unboost", "removed boost of a user", lambda s: s.boosted_by(s.boris).unboost(s.channel)),
    Act("upgrade", "basic group becomes a supergroup", lambda s: s.upgraded()[0]),
    Act("upgrade", "supergroup made of a basic group", lambda s: s.upgraded()[1]),
    Act("edit", "edited private message", lambda s: s.anna.edit(s.anna.send("a"), "b")),
    Act(
        "edit",
        "edited business message",
        lambda s: s.clara.edit(s.clara.send("a", chat=s.business), "b"),
    ),
    Act(
        "edit",
        "edited channel post",
        lambda s: s.other_channel.edit(s.other_channel.send("a"), "b"),
    ),
    Act("press", "button in a private chat", lambda s: s.anna.press(s.menu(), "Brew")),
    Act("press", "button under an inline message", lambda s: s.anna.press(s.chosen(), "Brew")),
    Act("press", "pre-checkout query", lambda s: s.pay(s.boris)),
    Act("press", "successful payment", lambda s: s.paid(s.anna)),
    Act(
        "react",
        "reaction of a user",
        lambda s: s.anna.react(s.anna.send("hi", chat=s.group), "👍"),
    ),
    Act(
        "react",
        "reaction of an anonymous admin",
        lambda s: s.anna.anonymous_in(s.group).react(s.anna.send("hi", chat=s.group), "👍"),
    ),
    Act("react", "reaction count", lambda s: s.anna.react(s.channel.send("hi"), "🔥")),
    Act("inline", "inline query", lambda stage: stage.anna.inline("sencha")),
    Act("choose", "chosen inline result", lambda s: s.anna.choose(s.offered(), "42", chat=s.group)),
]

# Methods of `User` that push no update.
NO_ACTS = {"anonymous_in"}


def shape(tree: Any, path: str = "") -> set[str]:
    """The path and the JSON type of each value; the items of an array have one path."""
    if isinstance(tree, dict):
        below = [shape(value, f"{path}.{name}") for name, value in tree.items()]
        return {f"{path}: object"}.union(*below)
    if isinstance(tree, list):
        return {f"{path}: array"}.union(*(shape(item, f"{path}[]") for item in tree))
    return {f"{path}: {type(tree).__name__}"}


class TestActs:
    @pytest.fixture
    def stage(self, api: BotAPI) -> Stage:
        """The people and chats of the samples."""
        return Stage(api)

    @pytest.mark.parametrize("act", ACTS, ids=lambda act: f"{act.method}-{act.sample}")
    def test_an_act_is_like_its_sample(self, act: Act, stage: Stage) -> None:
        """The update of an act has the same fields as its sample, of the same types."""
        updates = sample_named(act.sample).update, act.act(stage)
        sampled, pushed = (
            {line for line in shape(update) if not line.startswith(f".{act.differs}")}
            for update in updates
        )
        assert sampled == pushed

    def test_every_act_has_a_sample(self) -> None:
        """Each method of `User` that pushes an update is compared with a sample."""
        methods = {
            name
            for name, _ in inspect.getmembers(User, inspect.isfunction)
            if not name.startswith("_")
        }
        assert methods - NO_ACTS == {act.method for act in ACTS}

    def test_shapes_differ(self) -> None:
        """Control: another type, a further field and a missing field are seen at any depth."""
        shapes = [shape({"a": [{"b": value}]}) for value in (1, 1.5, "1", True, [], {}, {"c": 1})]
        assert len(shapes) == len(set(map(frozenset, shapes)))
