"""The HTTP side of the loopback Bot API: requests in, `Call` objects and answers out."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from telesession.testing.server.call import JSON, Call, File, RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

_JOIN_SECONDS = 30.0


class Server(ThreadingHTTPServer):
    """
    An HTTP server on a free loopback port, with one daemon thread for each connection.

    Args:
        answer: Called with each `Call`, in the thread of its connection; returns the `result` of
            the method or raises `RefusedError`.
        download: Called with the path of a file; returns its content or raises `RefusedError`.
    """

    request_queue_size = 128

    def __init__(self, answer: Callable[[Call], Any], download: Callable[[str], bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.download = download
        self._connections: dict[threading.Thread, Any] = {}
        self._closed = False
        self._acceptor = threading.Thread(target=self._accept, name="BotAPI", daemon=True)

    @property
    def url(self) -> str:
        """The URL of the server, such as `http://127.0.0.1:40001`."""
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        """Accept connections, in a thread."""
        self._acceptor.start()

    def stop(self) -> None:
        """Finish the answers that are being written, then close every connection and the port."""
        self._closed = True
        # serve_forever() notices shutdown() only with its next poll, which a last connection brings
        # at once.
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.server_port), _JOIN_SECONDS).close()
        self._acceptor.join(_JOIN_SECONDS)
        self.server_close()
        connections = dict(self._connections)
        for connection in connections.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for thread in connections:
            thread.join(_JOIN_SECONDS)

    def _accept(self) -> None:
        while not self._closed:
            self.handle_request()

    def server_bind(self) -> None:
        """Bind the port, without the slow look-up of the host's name that HTTPServer makes."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, and remember both until it ends."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._connections[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self._connections[threading.current_thread()]


class _Handler(BaseHTTPRequestHandler):
    """Reads requests to `/bot<token>/<method>` and to `/file/bot<token>/<path>`."""

    protocol_version = "HTTP/1.1"
    # Headers and body leave in one packet; in two, Nagle's algorithm delays each answer by 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Serve a connection; a client that went away is not an error."""
        with suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        """Write the rest of the answer, unless the client went away."""
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, *_: Any, **__: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Answer a call that has its parameters in the query or the body, or give a file."""
        server = cast("Server", self.server)
        try:
            if self.path.startswith("/file/bot"):
                path = unquote(urlsplit(self.path).path).removeprefix("/file/bot")
                self._write(
                    200, server.download(path.partition("/")[2]), "application/octet-stream"
                )
                return
            result = server.answer(self._read_call())
            status, answer = 200, {"ok": True, "result": result}
        except RefusedError as refusal:
            status, answer = refusal.code, refusal.as_answer()
        self._write(status, json.dumps(answer).encode(), "application/json")

    def do_POST(self) -> None:
        """Answer a call, as `do_GET`."""
        self.do_GET()

    def _read_call(self) -> Call:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        bot, _, method = unquote(url.path).removeprefix("/").partition("/")
        if not bot.startswith("bot") or not method:
            raise RefusedError(404, "Not Found")
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        params.update(_parse_body(self.headers.get("Content-Type") or "", body))
        return Call(method, params, bot.removeprefix("bot"))

    def _write(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _parse_body(content_type: str, body: bytes) -> JSON:
    """The parameters in a request body of any kind that the Bot API takes."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    if kind == "multipart/form-data":
        return _parse_multipart(content_type, body)
    if kind == "application/json":
        return _parse_json(body)
    return {}


def _parse_json(body: bytes) -> JSON:
    try:
        params = json.loads(body)
    except ValueError:
        params = None
    if not isinstance(params, dict):
        raise bad_request("can't parse JSON object")
    return params


def _parse_multipart(content_type: str, body: bytes) -> JSON:
    form = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    params: JSON = {}
    for part in form.walk():
        disposition = _disposition(part)
        name = disposition.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            file_name = disposition.get_filename()
            text = content.decode(errors="replace")
            params[name] = text if file_name is None else File(file_name, content)
    return params


def _disposition(part: Message) -> Message:
    """The Content-Disposition header of a part, with the UTF-8 that telebot writes into it."""
    raw = {name.lower(): value for name, value in part.raw_items()}.get("content-disposition", "")
    header = Message()
    header["content-disposition"] = (
        str(raw).encode("ascii", "surrogateescape").decode(errors="replace")
    )
    return header
