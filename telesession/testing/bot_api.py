"""A small Telegram Bot API server on the loopback interface for tests without a network."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from telebot import apihelper

from telesession.testing.people.channels import Channel
from telesession.testing.people.chats import BusinessChat, DirectMessages, Group
from telesession.testing.people.users import User
from telesession.testing.server.call import Call, RefusedError
from telesession.testing.server.faults import Faults, failure_of
from telesession.testing.server.http import Server
from telesession.testing.telegram.directory import bot_user
from telesession.testing.telegram.telegram import Telegram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.history import Messages

#: For requests: they use neither a proxy of the environment nor one of an `apihelper.session`.
_NO_PROXY = {"no_proxy": "127.0.0.1", "http://127.0.0.1": ""}


class BotAPI(Telegram):
    """
    A Telegram Bot API server on a free loopback port, which every bot of this process talks to.

    From `start` to `close` telebot's `apihelper.API_URL` and `FILE_URL` point here (and
    `apihelper.proxy` keeps loopback requests off any proxy). After `close` all three have their
    former values. Stop the bots before closing it: a bot that is still polling would go on with the
    real Telegram. Keep one for a test. Threads may share it. An `AsyncTeleBot` does not talk to it.

    The server has one bot: the one that polls gets the updates, with any token. It answers every
    method of telebot, and keeps the results: messages, polls, payments, members and so on. It
    refuses a method that it does not know; see `answer_with`. Subclasses may override `answer` to
    do more.

    `url` is the value of `apihelper.API_URL` for bots in other processes. It is empty before
    `start`.

    Args:
        last_update_id: The number before the first update. A bot with an inbox recognises updates
            by their numbers, also those of an earlier `BotAPI`.
        last_message_id: The number before the first message of each chat. A bot that keeps its
            questions in a file recognises their messages by these numbers.
    """

    def __init__(self, *, last_update_id: int = 0, last_message_id: int = 0) -> None:
        self.url = ""
        super().__init__(last_update_id, last_message_id)
        self._faults = Faults(self._changed)
        self._server: Server | None = None
        self._former: tuple[Any, Any, Any] = (None, None, None)

    @staticmethod
    def running() -> BotAPI:
        """
        The server that telebot talks to now.

        Raises `RuntimeError` if there is none.
        """
        api: BotAPI | None = getattr(apihelper.API_URL, "api", None)
        if api is None:
            raise RuntimeError(
                "no loopback Bot API is running, and this would reach the real Telegram: "
                "give the test the fixture bot_api, or put it into a `with BotAPI() as api:` block"
            )
        return api

    def start(self) -> Self:
        """Start the server, unless it runs, and point telebot at it. Returns the server itself."""
        if self._server is not None:
            return self
        self._server = Server(self._receive, self._download)
        self._server.start()
        self.url = f"{self._server.url}/bot{{0}}/{{1}}"
        self._former = apihelper.API_URL, apihelper.FILE_URL, apihelper.proxy
        apihelper.API_URL = _Address(self.url, self)  # type: ignore[assignment]
        # Else a download would go to the real server, with the token in its URL.
        apihelper.FILE_URL = f"{self._server.url}/file/bot{{0}}/{{1}}"  # type: ignore[assignment]
        apihelper.proxy = _NO_PROXY  # type: ignore[assignment]
        self._updates.is_closed = False
        self._webhook.start()
        return self

    def close(self) -> None:
        """
        Stop the server and point telebot where it pointed before; may be repeated.

        Polls that wait are answered at once. Until the server is started again, each act of a user
        raises `RuntimeError`. If another server was started later, telebot continues with that one.
        """
        if self._server is None:
            return
        with self.short_polls(), self._faults.ended_waits():
            # Only now: a handler that is posted to may wait in a call that is held.
            self._webhook.close()
            self._server.stop()
        self._server = None
        self._updates.is_closed = True
        later: BotAPI | None = self._started_next()
        if later is None:
            apihelper.API_URL, apihelper.FILE_URL, apihelper.proxy = self._former
        else:
            later._former = self._former

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def user(self, user_id: int, **profile: Any) -> User:
        """A person who writes to the bot, see `User`."""
        return User(self, user_id, **profile)

    def group(
        self,
        chat_id: int,
        *,
        title: str | None = None,
        username: str | None = None,
        forum: bool = False,
        topics: Iterable[int] = (),
        owner: User | None = None,
    ) -> Group:
        """
        A group that the bot is in, as an administrator with all rights.

        Args:
            chat_id: Its id, a negative number; supergroups start with `-100`.
            title: Its title, by default made up from the id.
            username: The name without `@` of a public group, whose members pin nothing.
            forum: Whether it has topics.
            topics: The ids of topics that a forum has already; users and the bot make others.
            owner: The user who has made it, its member with the status `creator`.

        Raises `ValueError` if the id is not a negative number.
        """
        _require_negative(chat_id, "group")
        chat = self.chat(chat_id)
        if title is not None:
            chat["title"] = title
        if username is not None:
            chat["username"] = username
        if forum:
            chat.update(type="supergroup", is_forum=True)
        self.add_chat(chat)
        self.community.put_topics(chat_id, topics)
        if owner is not None:
            self.community.put_owner(chat_id, owner.json)
        return Group(chat_id, self)

    def channel(self, chat_id: int, *, title: str = "News", username: str | None = None) -> Channel:
        """
        A channel that the bot administers, and whose posts it gets; see `Channel`.

        Args:
            chat_id: Its id, which starts with `-100`.
            title: Its title.
            username: Its public name, without `@`.

        Raises `ValueError` if the id is not a negative number.
        """
        _require_negative(chat_id, "channel")
        public = {} if username is None else {"username": username}
        self.add_chat({"id": chat_id, "type": "channel", "title": title, **public})
        return Channel(self, chat_id)

    def direct_messages(self, chat_id: int, *, title: str = "News") -> DirectMessages:
        """
        The direct messages of a channel that the bot administers.

        Args:
            chat_id: The id of the chat with them, which differs from that of the channel.
            title: The title of the channel.

        Raises `ValueError` if the id is not a negative number.
        """
        _require_negative(chat_id, "chat with direct messages")
        kind = {"type": "supergroup", "is_direct_messages": True}
        self.add_chat({"id": chat_id, "title": title, **kind})
        return DirectMessages(chat_id, self)

    def business_chat(
        self, customer: User, *, owner: User | None = None, connection_id: str = "business-1"
    ) -> BusinessChat:
        """
        The chat of a customer with a business account that the bot answers for.

        Both write in it with `chat=`, and the bot gets `business_message` updates.

        Args:
            customer: The user who writes to the business account.
            owner: The owner of the account, by default a made-up one.
            connection_id: The id of the business connection, one for each account.
        """
        with self._changed:
            if owner is not None:
                self._directory.add_owner(connection_id, owner.json)
            self._directory.add_connection(connection_id)
            known = self._directory.owner(connection_id)
        return BusinessChat(customer.id, self, connection_id, known)

    def fail_next(
        self,
        method: str,
        code: int | None,
        *,
        description: str | None = None,
        retry_after: int = 1,
        migrate_to_chat_id: int | None = None,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """
        Refuse the next calls of a method, or break their connections.

        Args:
            method: The method's name, such as `"sendMessage"`.
            code: The error code: 429 for too many requests, 403 for a user who blocked the bot.
                `None` breaks the connection, and the bot gets no answer.
            description: The error's description, by default as Telegram words it for the code.
            retry_after: Seconds to wait that the error asks for, with code 429 only.
            migrate_to_chat_id: The id of the supergroup that a group has become, with code 400.
            times: How many calls to refuse.
            after: Whether the call is executed first: the message is sent, and only the answer is
                lost. A bot that tries again sends it twice.

        Raises `ValueError` if the server has no such method.
        """
        self._methods.check(method)
        failure = failure_of(code, description, retry_after, migrate_to_chat_id)
        self._faults.fail(method, failure, times, after=after)

    def delay_next(self, method: str, seconds: float, *, times: int = 1) -> None:
        """
        Let the next calls of a method take longer; `holding` is the same without a clock.

        Args:
            method: The method's name, such as `"sendMessage"`.
            seconds: Real seconds before a call is executed, even while the clock is frozen. A bot
                whose time-out is shorter does not see the answer.
            times: How many calls take longer.

        Raises `ValueError` if the server has no such method.
        """
        self._methods.check(method)
        self._faults.delay(method, seconds, times)

    def holding(self, method: str) -> AbstractContextManager[None]:
        """
        A `with` block in which each call of a method waits until the block ends.

        `calls_of` has the calls that wait, too, so `wait_for` can wait for one. Calls of other
        methods are answered.

        Args:
            method: The method's name, such as `"sendMessage"`.

        Raises `ValueError` if the server has no such method.
        """
        self._methods.check(method)
        return self._faults.holding(method)

    def redeliver(self, update: JSON) -> None:
        """
        Deliver an update once more, with the same `update_id`, as Telegram does now and then.

        It comes after all updates that wait.

        Args:
            update: The update that `push` or a call of `User` has returned, or one of `updates`.

        Raises `ValueError` if none of `updates` has its `update_id`.
        """
        with self._changed:
            self._updates.redeliver(update)

    def lose_confirmations(self, times: int = 1) -> None:
        """
        Lose the next confirmations of updates, so the bot gets these updates again.

        A bot that polls confirms updates by the `offset` of its next poll, and one with a webhook
        confirms each update by a 2xx status.

        Args:
            times: How many confirmations are lost.
        """
        with self._changed:
            self._updates.lose_confirmations(times)

    def batch(
        self, *, order: Callable[[list[JSON]], Iterable[JSON]] = list
    ) -> AbstractContextManager[None]:
        """
        A `with` block whose updates are delivered together at its end, so that one poll gets all.

        They are the updates of its thread, and those of other threads that are in no such block of
        their own. If the block raises, they are dropped.

        Args:
            order: Gets the updates in their order, and gives them in the order of delivery, such as
                `reversed`. Telegram promises no order for a webhook.
        """
        return self._updates.batch(order)

    def wait_for(
        self, predicate: Callable[[], Any], timeout: float | None = 10, *, what: str = "it"
    ) -> Any:
        """
        Wait until a predicate is true, and return its result.

        Args:
            predicate: Called at once and then after each call of a bot, each update and each
                `notify`, while the server stands still. It may look at anything, but must not
                wait itself.
            timeout: Real seconds to wait at most, even while the clock is frozen; `None` waits
                for ever.
            what: The event, as the error message names it.

        Raises `TimeoutError` with the calls of the bot and the conversation so far.
        """
        with self._changed:
            result = self._changed.wait_for(predicate, timeout)
            if not result:
                raise TimeoutError(
                    f"waited {timeout:g} s for {what} without success: {self._summary()}"
                )
            return result

    def wait_for_messages(self, count: int, timeout: float | None = 10) -> Messages:
        """
        Wait until the bot has sent a number of messages, and return all that it has sent.

        Raises `TimeoutError` after `timeout` real seconds, with the messages that it had sent.
        """
        self.wait_for(
            lambda: len(self._history.sent) >= count, timeout, what=f"{count} messages of the bot"
        )
        return self.messages

    def wait_until_confirmed(self, timeout: float | None = 10) -> None:
        """
        Wait until the bot has confirmed every update, by asking for later ones.

        A bot without threads has then handled them all; for others see `Polling.wait_idle`.
        Raises `TimeoutError` after `timeout` real seconds.
        """
        self.wait_for(lambda: not self._updates.pending, timeout, what="updates to be confirmed")

    def short_polls(self) -> AbstractContextManager[None]:
        """A `with` block in which `getUpdates` never waits; entering it ends the waits."""
        return self._updates.short()

    def _started_next(self) -> BotAPI | None:
        """The server that was started after this one and runs, if there is one."""
        later: BotAPI | None = getattr(apihelper.API_URL, "api", None)
        while later is not None:
            former: BotAPI | None = getattr(later._former[0], "api", None)
            if former is self:
                return later
            later = former
        return None

    def _download(self, path: str) -> bytes:
        with self._changed:
            return self._files.download(path)

    def _receive(self, call: Call) -> Any:
        with self._changed:
            self._calls.append(call)
            self._queries.close(call)
            self._directory.bot = bot_user(call.token)
            self._changed.notify_all()
            try:
                return self._faults.answer(call, self.answer)
            except RefusedError as refusal:
                self._transcript.add_refusal(call, refusal)
                raise
            finally:
                self._changed.notify_all()

    def _summary(self) -> str:
        calls = Counter(call.method for call in self._calls)
        return (
            f"the bot has called {dict(calls)}, and left {len(self._updates.pending)} updates "
            f"unconfirmed; the conversation:\n{self._transcript.text() or '(nothing yet)'}"
        )


def _require_negative(chat_id: int, chat: str) -> None:
    if chat_id >= 0:
        raise ValueError(f"{chat} {chat_id}: its id is a negative number")


class _Address(str):
    """The url of a `BotAPI`, which knows its server."""

    api: BotAPI

    def __new__(cls, url: str, api: BotAPI) -> Self:
        address = super().__new__(cls, url)
        address.api = api
        return address
