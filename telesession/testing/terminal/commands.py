"""The input of a chat in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from telesession.testing.explain import explain
from telesession.testing.terminal.choices import choose, choose_options
from telesession.testing.terminal.lines import wrap
from telesession.testing.terminal.menu import draw_menu, handled_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telebot import TeleBot

    from telesession.testing.people.chats import Group
    from telesession.testing.people.outbox import Where
    from telesession.testing.people.users import User
    from telesession.testing.polling import Polling
    from telesession.testing.telegram.history import SentMessage
    from telesession.testing.terminal.reports import Reports
    from telesession.testing.terminal.screen import Screen

_HELP = """\
Each line goes to the bot, except for these:
  /as 42        go on as user 42        /press Yes    press a button
  /in -100      go to a group           /reply text   answer the last message
  /in private   go back                 /vote Paris   vote in the last poll
  /topic 7      go to a topic           /pay          pay the last invoice
  /admin        administer the group    /send photo   or album, video, audio,
  /anonymous    write as the group                    animation, voice, dice,
  /request -100 ask to join a group                   document, sticker,
  /invite 42    add a user to the group               contact, location, venue
  //quit        say /quit to the bot    /quit         end the chat
"""

# A kind of message -> the option of the method of `User` that takes the words behind it, if any.
_KINDS = {
    "photo": "caption",
    "album": "caption",
    "video": "caption",
    "audio": "caption",
    "animation": "caption",
    "voice": "",
    "dice": "emoji",
    "document": "caption",
    "sticker": "emoji",
    "contact": "",
    "location": "",
    "venue": "title",
}


class Commands:
    """
    Reads lines and obeys them.

    Args:
        bot: The bot.
        stdin: The source of the lines.
        screen: The server that the bot talks to.
        polling: The bot at work.
        reports: The exceptions of its handlers.
        user_id: The first user's id.
    """

    def __init__(
        self,
        bot: TeleBot,
        stdin: TextIO,
        screen: Screen,
        *,
        polling: Polling,
        reports: Reports,
        user_id: int,
    ) -> None:
        self._bot = bot
        self._stdin = stdin
        self._screen = screen
        self._polling = polling
        self._exceptions = reports.exceptions
        self._user = screen.user(user_id)
        self._group: Group | None = None
        self._topic: int | None = None
        self._moves: dict[str, Callable[[str], None]] = {
            "/as": self._be,
            "/in": self._go,
            "/topic": self._go_to_topic,
            "/admin": self._be_admin,
            "/anonymous": self._switch_anonymous,
        }
        self._acts: dict[str, Callable[[str], object]] = {
            "/invite": self._invite,
            "/pay": self._pay,
            "/press": self._press,
            "/reply": self._reply,
            "/request": self._request,
            "/send": self._send,
            "/vote": self._vote,
        }
        # Lines that are the bot's, if a handler of it names the command, unless these are true.
        self._claims: dict[str, Callable[[str], bool]] = {
            "/admin": lambda _: False,
            "/pay": lambda _: False,
            "/send": _names_kind,
            "/vote": self._names_options,
        }

    def run(self, hint: str) -> None:
        """Read and obey until the end; a terminal gets the hint and the commands first."""
        if self._stdin.isatty():
            self._introduce(hint)
        for line in self._lines():
            before = self._screen.count
            try:
                sent = self._obey(line)
            except ValueError as error:
                sent = False
                self._complain(error)
            try:
                self._polling.wait_idle(timeout=None)
            except RuntimeError as error:
                self._complain(error)
                return
            finally:
                self._show_exceptions()
            if sent and before == self._screen.count:
                self._screen.write("(no answer)")
            self._screen.write(*self._screen.take_unanswered())

    def _introduce(self, hint: str) -> None:
        declared = self._screen.commands_of(self._user.id)
        menu = "\n".join(draw_menu(declared, handled_commands(self._bot)))
        parts = [hint, _HELP.rstrip("\n"), menu]
        self._screen.print("\n\n".join(part for part in parts if part) + "\n\n")

    def _lines(self) -> Iterator[str]:
        while self._screen.is_read and (line := self._read(self._prompt())):
            if line.strip() == "/quit":
                return
            if line.strip():
                yield line.strip()
        # Else the shell would go on in the line of the prompt.
        self._screen.print("\n" if self._prompt() else "")

    def _prompt(self) -> str:
        """The user and place of the next line; empty for user 1 in private, or with no terminal."""
        if not self._stdin.isatty():
            return ""
        place = "" if self._group is None else f" in {self._group.id}"
        if self._topic is not None:
            place += f", topic {self._topic}"
        if role := self._role():
            place += f", {role}"
        return f"{self._user.id}{place} > " if place or self._user.id != 1 else "> "

    def _read(self, prompt: str) -> str:
        self._screen.print(prompt)
        self._screen.prompt = prompt
        try:
            return self._stdin.readline()
        finally:
            self._screen.prompt = ""

    def _obey(self, line: str) -> bool:
        """Obey a line, and return whether the bot has got an update."""
        word, _, rest = line.partition(" ")
        if self._is_for_bot(word, rest.strip()):
            self._say(line.removeprefix("/") if line.startswith("//") else line)
        elif move := self._moves.get(word):
            move(rest.strip())
            return False
        else:
            self._acts[word](rest.strip())
        return True

    def _is_for_bot(self, word: str, rest: str) -> bool:
        """Whether a line is not one of the chat's commands, or is a command of the bot's own."""
        if word not in self._moves and word not in self._acts:
            return True
        claim = self._claims.get(word)
        if claim is None or word.removeprefix("/") not in handled_commands(self._bot):
            return False
        return not claim(rest)

    def _say(self, text: str) -> None:
        if keyboard := self._screen.keyboard_with(text):
            self._sender.press(keyboard, text)
        else:
            self._sender.send(text, **self._where())

    def _send(self, content: str) -> None:
        kind, _, words = content.partition(" ")
        if not _names_kind(content):
            raise ValueError(
                f"write it like this: /send {', '.join(_KINDS).replace(',', ', or', 1)}; "
                "//send says it to the bot"
            )
        options = {_KINDS[kind.lower()]: words.strip()} if words else {}
        getattr(self._sender, kind.lower())(**options, **self._where())

    @property
    def _sender(self) -> User:
        """The user, who may be an anonymous administrator of the group."""
        if self._group is not None and self._role() == "anonymous":
            return self._user.anonymous_in(self._group)
        return self._user

    def _role(self) -> str:
        """`admin` or `anonymous` for an administrator of the group, else nothing."""
        for one in self._group.administrators if self._group is not None else ():
            if one["user"]["id"] == self._user.id:
                return "anonymous" if one["is_anonymous"] else "admin"
        return ""

    def _where(self) -> Where:
        reply_to = self._screen.take_reply_to()
        return {"chat": self._group, "topic": self._topic, "reply_to": reply_to}

    def _be(self, user_id: str) -> None:
        self._user = self._screen.user(_parse_id(user_id, "/as 42", "user"))
        if self._group is None:
            # Each private chat has topics of its own.
            self._topic = None
        self._look()

    def _go(self, chat_id: str) -> None:
        if chat_id == "private":
            self._group = None
        else:
            self._group = self._find_group(chat_id, "/in -100 or /in private")
        self._topic = None
        self._look()

    def _go_to_topic(self, topic: str) -> None:
        usage = "/topic 7, or /topic to leave it"
        self._topic = _parse_id(topic, usage, "topic") if topic else None
        if self._group is not None and topic:
            self._group = self._screen.group(self._group.id, forum=True)
        self._look()

    def _be_admin(self, _: str) -> None:
        self._put_administrator(is_anonymous=False)

    def _switch_anonymous(self, _: str) -> None:
        self._put_administrator(is_anonymous=self._role() != "anonymous")

    def _put_administrator(self, *, is_anonymous: bool) -> None:
        self._screen.community.put_administrator(
            self._entered_group().id, self._user.json, is_anonymous=is_anonymous
        )

    def _entered_group(self) -> Group:
        if self._group is None:
            raise ValueError("go to a group first: /in -100")
        return self._group

    def _find_group(self, chat_id: str, usage: str) -> Group:
        number = _parse_number(chat_id, usage)
        if number >= 0:
            raise ValueError("a group has a number below 0")
        return self._screen.group(number)

    def _press(self, choice: str) -> None:
        messages = list(self._screen.with_buttons())
        if not messages:
            other = self._screen.buttons_elsewhere()
            if other is None:
                raise ValueError("there is no button to press; after a restart, type the answer")
            way = self._way_to(other)
            raise ValueError(f"there is no button here to press; for the latest: {way}")
        self._sender.press(*choose(messages, choice))

    def _way_to(self, message: SentMessage) -> str:
        """The lines to type that lead to the chat and the topic of a message."""
        chat_id, topic, here = message.chat_id, message.topic, self._screen.chat_id
        lines = []
        if chat_id not in {here, self._user.id} and chat_id > 0:
            lines.append(f"/as {chat_id}")
        if chat_id != here and (chat_id < 0 or self._group is not None):
            lines.append(f"/in {chat_id if chat_id < 0 else 'private'}")
        if topic is not None:
            lines.append(f"/topic {topic}")
        return ", ".join(lines or ["/topic"])

    def _vote(self, choice: str) -> None:
        message = self._latest("poll")
        if message is None:
            raise ValueError("there is no poll of the bot in this chat to vote in")
        options = choose_options(message.json["poll"], choice)
        if "0" in options:
            raise ValueError("the options of a poll have numbers from 1: /vote 1")
        self._sender.vote(message, *options)

    def _names_options(self, choice: str) -> bool:
        message = self._latest("poll")
        options = choose_options(message.json["poll"], choice) if message else []
        return bool(options) and all(isinstance(option, int) for option in options)

    def _pay(self, link: str) -> None:
        if link:
            self._user.pay(link)
            return
        message = self._latest("invoice")
        if message is None:
            raise ValueError("there is no invoice of the bot in this chat to pay")
        self._user.pay(message)

    def _latest(self, content: str) -> SentMessage | None:
        """The latest message of the bot in the chat with a content, such as `poll`."""
        return next((one for one in self._screen.seen() if one.content_type == content), None)

    def _reply(self, text: str) -> None:
        if not text:
            raise ValueError("write it like this: /reply text")
        message = next(self._screen.seen(), None)
        if message is None:
            raise ValueError("there is no message of the bot in this chat to reply to")
        where = self._where()
        where["reply_to"] = message
        self._sender.send(text, **where)

    def _request(self, chat_id: str) -> None:
        self._user.request_to_join(self._find_group(chat_id, "/request -100"))

    def _invite(self, user_id: str) -> None:
        person = self._screen.user(_parse_id(user_id, "/invite 42", "user"))
        self._sender.invite(self._entered_group(), person)

    def _look(self) -> None:
        chat_id = self._user.id if self._group is None else self._group.id
        self._screen.look(self._user.id, chat_id, self._topic)

    def _complain(self, error: Exception) -> None:
        self._screen.write(*wrap(f"! {error}", 2))

    def _show_exceptions(self) -> None:
        while self._exceptions:
            lines = explain(self._exceptions.pop(0))
            self._screen.write(*(f"! {line}" for line in lines))


def _names_kind(content: str) -> bool:
    """Whether words behind `/send` name a kind, with more words only where it takes some."""
    kind, _, words = content.partition(" ")
    option = _KINDS.get(kind.lower())
    return option is not None and (option != "" or not words)


def _parse_id(text: str, usage: str, what: str) -> int:
    """The number of a user or a topic."""
    number = _parse_number(text, usage)
    if number <= 0:
        raise ValueError(f"a {what} has a number above 0")
    return number


def _parse_number(text: str, usage: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"write it like this: {usage}") from None
