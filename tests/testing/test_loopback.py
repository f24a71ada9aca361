"""Nothing leaves the loopback interface: neither what bots do, nor this suite."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
import types as python_types
from typing import TYPE_CHECKING, Any

import pytest
import requests
from telebot import TeleBot, apihelper, types, util

from support.loopback import LeftLoopbackError, take_refused
from support.processes import TESTS, run_program
from support.threads import start
from telesession.testing import BotAPI, Call, run_polling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = "77:secret"
# In a network for documentation: https://www.rfc-editor.org/rfc/rfc5737.
FAR = "192.0.2.1"
FAR_PROXY = f"http://{FAR}:3128"
FAR_URL = f"https://{FAR}/hook"


# Uses gevent, which may be imported and patch the library before or after the guard.
GREENLETS = """
import contextlib, socket
{first}
{then}
import gevent.socket
from support.loopback import LeftLoopbackError, take_refused

for act, host in [
    (lambda host: gevent.socket.socket().connect((host, 80)), "192.0.2.1"),
    (lambda host: socket.socket().connect_ex((host, 80)), "192.0.2.2"),
    (gevent.socket.gethostbyname, "example.org"),
]:
    with contextlib.suppress(LeftLoopbackError):
        act(host)
print(*take_refused(), sep="\\n")
"""
PATCH = "from gevent import monkey; monkey.patch_all()"
GUARD = "import support"


def connect(host: str) -> None:
    with socket.socket() as connection:
        connection.connect((host, 80))


def try_to_connect(host: str) -> None:
    with socket.socket() as connection:
        connection.connect_ex((host, 80))


def connect_by_tls(host: str) -> None:
    with ssl.create_default_context().wrap_socket(socket.socket(), server_hostname=host) as secure:
        secure.connect((host, 443))


def send(host: str, *flags: int) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hi", *flags, (host, 53))


def send_parts(host: str) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendmsg([b"hi"], [], 0, (host, 53))


class TestGuard:
    @pytest.mark.parametrize(
        ("act", "event"),
        [
            (connect, "socket.connect"),
            (try_to_connect, "socket.connect_ex"),
            (connect_by_tls, "socket.connect"),
            (send, "socket.sendto"),
            (lambda host: send(host, 0), "socket.sendto"),
            (send_parts, "socket.sendmsg"),
        ],
        ids=["connect", "connect_ex", "tls", "sendto", "sendto with flags", "sendmsg"],
    )
    def test_other_addresses_are_refused(self, act: Callable[[str], None], event: str) -> None:
        """A connection or a packet to another machine raises an error that names it."""
        with pytest.raises(LeftLoopbackError) as caught:
            act(FAR)
        expected = f"{event} to {FAR} was refused: tests stay on the loopback interface"
        assert (expected, [f"{event} to {FAR}"]) == (str(caught.value), take_refused())

    @pytest.mark.parametrize(
        ("look_up", "event"),
        [
            (lambda host: socket.create_connection((host, 443)), "socket.getaddrinfo"),
            (lambda host: socket.getaddrinfo(host=host, port=443), "socket.getaddrinfo"),
            (socket.gethostbyname, "socket.gethostbyname"),
            (socket.gethostbyname_ex, "socket.gethostbyname_ex"),
            (socket.gethostbyaddr, "socket.gethostbyaddr"),
            (lambda host: socket.getnameinfo((host, 443), 0), "socket.getnameinfo"),
        ],
        ids=["connection", "keyword", "name", "names", "address", "information"],
    )
    @pytest.mark.parametrize("host", [FAR, "2001:db8::1", "example.org", "127.example.org"])
    def test_other_names_are_refused(
        self, look_up: Callable[[str], object], event: str, host: str
    ) -> None:
        """A look-up of the name or the address of another machine raises such an error too."""
        with pytest.raises(LeftLoopbackError, match=re.escape(f"{event} to {host} was refused")):
            look_up(host)
        assert [f"{event} to {host}"] == take_refused()

    def test_the_real_telegram_is_refused(self) -> None:
        """Control: a bot without a `BotAPI` asks for the address of the real server."""
        with pytest.raises(LeftLoopbackError, match=r"to api\.telegram\.org was refused"):
            TeleBot(TOKEN, threaded=False).get_me()
        assert ["socket.getaddrinfo to api.telegram.org"] == take_refused()

    def test_an_error_that_is_swallowed_is_known(self) -> None:
        """A refusal in a thread that hides it fails the test, because it is written down."""

        def hide() -> None:
            with contextlib.suppress(LeftLoopbackError):
                connect(FAR)

        start(hide).join()
        assert ([f"socket.connect to {FAR}"], []) == (take_refused(), take_refused())

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", None])
    def test_the_loopback_is_free(self, host: str | None) -> None:
        """Names and addresses of this machine are looked up as ever."""
        kinds = {family for family, *_ in socket.getaddrinfo(host, 80)}
        assert kinds <= {socket.AF_INET, socket.AF_INET6}
        assert [] == take_refused()

    def test_a_unix_socket_is_free(self, tmp_path: Path) -> None:
        """A path is no address of another machine."""
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(path)
            server.listen()
            client.connect(path)
            assert path == client.getpeername()

    def test_messages_without_an_address_are_free(self) -> None:
        """A socket that is connected sends without an address."""
        near, far = socket.socketpair()
        with near, far:
            near.sendmsg([b"he", b"llo"])
            assert b"hello" == far.recv(5)

    @pytest.mark.parametrize(
        ("first", "then"), [(GUARD, PATCH), (PATCH, GUARD), (GUARD, "")], ids=str
    )
    def test_greenlets_are_guarded(self, first: str, then: str) -> None:
        """The sockets and the look-ups of gevent are guarded too."""
        program = GREENLETS.format(first=first, then=then)
        code, printed, _ = run_program([sys.executable, "-W", "ignore", "-c", program], TESTS)
        found = re.findall(
            r"^socket\.(?:connect|connect_ex|gethostbyname) to (.+)$", printed, re.MULTILINE
        )
        assert (0, ["192.0.2.1", "192.0.2.2", "example.org"]) == (code, found)

    def test_the_guard_is_no_audit_hook(self) -> None:
        """No audit hook is added: with one, coverage could not trace threads that begin at once."""
        program = "import sys; sys.addaudithook = print; import support"
        assert (0, "", "") == run_program([sys.executable, "-c", program], TESTS)

    def test_the_processes_of_tests_are_guarded(self) -> None:
        """A process that imports a tool of the tests is guarded too."""
        program = f"import support.processes, socket; socket.gethostbyname('{FAR}')"
        code, _, complaints = run_program([sys.executable, "-c", program], TESTS)
        assert (1, True) == (code, f"socket.gethostbyname to {FAR} was refused" in complaints)


def use(bot: TeleBot, api: BotAPI) -> tuple[str, bytes]:
    """Call a method, and download a file; return the text of the message and the content."""
    api.put_file("photo", b"a picture")
    sent = bot.send_message(1, "hi")
    assert sent.text is not None
    path = bot.get_file("photo").file_path
    assert path is not None
    return sent.text, bot.download_file(path)


USED = ("hi", b"a picture")


@pytest.fixture
def fresh_thread() -> Callable[[Callable[[], Any]], Any]:
    """Runs a function in a new thread, where telebot has no session of requests yet."""

    def run(function: Callable[[], Any]) -> Any:
        results: list[Any] = []
        start(lambda: results.append(function())).join()
        return results[0]

    return run


class TestProxies:
    @pytest.mark.parametrize("no_proxy", ["", "example.org"])
    @pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
    def test_a_proxy_of_the_environment(
        self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch, name: str, no_proxy: str
    ) -> None:
        """A proxy in the environment is not asked, and none has to be excepted."""
        monkeypatch.setenv(name, FAR_PROXY)
        monkeypatch.setenv("NO_PROXY", no_proxy)
        assert USED == use(TeleBot(TOKEN, threaded=False), bot_api)

    @pytest.mark.parametrize("scheme", ["http", "all"])
    def test_a_proxy_of_a_session(
        self,
        bot_api: BotAPI,
        monkeypatch: pytest.MonkeyPatch,
        fresh_thread: Callable[[Callable[[], Any]], Any],
        scheme: str,
    ) -> None:
        """A bot with an `apihelper.session` that has a proxy does not use the proxy."""
        with requests.Session() as session:
            session.proxies = {scheme: FAR_PROXY}
            monkeypatch.setattr(apihelper, "session", session)
            assert USED == fresh_thread(lambda: use(TeleBot(TOKEN, threaded=False), bot_api))

    def test_a_proxy_of_the_bot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy that the bot has set before is not asked until the server is closed."""
        monkeypatch.setattr(apihelper, "proxy", {"http": FAR_PROXY, "https": FAR_PROXY})
        with BotAPI() as api:
            assert USED == use(TeleBot(TOKEN, threaded=False), api)
        assert {"http": FAR_PROXY, "https": FAR_PROXY} == apihelper.proxy

    def test_a_netrc_file(
        self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A password that requests adds for any host changes nothing."""
        netrc = tmp_path / "netrc"
        netrc.write_text("default login ada password secret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        assert USED == use(TeleBot(TOKEN, threaded=False), bot_api)


class TestSettings:
    @pytest.mark.parametrize("seconds", [0, 600, None])
    def test_sessions_of_requests_that_are_kept(
        self, monkeypatch: pytest.MonkeyPatch, seconds: int | None
    ) -> None:
        """A session that telebot keeps for a thread goes to the server that runs now."""
        monkeypatch.setattr(apihelper, "SESSION_TIME_TO_LIVE", seconds)
        bot = TeleBot(TOKEN, threaded=False)
        for _ in range(2):
            with BotAPI() as api:
                assert USED == use(bot, api)
                assert ["sendMessage", "getFile"] == [call.method for call in api.calls]

    @pytest.mark.parametrize("engine", [1, 2])
    def test_retries(self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch, engine: int) -> None:
        """Both ways in which telebot repeats a call go to the loopback."""
        monkeypatch.setattr(apihelper, "RETRY_ON_ERROR", True)
        monkeypatch.setattr(apihelper, "RETRY_ENGINE", engine)
        assert USED == use(TeleBot(TOKEN, threaded=False), bot_api)

    def test_a_request_sender_of_the_bot(
        self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A `CUSTOM_REQUEST_SENDER` gets the url of the server, and proxies that are none."""
        urls: list[str] = []

        def send(method: str, url: str, **options: Any) -> Any:
            urls.append(url)
            return requests.request(method, url, **options)

        monkeypatch.setattr(apihelper, "CUSTOM_REQUEST_SENDER", send)
        monkeypatch.setenv("HTTP_PROXY", FAR_PROXY)
        assert USED == use(TeleBot(TOKEN, threaded=False), bot_api)
        expected = [bot_api.url.format(TOKEN, name) for name in ("sendMessage", "getFile")]
        assert expected == urls

    def test_the_url_of_a_file(self, bot_api: BotAPI) -> None:
        """The link that `get_file_url` makes is one of the server, and gives the file."""
        bot_api.put_file("photo", b"a picture")
        url = TeleBot(TOKEN, threaded=False).get_file_url("photo")
        with requests.get(url, timeout=10) as response:
            assert ("http://127.0.0.1:", b"a picture") == (url[:17], response.content)


class TestUrls:
    def test_media_by_url_is_not_downloaded(self, bot_api: BotAPI) -> None:
        """A url that Telegram would download is taken as it is."""
        bot = TeleBot(TOKEN, threaded=False)
        media = types.InputMediaPhoto(FAR_URL, caption="new")
        sent = bot.send_photo(1, FAR_URL, caption="old")
        bot.edit_message_media(media, 1, sent.message_id)
        bot.send_document(1, FAR_URL)
        assert [FAR_URL, FAR_URL] == [
            bot_api.calls_of("sendPhoto")[0].params["photo"],
            bot_api.calls_of("sendDocument")[0].params["document"],
        ]

    def test_links_are_not_followed(self, bot_api: BotAPI) -> None:
        """Buttons, previews and inline results may have any url."""
        bot = TeleBot(TOKEN, threaded=False)
        preview = types.LinkPreviewOptions(url=FAR_URL)
        button = types.InlineKeyboardButton("more", url=FAR_URL)
        markup = util.quick_markup({"more": {"url": FAR_URL}})
        bot.send_message(1, FAR_URL, link_preview_options=preview, reply_markup=markup)
        assert [{"text": "more", "url": button.url}] == bot_api.messages[0].buttons
        [query] = bot.get_updates() if bot_api.user(1).inline("tea") else []
        photo = types.InlineQueryResultPhoto("1", FAR_URL, FAR_URL)
        assert query.inline_query is not None
        assert bot.answer_inline_query(query.inline_query.id, [photo])


class TestWebhooks:
    @pytest.mark.parametrize(
        ("url", "host"),
        [
            (FAR_URL, FAR),
            ("https://bot.example.org/hook", "bot.example.org"),
            ("http://localhost.example.org/", "localhost.example.org"),
            ("http://[2001:db8::1]/", "2001:db8::1"),
            (f"http://localhost@{FAR}/", FAR),
        ],
    )
    def test_nothing_is_posted_to_another_machine(
        self, bot_api: BotAPI, url: str, host: str
    ) -> None:
        """A bot that sets its real webhook gets no update there, and is told why."""
        bot = TeleBot(TOKEN, threaded=False)
        assert bot.set_webhook(url, secret_token="secret")
        bot_api.user(1).send("hi")
        expected = f"Connection refused: {host} is not on the loopback interface"
        bot_api.wait_for(lambda: _webhook_error(bot_api))
        info = bot.get_webhook_info()
        assert (url, 1, expected) == (info.url, info.pending_update_count, info.last_error_message)

    def test_telebots_own_web_server(
        self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`run_webhooks` of telebot, whose server is left out here, is told so too."""
        module: Any = python_types.ModuleType("telebot.ext.sync")
        module.SyncWebhookListener = lambda **_: python_types.SimpleNamespace(run_app=lambda: None)
        monkeypatch.setitem(sys.modules, "telebot.ext.sync", module)
        TeleBot(TOKEN, threaded=False).run_webhooks(webhook_url=FAR_URL)
        bot_api.user(1).send("hi")
        expected = f"Connection refused: {FAR} is not on the loopback interface"
        assert expected == bot_api.wait_for(lambda: _webhook_error(bot_api))


def _webhook_error(api: BotAPI) -> str:
    """The `last_error_message` of the webhook, or nothing."""
    info = api.answer(Call("getWebhookInfo"))
    return str(info.get("last_error_message", ""))


class TestPolling:
    def test_a_bot_that_polls_another_server_is_refused(
        self, bot_api: BotAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A bot that sets an `API_URL` of its own after the start does not poll it in a test."""
        monkeypatch.setattr(apihelper, "API_URL", f"https://{FAR}/bot{{0}}/{{1}}")
        for api in (None, bot_api):
            with pytest.raises(RuntimeError, match="no loopback Bot API is running"):
                run_polling(TeleBot(TOKEN), api)

    def test_a_server_that_does_not_run_is_not_polled(self) -> None:
        """A `BotAPI` that was not started is no reason to poll the real server."""
        with pytest.raises(RuntimeError, match="no loopback Bot API is running"):
            run_polling(TeleBot(TOKEN), BotAPI())

    def test_a_server_that_telebot_does_not_talk_to_is_not_polled(self, bot_api: BotAPI) -> None:
        """A bot polls the server that was started last, so it cannot poll another one."""
        with BotAPI(), pytest.raises(RuntimeError, match="another BotAPI was started after it"):
            run_polling(TeleBot(TOKEN), bot_api)
