"""Texts with marks, and entities that Telegram finds by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from telebot import formatting, types, util

from support.clocks import examples
from telesession.testing import BotAPI, RefusedError, User
from telesession.testing.telegram.entities import detect, formatted, parse

# An entity in a table: its type, offset and length, and the fields of its type.
Row = tuple[Any, ...]


def row(entity: dict[str, Any]) -> Row:
    details = {name: value for name, value in entity.items() if name not in PLACE}
    return (*(entity[name] for name in PLACE), *([details] if details else ()))


PLACE = ("type", "offset", "length")


def rows(entities: list[dict[str, Any]]) -> list[Row]:
    return [row(entity) for entity in entities]


def parsed(text: str, mode: str) -> tuple[str, list[Row]]:
    plain, entities = parse(text, mode)
    return plain, rows(entities)


def find_user(user_id: int) -> dict[str, Any]:
    return {"id": user_id, "is_bot": False, "first_name": "Ada"}


def as_telebot(message: dict[str, Any]) -> list[types.MessageEntity]:
    return [types.MessageEntity.de_json(dict(entity)) for entity in message.get("entities", ())]


def refusal(text: str, mode: str) -> str:
    with pytest.raises(RefusedError) as refused:
        parse(text, mode)
    assert 400 == refused.value.code
    return refused.value.description.removeprefix("Bad Request: can't parse entities: ")


LINK = {"url": "http://example.com/"}

HTML = [
    ("<b>hi</b>", "hi", [("bold", 0, 2)]),
    ("<strong>hi</strong>", "hi", [("bold", 0, 2)]),
    ("<i>hi</i>", "hi", [("italic", 0, 2)]),
    ("<em>hi</em>", "hi", [("italic", 0, 2)]),
    ("<u>hi</u>", "hi", [("underline", 0, 2)]),
    ("<ins>hi</ins>", "hi", [("underline", 0, 2)]),
    ("<s>hi</s>", "hi", [("strikethrough", 0, 2)]),
    ("<strike>hi</strike>", "hi", [("strikethrough", 0, 2)]),
    ("<del>hi</del>", "hi", [("strikethrough", 0, 2)]),
    ('<span class="tg-spoiler">hi</span>', "hi", [("spoiler", 0, 2)]),
    ("<tg-spoiler>hi</tg-spoiler>", "hi", [("spoiler", 0, 2)]),
    ("<code>hi</code>", "hi", [("code", 0, 2)]),
    ('<code class="language-go">hi</code>', "hi", [("code", 0, 2)]),
    ("<pre>hi</pre>", "hi", [("pre", 0, 2)]),
    ("<pre><code>hi</code></pre>", "hi", [("pre", 0, 2)]),
    (
        '<pre><code class="language-go">hi</code></pre>',
        "hi",
        [("pre", 0, 2, {"language": "go"})],
    ),
    ("<blockquote>hi</blockquote>", "hi", [("blockquote", 0, 2)]),
    ("<blockquote expandable>hi</blockquote>", "hi", [("expandable_blockquote", 0, 2)]),
    ('<a href="http://example.com/">hi</a>', "hi", [("text_link", 0, 2, LINK)]),
    ("<a href = 'Example.com'>hi</a>", "hi", [("text_link", 0, 2, LINK)]),
    ("<a href=example.com>hi</a>", "hi", [("text_link", 0, 2, LINK)]),
    ("<a>example.com</a>", "example.com", [("text_link", 0, 11, LINK)]),
    ('<a href="tg://user?id=7">hi</a>', "hi", [("text_mention", 0, 2, {"user": {"id": 7}})]),
    (
        '<a href="tg://resolve?domain=x">hi</a>',
        "hi",
        [("text_link", 0, 2, {"url": "tg://resolve?domain=x"})],
    ),
    (
        '<a href="https://a.de/?x=1&amp;y=2 3">hi</a>',
        "hi",
        [("text_link", 0, 2, {"url": "https://a.de/?x=1&y=2%203"})],
    ),
    ('<a href="nowhere">hi</a>', "hi", []),
    ('<a href="javascript:x.y()">hi</a>', "hi", []),
    (
        '<tg-emoji emoji-id="536">👍</tg-emoji>',
        "👍",
        [("custom_emoji", 0, 2, {"custom_emoji_id": "536"})],
    ),
    (
        '<tg-time unix="1647531900" format="TDW">now</tg-time>',
        "now",
        [("date_time", 0, 3, {"unix_time": 1647531900, "date_time_format": "wDT"})],
    ),
    (
        '<tg-time unix="9" format="R">now</tg-time>',
        "now",
        [("date_time", 0, 3, {"unix_time": 9, "date_time_format": "r"})],
    ),
    ('<tg-time unix="soon">now</tg-time>', "now", []),
    ("<B>hi</b >!", "hi!", [("bold", 0, 2)]),
    ("&lt;&gt;&amp;&quot;&#33;&#x21;&#x1F600;", '<>&"!!😀', []),
    ("&nbsp;&lt &; &#0; &#99999999;", "&nbsp;< &; &#0; &#99999999;", []),
    ("<b>a</>b", "ab", [("bold", 0, 1)]),
    ("<b></b>hi", "hi", []),
    ("🎉 <b>é</b>", "🎉 é", [("bold", 3, 1)]),
]

MARKDOWN_V2 = [
    ("*hi*", "hi", [("bold", 0, 2)]),
    ("_hi_", "hi", [("italic", 0, 2)]),
    ("__hi__", "hi", [("underline", 0, 2)]),
    ("~hi~", "hi", [("strikethrough", 0, 2)]),
    ("||hi||", "hi", [("spoiler", 0, 2)]),
    ("`hi`", "hi", [("code", 0, 2)]),
    ("`a.b_c\\`\\\\`", "a.b_c`\\", [("code", 0, 7)]),
    ("```\nhi\n```", "hi", [("pre", 0, 2)]),
    ("```hi```", "hi", [("pre", 0, 2)]),
    ("```go\nhi\n```", "hi", [("pre", 0, 2, {"language": "go"})]),
    ("```go\r\nhi```", "hi", [("pre", 0, 2, {"language": "go"})]),
    ("[hi](http://example.com/)", "hi", [("text_link", 0, 2, LINK)]),
    ("[hi](example.com)", "hi", [("text_link", 0, 2, LINK)]),
    ("[example\\.com]", "example.com", [("text_link", 0, 11, LINK)]),
    ("[hi](a.de/\\)x)", "hi", [("text_link", 0, 2, {"url": "http://a.de/)x"})]),
    ("[hi](tg://user?id=7)", "hi", [("text_mention", 0, 2, {"user": {"id": 7}})]),
    ("[hi](nowhere)", "hi", []),
    ("![👍](tg://emoji?id=536)", "👍", [("custom_emoji", 0, 2, {"custom_emoji_id": "536"})]),
    (
        "![now](tg://time?unix=9&format=r)",
        "now",
        [("date_time", 0, 3, {"unix_time": 9, "date_time_format": "r"})],
    ),
    (">a\n>b\nc", "a\nb\nc", [("blockquote", 0, 4)]),
    ("a\n>b", "a\nb", [("blockquote", 2, 1)]),
    (">a\n>b||", "a\nb", [("expandable_blockquote", 0, 3)]),
    (">a||\nb", "a\nb", [("expandable_blockquote", 0, 2)]),
    (">a\n**>b||", "a\nb", [("blockquote", 0, 2), ("expandable_blockquote", 2, 1)]),
    (">||a||\nb", "a\nb", [("blockquote", 0, 2), ("spoiler", 0, 1)]),
    ("\\*\\_\\.\\a", "*_.a", []),
    ("\\é", "\\é", []),
    ("**hi", "hi", []),
    ("🎉 *é*", "🎉 é", [("bold", 3, 1)]),
]

MARKDOWN = [
    ("*hi*", "hi", [("bold", 0, 2)]),
    ("_hi_", "hi", [("italic", 0, 2)]),
    ("`hi`", "hi", [("code", 0, 2)]),
    ("```\nhi```", "hi", [("pre", 0, 2)]),
    ("```hi```", "hi", [("pre", 0, 2)]),
    ("```go\nhi```", "hi", [("pre", 0, 2, {"language": "go"})]),
    ("[hi](http://example.com/)", "hi", [("text_link", 0, 2, LINK)]),
    ("[example.com]", "example.com", [("text_link", 0, 11, LINK)]),
    ("[hi](tg://user?id=7)", "hi", [("text_mention", 0, 2, {"user": {"id": 7}})]),
    ("[hi](nowhere)!", "hi!", []),
    ("*a _b_*", "a _b_", [("bold", 0, 5)]),
    ("__hi__", "hi", []),
    ("\\_\\*\\`\\[\\.", "_*`[\\.", []),
    ("a.b! (c) > ~d~ ||e||", "a.b! (c) > ~d~ ||e||", []),
    ("🎉 *é*", "🎉 é", [("bold", 3, 1)]),
]

CASES = [
    *(("HTML", *case) for case in HTML),
    *(("MarkdownV2", *case) for case in MARKDOWN_V2),
    *(("Markdown", *case) for case in MARKDOWN),
]


@pytest.mark.parametrize(("mode", "text", "plain", "entities"), CASES)
def test_a_mark_makes_an_entity(mode: str, text: str, plain: str, entities: list[Row]) -> None:
    """A text with marks is a plain text with entities, whose places count UTF-16 code units."""
    assert (plain, entities) == parsed(text, mode)


@pytest.mark.parametrize("mode", ["html", "HTML", "Html"])
def test_the_name_of_a_parse_mode_may_be_in_any_case(mode: str) -> None:
    """The name of a parse mode is the same in capital and small letters."""
    assert ("hi", [("bold", 0, 2)]) == parsed("<b>hi</b>", mode)


def test_an_unknown_parse_mode_is_refused() -> None:
    """A parse mode that Telegram does not have is an error of its own."""
    assert "Bad Request: unsupported parse_mode" == refusal("hi", "BBCode")


UNESCAPED = "is reserved and must be escaped with the preceding '\\'"
NO_OBJECT = "The entity must contain a tg://emoji or tg://time URL"
BAD_OBJECT = "Invalid tg://emoji or tg://time URL specified"

REFUSALS = [
    ("HTML", "é <x>", 'Unsupported start tag "x" at byte offset 3'),
    ("HTML", "1 < 2", 'Unsupported start tag "" at byte offset 2'),
    ("HTML", "<br/>", 'Unsupported start tag "br/" at byte offset 0'),
    ("HTML", "<!-- a -->", 'Unsupported start tag "!--" at byte offset 0'),
    ("HTML", "<b", "Unclosed start tag at byte offset 0"),
    ("HTML", "<b x", 'Unclosed start tag "b" at byte offset 0'),
    ("HTML", '<a href="x>hi</a>', "Unclosed start tag at byte offset 0"),
    ("HTML", "<b =x>", 'Empty attribute name in the tag "b" at byte offset 0'),
    ("HTML", "<a href=x/y>hi</a>", "Unexpected end of name token at byte offset 8"),
    ("HTML", "<span>hi</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
    ("HTML", "hi</b>", "Unexpected end tag at byte offset 2"),
    ("HTML", "<b>hi</b", "Unclosed end tag at byte offset 5"),
    (
        "HTML",
        "<b><i>hi</b></i>",
        'Unmatched end tag at byte offset 8, expected "</i>", found "</b>"',
    ),
    ("HTML", "<b><i>hi</i>", 'Can\'t find end tag corresponding to start tag "b"'),
    ("HTML", "<tg-emoji>👍</tg-emoji>", "Invalid custom emoji identifier specified"),
    ("HTML", '<tg-time unix="9" format="x">a</tg-time>', "Invalid date format used"),
    (
        "HTML",
        "&#xD800;",
        (
            "Text contains invalid Unicode characters after decoding HTML entities, check for "
            "unmatched surrogate code units"
        ),
    ),
    *(("MarkdownV2", f"a{mark}", f"Character '{mark}' {UNESCAPED}") for mark in "])(>#+-=|{}.!"),
    ("MarkdownV2", "é*a", "Can't find end of Bold entity at byte offset 2"),
    ("MarkdownV2", "_a", "Can't find end of Italic entity at byte offset 0"),
    ("MarkdownV2", "__a_", "Can't find end of Italic entity at byte offset 3"),
    ("MarkdownV2", "__a", "Can't find end of Underline entity at byte offset 0"),
    ("MarkdownV2", "~a", "Can't find end of Strikethrough entity at byte offset 0"),
    ("MarkdownV2", "||a", "Can't find end of Spoiler entity at byte offset 0"),
    ("MarkdownV2", "`a", "Can't find end of Code entity at byte offset 0"),
    ("MarkdownV2", "```a", "Can't find end of Pre entity at byte offset 0"),
    ("MarkdownV2", "```go\na", "Can't find end of PreCode entity at byte offset 0"),
    ("MarkdownV2", "[a", "Can't find end of TextUrl entity at byte offset 0"),
    ("MarkdownV2", "![a", "Can't find end of CustomEmoji entity at byte offset 0"),
    ("MarkdownV2", "*a_b*c_", "Can't find end of Italic entity at byte offset 6"),
    ("MarkdownV2", "[a](b.de", "Can't find end of a URL at byte offset 4"),
    ("MarkdownV2", "![a]", NO_OBJECT),
    ("MarkdownV2", "![a](http://b.de)", BAD_OBJECT),
    ("MarkdownV2", "![a](tg://emoji?id=x)", BAD_OBJECT),
    ("MarkdownV2", "![a](tg://time?unix=9&format=x)", BAD_OBJECT),
    ("MarkdownV2", ">*a\nb*", "Can't find end of Bold entity at byte offset 1"),
    ("MarkdownV2", "*>a", "Can't find end of Bold entity at byte offset 0"),
    *(
        ("Markdown", f"é {mark}a", "Can't find end of the entity starting at byte offset 3")
        for mark in ("*", "_", "`", "```", "[")
    ),
]


@pytest.mark.parametrize(("mode", "text", "reason"), REFUSALS)
def test_broken_marks_are_refused(mode: str, text: str, reason: str) -> None:
    """Broken marks are an error that names the reason, and the place in bytes of UTF-8."""
    assert reason == refusal(text, mode)


NESTED = [
    # A style is cut where another style begins.
    ("<b>a <i>b</i> c</b>", [("bold", 0, 2), ("bold", 2, 3), ("italic", 2, 1)]),
    ("<b><i>a</i></b>", [("bold", 0, 1), ("italic", 0, 1)]),
    ("<i><b>a</b></i>", [("bold", 0, 1), ("italic", 0, 1)]),
    # Equal styles that touch each other are one.
    ("<b>a</b><b>b</b>", [("bold", 0, 2)]),
    ("<b>a<b>b</b></b>", [("bold", 0, 2)]),
    # Code has no style, and a style is cut around it.
    ("<b>a<code>b</code>c</b>", [("bold", 0, 1), ("code", 1, 1), ("bold", 2, 1)]),
    ("<code>a<b>b</b></code>", [("code", 0, 2)]),
    # A link has styles, but contains no code, emoji or other link.
    ('<a href="example.com">a<b>b</b></a>', [("text_link", 0, 2, LINK), ("bold", 1, 1)]),
    (
        '<b>a<a href="example.com">b</a></b>',
        [("bold", 0, 1), ("text_link", 1, 1, LINK), ("bold", 1, 1)],
    ),
    ('<a href="example.com">a<code>b</code></a>', [("text_link", 0, 2, LINK)]),
    # A quote contains everything but a quote.
    (
        "<blockquote>a<code>b</code><b>c</b></blockquote>",
        [("blockquote", 0, 3), ("code", 1, 1), ("bold", 2, 1)],
    ),
    ("<blockquote>a<blockquote>b</blockquote></blockquote>", [("blockquote", 0, 2)]),
    ('<a href="example.com">a<blockquote>b</blockquote></a>', [("blockquote", 1, 1)]),
]


@pytest.mark.parametrize(("text", "entities"), NESTED)
def test_entities_lie_in_each_other_as_telegram_allows(text: str, entities: list[Row]) -> None:
    """Entities are sorted, and none of them crosses the border of another one."""
    assert entities == parsed(text, "HTML")[1]


TRIMMED = [
    (" \n hi \n ", "hi", []),
    (" hi <b> you \n</b> ", "hi  you", [("bold", 3, 4)]),
    ("hi<b> </b>", "hi", []),
    ("<b> hi</b>", " hi", [("bold", 0, 3)]),
    ("a\tb\r\n<b>c</b>", "a b\nc", [("bold", 4, 1)]),
    ("\u202ea<b>\u2028b</b>", "ab", [("bold", 1, 1)]),
]


@pytest.mark.parametrize(("text", "plain", "entities"), TRIMMED)
def test_a_text_is_cleaned(text: str, plain: str, entities: list[Row]) -> None:
    """Spaces around a text and control characters go; entities keep their words."""
    assert (plain, entities) == parsed(text, "HTML")


FOUND = [
    ("/start now", [("bot_command", "/start")]),
    ("/start@test_bot", [("bot_command", "/start@test_bot")]),
    ("/start@x a/b //c </d> 1 / 2", []),
    ("hi @ada_lovelace, @gif", [("mention", "@ada_lovelace"), ("mention", "@gif")]),
    ("@ada me@ada_l @é @" + 33 * "a", []),
    ("#tea, #чай_2", [("hashtag", "#tea"), ("hashtag", "#чай_2")]),
    ("#tea@house", [("hashtag", "#tea@house")]),
    ("#1 a#b #c#d", []),
    ("$TON and $1INCH", [("cashtag", "$TON"), ("cashtag", "$1INCH")]),
    ("$ton US$USD $ABCDEFGHI $5", []),
    ("mail ada@example.com!", [("email", "ada@example.com")]),
    ("mailto:a.b+c@mail.example.com.", [("email", "a.b+c@mail.example.com")]),
    ("ada@localhost @example.com", [("mention", "@example")]),
    (
        "+12125550123 or +1 (212) 555-0123",
        [
            ("phone_number", "+12125550123"),
            ("phone_number", "+1 (212) 555-0123"),
        ],
    ),
    ("1+12125550123 +1212", []),
    ("see https://example.com/a?b=c#d.", [("url", "https://example.com/a?b=c#d")]),
    ("(example.com/a_(b))", [("url", "example.com/a_(b)")]),
    ("Example.COM, www.t.me", [("url", "Example.COM"), ("url", "www.t.me")]),
    ("example.com:8080/ example.com:0", [("url", "example.com:8080/"), ("url", "example.com")]),
    ("example.com? example.com/?", [("url", "example.com"), ("url", "example.com/")]),
    ("http://a:b@example.com", [("url", "http://a:b@example.com")]),
    ("http://intra.net.local", [("url", "http://intra.net.local")]),
    ("http://localhost/ foo://example.com", []),
    ("почта.рф xn--80a.xn--p1ai", [("url", "почта.рф"), ("url", "xn--80a.xn--p1ai")]),
    ("127.0.0.1/x 1.2.3 256.1.1.1", [("url", "127.0.0.1/x")]),
    ("the end.To begin, file.txt a..com a-.com a_b.com x.c", []),
    (
        "tg://resolve?domain=ada, ton://x",
        [
            ("url", "tg://resolve?domain=ada"),
            ("url", "ton://x"),
        ],
    ),
    ("https://example.com/#tea/@ada_l", [("url", "https://example.com/#tea/@ada_l")]),
    ("🎉 /a 🎉 #b", [("bot_command", "/a"), ("hashtag", "#b")]),
    ("", []),
]


@pytest.mark.parametrize(("text", "found"), FOUND)
def test_telegram_finds_entities_in_any_text(text: str, found: list[tuple[str, str]]) -> None:
    """Commands, mentions, tags, links, addresses and numbers are entities without any mark."""
    entities = as_telebot({"entities": detect(text)})
    assert found == [(entity.type, util.extract_entity(text, entity)) for entity in entities]


class TestFormatted:
    def test_the_text_of_a_call_is_parsed(self) -> None:
        """A call with a parse mode gives the plain text and its entities."""
        call = {"text": "<b>hi</b> /start", "parse_mode": "HTML"}
        message = formatted(call, find_user)
        assert "hi /start" == message["text"]
        assert [("bold", 0, 2), ("bot_command", 3, 6)] == rows(message["entities"])

    @pytest.mark.parametrize("mode", [{}, {"parse_mode": ""}, {"parse_mode": "None"}])
    def test_a_text_without_a_parse_mode_is_plain(self, mode: dict[str, str]) -> None:
        """Without a parse mode marks are part of the text."""
        assert {"text": "<b>hi</b>"} == formatted({"text": " <b>hi</b>", **mode}, find_user)

    @pytest.mark.parametrize("text", ["", " \n", "<b></b>"])
    def test_an_empty_text_gives_nothing(self, text: str) -> None:
        """A text that has no characters left has no fields at all."""
        assert {} == formatted({"text": text, "parse_mode": "HTML"}, find_user)
        assert {} == formatted({}, find_user)

    def test_other_fields_have_other_names(self) -> None:
        """The names of the text, its entities and its parse mode are those that are asked for."""
        poll = {"question": "*a*", "question_parse_mode": "MarkdownV2", "parse_mode": "HTML"}
        names = ("question", "question_entities", "question_parse_mode")
        expected = {
            "question": "a",
            "question_entities": [{"type": "bold", "offset": 0, "length": 1}],
        }
        assert expected == formatted(poll, find_user, *names)

    @pytest.mark.parametrize("encode", [json.dumps, list])
    def test_given_entities_are_kept(self, encode: Any) -> None:
        """Entities of the call count if it has no parse mode, as JSON or as a list."""
        entities = [
            types.MessageEntity("italic", 0, 2).to_dict(),
            types.MessageEntity("text_link", 3, 3, url="example.com").to_dict(),
            types.MessageEntity("pre", 7, 1, language="go").to_dict(),
            types.MessageEntity("pre", 9, 1).to_dict(),
            types.MessageEntity("custom_emoji", 10, 2, custom_emoji_id="536").to_dict(),
            types.MessageEntity("date_time", 12, 1, unix_time=9, date_time_format="Tw").to_dict(),
            # The server finds these by itself, so those of the bot are ignored.
            types.MessageEntity("hashtag", 0, 1).to_dict(),
        ]
        call = {"caption": "hi you a b👍c", "caption_entities": encode(entities)}
        message = formatted(call, find_user, "caption", "caption_entities")
        assert "hi you a b👍c" == message["caption"]
        assert [
            ("italic", 0, 2),
            ("text_link", 3, 3, LINK),
            ("pre", 7, 1, {"language": "go"}),
            ("pre", 9, 1),
            ("custom_emoji", 10, 2, {"custom_emoji_id": "536"}),
            ("date_time", 12, 1, {"unix_time": 9, "date_time_format": "wT"}),
        ] == rows(message["caption_entities"])

    def test_a_parse_mode_comes_before_given_entities(self) -> None:
        """Entities of a call with a parse mode are ignored."""
        given = [{"type": "italic", "offset": 0, "length": 1}]
        call = {"text": "<b>hi</b>", "parse_mode": "HTML", "entities": json.dumps(given)}
        assert [("bold", 0, 2)] == rows(formatted(call, find_user)["entities"])

    @pytest.mark.parametrize(
        "call",
        [
            {"text": '<a href="tg://user?id=7">hi</a>', "parse_mode": "HTML"},
            {
                "text": "hi",
                "entities": [{"type": "text_mention", "offset": 0, "length": 2, "user": {"id": 7}}],
            },
        ],
    )
    def test_a_mentioned_user_is_the_known_one(self, call: dict[str, Any]) -> None:
        """A mention by id has the whole user, so telebot reads it."""
        (entity,) = as_telebot(formatted(call, find_user))
        assert ("text_mention", 7, "Ada") == (entity.type, entity.user.id, entity.user.first_name)

    @pytest.mark.parametrize(
        ("entity", "reason"),
        [
            ({"type": "blink"}, "can't parse MessageEntity: Unsupported type specified"),
            ({"type": None}, "can't parse MessageEntity: Can't find field \"type\""),
            ({"type": "text_link"}, "can't parse MessageEntity: Can't find field \"url\""),
            ({"type": "text_link", "url": "x"}, "entity URL 'x' is invalid"),
            (
                {"type": "custom_emoji", "custom_emoji_id": "x"},
                "invalid custom emoji identifier specified",
            ),
            (
                {"type": "date_time", "unix_time": 9, "date_time_format": "x"},
                "can't parse MessageEntity: Invalid date-time format specified",
            ),
            ({"offset": -1}, "receive an entity with incorrect offset -1"),
            ({"length": -1}, "receive an entity with incorrect length -1"),
            ({"offset": 9}, "entity begins after the end of the text at UTF-16 offset 9"),
            (
                {"length": 9},
                (
                    "entity beginning at UTF-16 offset 0 ends after the end of the text at UTF-16 "
                    "offset 9"
                ),
            ),
            (
                {"offset": 3},
                "entity begins in a middle of a UTF-16 symbol at byte offset 7",
            ),
            (
                {"length": 3},
                (
                    "entity beginning at UTF-16 offset 0 ends in a middle of a UTF-16 symbol at "
                    "byte offset 7"
                ),
            ),
        ],
    )
    def test_a_wrong_entity_is_refused(self, entity: dict[str, Any], reason: str) -> None:
        """A given entity that is of no known type, or outside of the text, is an error."""
        given = [{"type": "bold", "offset": 0, "length": 1, **entity}]
        with pytest.raises(RefusedError) as refused:
            formatted({"text": "é 🎉a", "entities": given}, find_user)
        assert (400, f"Bad Request: {reason}") == (refused.value.code, refused.value.description)

    def test_nothing_is_found_in_code_and_links(self) -> None:
        """Entities that the server would find yield to code and links that the bot has marked."""
        text = "<code>/a</code> <pre>#b</pre> <a href='example.com'>@ada_l</a> <b>#c</b>"
        message = formatted({"text": text, "parse_mode": "HTML"}, find_user)
        assert [
            ("code", 0, 2),
            ("pre", 3, 2),
            ("text_link", 6, 6, LINK),
            ("hashtag", 13, 2),
            ("bold", 13, 2),
        ] == rows(message["entities"])


class TestTelebot:
    @pytest.mark.parametrize(
        ("text", "html"),
        [
            ("*bold*", "<b>bold</b>"),
            ("__italic__", "<u>italic</u>"),
            ("~strikethrough~", "<s>strikethrough</s>"),
            ("`inline code`", "<code>inline code</code>"),
            ("```\ncode block```", "<pre>code block</pre>"),
            (
                "```python\nprint('Hello, world!')\n```",
                "<pre><code class=\"language-python\">print('Hello, world!')</code></pre>",
            ),
            (
                "```python\nprint(1 < 2)\n```",
                '<pre><code class="language-python">print(1 &lt; 2)</code></pre>',
            ),
            ("[link](http://example.com/)", '<a href="http://example.com/">link</a>'),
            (">blockquote", "<blockquote>blockquote</blockquote>"),
            ("[hi](tg://user?id=7)", '<a href="tg://user?id=7">hi</a>'),
            ("![👍](tg://emoji?id=536)", '<tg-emoji emoji-id="536">👍</tg-emoji>'),
            ("||secret||", '<span class="tg-spoiler">secret</span>'),
            (">a||", "<blockquote expandable>a</blockquote>"),
        ],
    )
    def test_telebot_writes_the_entities_as_html(self, text: str, html: str) -> None:
        """`apply_html_entities` gives the HTML for a text in Markdown, which is the same text."""
        message = formatted({"text": text, "parse_mode": "MarkdownV2"}, find_user)
        applied = formatting.apply_html_entities(message["text"], as_telebot(message))
        assert html == applied
        assert message == formatted({"text": applied, "parse_mode": "HTML"}, find_user)

    def test_telebot_reads_the_words_of_entities(self) -> None:
        """`extract_entity` gives the words of marks and of found entities in one text."""
        words = {
            "https://core.telegram.org/api/entities": "https://core.telegram.org/api/entities",
            "*粗 bold  text体*": "粗 bold  text体",
            "_斜体 italic text_": "斜体 italic text",
            "[谷歌](http://www.google.com/)": "谷歌",
            '`std::cout<<"test"<<std::endl;`': 'std::cout<<"test"<<std::endl;',
            "```rust\nlet a = Ok(0..=2);\n};```": "let a = Ok(0..=2);\n};",
            "@username": "@username",
            "#hashtag索引标签": "#hashtag索引标签",
            "do-not-reply@telegram.org": "do-not-reply@telegram.org",
            "+12125550123": "+12125550123",
        }
        call = {"text": "\n".join(words), "parse_mode": "Markdown"}
        message = formatted(call, find_user)
        found = [util.extract_entity(message["text"], one) for one in as_telebot(message)]
        assert list(words.values()) == found

    @pytest.mark.parametrize(
        ("mode", "text", "kind"),
        [
            ("HTML", formatting.hbold("a<b"), "bold"),
            ("HTML", formatting.hitalic("a<b"), "italic"),
            ("HTML", formatting.hunderline("a<b"), "underline"),
            ("HTML", formatting.hstrikethrough("a<b"), "strikethrough"),
            ("HTML", formatting.hspoiler("a<b"), "spoiler"),
            ("HTML", formatting.hlink("a<b", "example.com"), "text_link"),
            ("HTML", formatting.hcode("a<b"), "code"),
            ("HTML", formatting.hpre("a<b"), "pre"),
            ("HTML", formatting.hcite("a<b"), "blockquote"),
            ("HTML", formatting.hcite("a<b", expandable=True), "expandable_blockquote"),
            ("MarkdownV2", formatting.mbold("a<b"), "bold"),
            ("MarkdownV2", formatting.mitalic("a<b"), "italic"),
            ("MarkdownV2", formatting.munderline("a<b"), "underline"),
            ("MarkdownV2", formatting.mstrikethrough("a<b"), "strikethrough"),
            ("MarkdownV2", formatting.mspoiler("a<b"), "spoiler"),
            ("MarkdownV2", formatting.mlink("a<b", "example.com"), "text_link"),
            ("MarkdownV2", formatting.mcode("a<b"), "pre"),
            ("MarkdownV2", formatting.mcite("a<b"), "blockquote"),
            ("MarkdownV2", formatting.mcite("a<b", expandable=True), "expandable_blockquote"),
        ],
    )
    def test_a_text_that_telebot_marks_has_the_entity(
        self, mode: str, text: str, kind: str
    ) -> None:
        """Each function of `telebot.formatting` makes the entity of its name."""
        plain, entities = parsed(text, mode)
        assert ("a<b", [(kind, 0, 3)]) == (plain, [entity[:3] for entity in entities])


# No control characters and no characters that Telegram drops; with emoji and line breaks.
CHARACTERS = st.characters(exclude_categories=("C", "Z", "M")) | st.sampled_from(" \n*_[<&>|`.")


class TestEscaped:
    @settings(max_examples=examples(400))
    @given(words=st.text(CHARACTERS, min_size=1))
    def test_escaped_html_comes_back(self, words: str) -> None:
        """A text that telebot escapes for HTML comes back as it was, and is one entity."""
        words = f"a{words}b"
        length = len(words.encode("utf-16-le")) // 2
        marked = formatting.hbold(words)
        assert (words, [("bold", 0, length)]) == parsed(marked, "HTML")

    # telebot 4.37.1 escapes a backslash before another character wrongly.
    @settings(max_examples=examples(400))
    @given(words=st.text(CHARACTERS.filter(lambda character: character != "\\"), min_size=1))
    def test_escaped_markdown_comes_back(self, words: str) -> None:
        """A text that telebot escapes for MarkdownV2 comes back as it was, and is one entity."""
        words = f"a{words}b"
        length = len(words.encode("utf-16-le")) // 2
        marked = formatting.mstrikethrough(words)
        assert (words, [("strikethrough", 0, length)]) == parsed(marked, "MarkdownV2")

    @settings(max_examples=examples(1000))
    @given(
        text=st.text(st.sampled_from("ab é🎉\n\r*_~|`[]()!>\\<i/=\"'&#;x1.@:")),
        mode=st.sampled_from(["HTML", "MarkdownV2", "Markdown"]),
    )
    def test_any_text_is_parsed_or_refused(self, text: str, mode: str) -> None:
        """Entities of any text lie in it, in order; broken marks are an error of the call."""
        try:
            plain, entities = parse(text, mode)
        except RefusedError:
            plain, entities = "", []
        length = len(plain.encode("utf-16-le")) // 2
        places = [(entity["offset"], -entity["length"]) for entity in entities]
        outside = [(offset, less) for offset, less in places if not 0 < -less <= length - offset]
        assert sorted(places) == places
        assert [] == outside


class TestUsers:
    def test_a_user_sends_links_and_mentions(self, api: BotAPI, ada: User) -> None:
        """The text of a user has the entities that Telegram finds, and so has a caption."""
        text = ada.send("see example.com, @boris_b")["message"]
        photo = ada.photo("#cat")["message"]
        assert [("url", 4, 11), ("mention", 17, 8)] == rows(text["entities"])
        assert [("hashtag", 0, 4)] == rows(photo["caption_entities"])

    def test_a_plain_text_has_no_entities(self, ada: User) -> None:
        """A text in which Telegram finds nothing has no field for entities."""
        assert "entities" not in ada.send("hi")["message"]
