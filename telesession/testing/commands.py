"""The input of a chat in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from telesession.testing.choices import choose
from telesession.testing.explain import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telebot import TeleBot

    from telesession.testing.chats import Group
    from telesession.testing.outbox import Where
    from telesession.testing.polling import Polling
    from telesession.testing.reports import Reports
    from telesession.testing.screen import Screen

_HELP = """\
What you type goes to the bot, except for these lines:
  /as 42        go on as user 42        /press Yes    press a button
  /in -100      go to a group           /reply text   answer the last message
  /in private   go back                 /send photo   or album, document, voice,
  /topic 7      go to a topic                         contact, location
  /request -100 ask to join a group     /invite 42    add a user to the group
  //quit        say /quit to the bot    /quit         end the chat
"""

_WITH_CAPTION = ("photo", "album", "document")
_WITHOUT_CAPTION = ("voice", "contact", "location")


class Commands:
    """
    Reads lines and does what they say.

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
        # The id of the query of an inline button, if the latest line has pressed one.
        self._pressed: str | None = None
        self._moves: dict[str, Callable[[str], None]] = {
            "/as": self._be,
            "/in": self._go,
            "/topic": self._go_to_topic,
        }
        self._acts: dict[str, Callable[[str], object]] = {
            "/invite": self._invite,
            "/press": self._press,
            "/reply": self._reply,
            "/request": self._request,
        }

    def run(self, hint: str) -> None:
        """Read and obey until the end; a terminal gets the hint and the commands first."""
        self._look()
        if self._stdin.isatty():
            self._screen.print(f"{hint}\n\n{_HELP}" if hint else _HELP)
        for line in self._lines():
            before = self._screen.count
            try:
                sent = self._obey(line)
            except ValueError as error:
                sent = False
                self._screen.write(f"! {error}")
            try:
                self._polling.wait_idle(timeout=None)
            except RuntimeError as error:
                self._screen.write(f"! {error}")
                return
            finally:
                self._show_exceptions()
            if sent and before == self._screen.count:
                self._screen.write("(no answer)")
            self._show_clock()

    def _lines(self) -> Iterator[str]:
        while line := self._read(self._prompt()):
            if line.strip() == "/quit":
                return
            if line.strip():
                yield line.strip()
        # Else the shell would go on in the line of the prompt.
        self._screen.print("\n" if self._prompt() else "")

    def _prompt(self) -> str:
        """The place of the next line, unless it is user 1 in private; empty without a terminal."""
        if not self._stdin.isatty():
            return ""
        place = "" if self._group is None else f" in {self._group.id}"
        if self._topic is not None:
            place += f", topic {self._topic}"
        return f"{self._user.id}{place} > " if place or self._user.id != 1 else "> "

    def _read(self, prompt: str) -> str:
        self._screen.print(prompt)
        self._screen.prompt = prompt
        try:
            return self._stdin.readline()
        finally:
            self._screen.prompt = ""

    def _obey(self, line: str) -> bool:
        """Do what a line says, and return whether the bot has got something."""
        word, _, rest = line.partition(" ")
        if move := self._moves.get(word):
            move(rest.strip())
            return False
        if act := self._acts.get(word):
            act(rest.strip())
        elif word != "/send" or not self._send(*rest.split(maxsplit=1)):
            self._say(line.removeprefix("/") if line.startswith("//") else line)
        return True

    def _say(self, text: str) -> None:
        if keyboard := self._screen.keyboard_with(text):
            self._user.press(keyboard, text)
        else:
            self._user.send(text, **self._where())

    def _send(self, kind: str = "", caption: str = "") -> bool:
        """
        Send a message of a kind, and return whether the kind is known.

        Raises `ValueError` if it is not, unless the bot has a command of that name.
        """
        kind = kind.lower()
        if kind in _WITH_CAPTION:
            getattr(self._user, kind)(caption=caption, **self._where())
        elif kind in _WITHOUT_CAPTION and not caption:
            getattr(self._user, kind)(**self._where())
        elif self._has_command("send"):
            return False
        else:
            raise ValueError(
                "write it like this: /send photo, or album, document, voice, contact, location; "
                "//send says it to the bot"
            )
        return True

    def _has_command(self, name: str) -> bool:
        """Whether a handler of the bot names a command."""
        filters = [handler["filters"] for handler in self._bot.message_handlers]
        return any(name in (one.get("commands") or ()) for one in filters)

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

    def _find_group(self, chat_id: str, usage: str) -> Group:
        number = _parse_number(chat_id, usage)
        if number >= 0:
            raise ValueError("a group has a number below 0")
        return self._screen.group(number)

    def _press(self, choice: str) -> None:
        messages = list(self._screen.with_buttons())
        if not messages:
            raise ValueError(
                "there is no button in this chat to press; the chat forgets its messages at its "
                "end, type the answer"
            )
        update = self._user.press(*choose(messages, choice))
        self._pressed = update.get("callback_query", {}).get("id")

    def _reply(self, text: str) -> None:
        if not text:
            raise ValueError("write it like this: /reply text")
        message = next(self._screen.seen(), None)
        if message is None:
            raise ValueError("there is no message of the bot in this chat to reply to")
        where = self._where()
        where["reply_to"] = message
        self._user.send(text, **where)

    def _request(self, chat_id: str) -> None:
        self._user.request_to_join(self._find_group(chat_id, "/request -100"))

    def _invite(self, user_id: str) -> None:
        person = self._screen.user(_parse_id(user_id, "/invite 42", "user"))
        if self._group is None:
            raise ValueError("go to a group first: /in -100")
        self._user.invite(self._group, person)

    def _look(self) -> None:
        chat_id = self._user.id if self._group is None else self._group.id
        self._screen.look(self._user.id, chat_id, self._topic)

    def _show_clock(self) -> None:
        """Tell of a pressed button that the bot has not answered; Telegram's apps show a clock."""
        pressed, self._pressed = self._pressed, None
        answers = self._screen.calls_of("answerCallbackQuery") if pressed else ()
        if pressed and pressed not in {call.params.get("callback_query_id") for call in answers}:
            self._screen.write(
                "(the button keeps its clock: the bot has not called answer_callback_query)"
            )

    def _show_exceptions(self) -> None:
        while self._exceptions:
            lines = explain(self._exceptions.pop(0))
            self._screen.write(*(f"! {line}" for line in lines))


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
