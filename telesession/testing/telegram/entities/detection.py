"""The entities that Telegram's servers find in any text."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from telesession.testing.telegram.entities.marked import utf16
from telesession.testing.telegram.entities.nesting import apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telesession.testing.server.call import JSON

#: A hashtag or cashtag may name the chat in which to search for it.
_CHAT = r"(?:@[A-Za-z0-9_]{3,32})?"

_PATTERNS = {
    "mention": re.compile(
        r"(?<!\w)@(?:[A-Za-z0-9_]{4,32}|gif|nft|pic|ufc|vid)(?!\w)", re.IGNORECASE
    ),
    # Latin letters, digits and `_`, beside no letter or slash.
    "bot_command": re.compile(
        r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32}|(?!@))(?![\w/<>])"
    ),
    "hashtag": re.compile(rf"(?<!\w)#(?=\w*[^\W\d_])\w{{1,256}}{_CHAT}(?!\w*#)"),
    "cashtag": re.compile(rf"(?<![\w$])\$(?:1INCH|[A-Z]{{1,8}}){_CHAT}(?![\w$])"),
    "phone_number": re.compile(r"(?<![\w+])\+[0-9](?:[ ()-]{0,2}[0-9]){6,14}(?!\w)"),
    "email": re.compile(
        r"(?<![\w.+@-])(?:[a-z0-9_-]{0,26}[.+]){0,10}[a-z0-9_-]{1,35}"
        r"@(?:[a-z0-9](?:[a-z0-9_-]{0,28}[a-z0-9])?\.){1,6}[a-z]{2,8}(?![\w-])",
        re.IGNORECASE,
    ),
}

_HOST = r"[\w~\u2070-\U0010ffff-]+(?:\.[\w~\u2070-\U0010ffff-]+)+"
_PATH = r"(?P<path>[/?#][^\s<>\"«»\u2000-\u200b\u200e\u200f\u2016-\u206f]*)?"
_APP_URL = re.compile(rf"(?<!\w)(?:tg|ton)://[a-z0-9_-]+{_PATH}", re.IGNORECASE)
_WEB_URL = re.compile(
    r"(?<![\w@/#.~-])(?P<scheme>(?:https?|ftp|tonsite)://(?:[^\s/\[\](){}<>\"'`«»@]+@)?)?"
    rf"(?P<host>{_HOST})(?::0*[1-9][0-9]{{0,4}}(?![0-9]))?{_PATH}",
    re.IGNORECASE,
)
_IP = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.|\Z)){4}")

#: Top-level domains by which Telegram knows a link without a scheme: the most usual of 1400.
_GENERIC = (
    "academy agency app art arpa bank best bio biz blog bot business cafe center chat city click "
    "cloud club codes com company computer cool day design dev digital domains edu email energy "
    "events expert family fashion film finance fit fitness fun fund fyi games gift gov group "
    "guide guru health help host house icu inc info int jobs kim land law legal life link live "
    "llc love ltd market marketing media mil mobi money movie museum name net network news ninja "
    "one onion online org page party photo photos pics pizza plus press pro properties pub red "
    "rent rest review rocks run sale school science services sex shop show site social software "
    "solutions space sport store stream studio support systems team tech technology tips today "
    "tools top tours town toys trade training travel university uno vip video wang watch web "
    "website wiki win wine work works world wtf xin xxx xyz yoga zone рф укр бел москва ton"
)
_COUNTRIES = (
    "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs "
    "bt bv bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec "
    "ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy "
    "hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz "
    "la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx "
    "my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re "
    "ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th "
    "tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw"
)
_DOMAINS = frozenset(f"{_GENERIC} {_COUNTRIES}".split())


def detect(text: str) -> list[JSON]:
    """
    The entities that Telegram's servers find in a text without marks, in order.

    These are mentions, hashtags, cashtags, commands of bots, links, e-mail addresses and phone
    numbers. None overlaps another one.

    See https://core.telegram.org/bots/api#messageentity.
    """
    found = (
        {"type": kind, "offset": utf16(text[:start]), "length": utf16(text[start:end])}
        for kind, start, end in chain(_matches(text), _urls(text))
    )
    return apart(found)


def _matches(text: str) -> Iterator[tuple[str, int, int]]:
    """The type, the start and the end of each entity that a pattern describes."""
    for kind, pattern in _PATTERNS.items():
        for found in pattern.finditer(text):
            yield kind, *found.span()


def _urls(text: str) -> Iterator[tuple[str, int, int]]:
    links = (
        found
        for found in _WEB_URL.finditer(text)
        if _is_host(found["host"], has_scheme=bool(found["scheme"]))
    )
    for found in chain(_APP_URL.finditer(text), links):
        path = found["path"] or ""
        yield "url", found.start(), found.end() - len(path) + len(_path(path))


def _is_host(host: str, *, has_scheme: bool) -> bool:
    """Whether Telegram takes words with dots between them as the host of a link."""
    if _IP.fullmatch(host):
        return True
    *names, domain = host.split(".")
    if any(not name or name.endswith("-") for name in names) or "_" in names[-1]:
        return False
    if domain.startswith("xn--"):
        return True
    if has_scheme:
        return len(domain) > 1 and not set(domain) & {"_", "-"} and not domain.isdecimal()
    # A sentence may follow a full stop without a space: "the end.To begin".
    is_sentence = domain[:1].isupper() and domain[1:].islower()
    return domain.lower() in _DOMAINS and not is_sentence


def _path(path: str) -> str:
    """The path of a link, without the brackets and marks of the sentence around it."""
    depths = dict.fromkeys("([{", 0)
    for index, character in enumerate(path):
        if character in depths:
            depths[character] += 1
        elif (place := ")]}".find(character)) >= 0:
            depths["([{"[place]] -= 1
        if min(depths.values()) < 0:
            path = path[:index]
            break
    path = path[:1] + path[1:].rstrip(".:;,('?!`")
    return "" if path in ("?", "#") else path
