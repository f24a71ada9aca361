"""The input of a chat in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from telesession.testing.explain import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telesession.testing.chats import Group
    from telesession.testing.history import SentMessage
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
        stdin: The source of the lines.
        screen: The server that the bot talks to.
        polling: The bot.
        reports: The exceptions of its handlers.
        user_id: The first user's id.
    """

    def __init__(
        self,
        stdin: TextIO,
        screen: Screen,
        polling: Polling,
        reports: Reports,
        user_id: int,
    ) -> None:
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
        prompt = self._stdin.isatty()
        if prompt:
            self._screen.print(f"{hint}\n\n{_HELP}" if hint else _HELP)
        for line in self._lines("> " if prompt else ""):
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

    def _lines(self, prompt: str) -> Iterator[str]:
        while line := self._read(prompt):
            if line.strip() == "/quit":
                return
            if line.strip():
                yield line.strip()
        # Else the shell would go on in the line of the prompt.
        self._screen.print("\n" if prompt else "")

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
        # A bot may have a command of that name.
        elif word != "/send" or not self._send(*rest.split(maxsplit=1)):
            self._say(line.removeprefix("/") if line.startswith("//") else line)
        return True

    def _say(self, text: str) -> None:
        if keyboard := self._screen.keyboard_with(text):
            self._user.press(keyboard, text)
        else:
            self._user.send(text, **self._where())

    def _send(self, kind: str = "", caption: str = "") -> bool:
        """Send a message of a kind, and return whether the kind is known."""
        if kind in _WITH_CAPTION:
            getattr(self._user, kind)(caption=caption, **self._where())
        elif kind in _WITHOUT_CAPTION and not caption:
            getattr(self._user, kind)(**self._where())
        else:
            return False
        return True

    def _where(self) -> Where:
        reply_to = self._screen.take_reply_to()
        return {"chat": self._group, "topic": self._topic, "reply_to": reply_to}

    def _be(self, user_id: str) -> None:
        self._user = self._screen.user(_parse_id(user_id, "/as 42"))
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
        self._topic = _parse_id(topic, "/topic 7, or /topic to leave it") if topic else None
        if self._group is not None and topic:
            self._group = self._screen.group(self._group.id, forum=True)
        self._look()

    def _find_group(self, chat_id: str, usage: str) -> Group:
        return self._screen.group(-abs(_parse_id(chat_id, usage)))

    def _press(self, choice: str) -> None:
        if keyboard := self._screen.keyboard_with(choice):
            self._user.press(keyboard, choice)
            return
        for message in self._screen.shown():
            if message.buttons:
                self._user.press(message, _choose(message, choice))
                return
        raise ValueError("there is no button in this chat to press")

    def _reply(self, text: str) -> None:
        if not text:
            raise ValueError("write it like this: /reply text")
        message = next(self._screen.shown(), None)
        if message is None:
            raise ValueError("there is no message of the bot in this chat to reply to")
        where = self._where()
        where["reply_to"] = message
        self._user.send(text, **where)

    def _request(self, chat_id: str) -> None:
        self._user.request_to_join(self._find_group(chat_id, "/request -100"))

    def _invite(self, user_id: str) -> None:
        person = self._screen.user(_parse_id(user_id, "/invite 42"))
        if self._group is None:
            raise ValueError("go to a group first: /in -100")
        self._user.invite(self._group, person)

    def _look(self) -> None:
        chat_id = self._user.id if self._group is None else self._group.id
        self._screen.look(self._user.id, chat_id, self._topic)

    def _show_exceptions(self) -> None:
        while self._exceptions:
            lines = explain(self._exceptions.pop(0))
            self._screen.write(*(f"! {line}" for line in lines))


def _parse_id(text: str, usage: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"write it like this: {usage}") from None


def _choose(message: SentMessage, choice: str) -> str:
    """The `callback_data` or label that is meant, if the choice is a button's number."""
    buttons = message.buttons
    names = {button.get(name) for button in buttons for name in ("callback_data", "text")}
    if choice in names or not choice.isdecimal() or not 0 < int(choice) <= len(buttons):
        return choice
    button = buttons[int(choice) - 1]
    return str(button.get("callback_data", button["text"]))
