"""A web server of a bot, to which updates are posted."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Self

from support.clocks import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable


class Receiver:
    """
    A bot's web server: keeps what is posted to it, and answers with the given statuses.

    Args:
        statuses: The first statuses; 200 follows.
        take: Called with the body of each request, before the answer.
    """

    def __init__(self, *statuses: int, take: Callable[[bytes], object] = bool) -> None:
        self.requests: queue.Queue[Any] = queue.Queue()
        answers = iter(statuses)
        requests_ = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(raw)
                take(raw)
                secret = self.headers["X-Telegram-Bot-Api-Secret-Token"]
                self.send_response_only(next(answers, 200))
                self.send_header("Content-Length", "0")
                self.end_headers()
                requests_.put((self.path, secret, body["update_id"], body["message"]["text"]))

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?a=b"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def get(self) -> Any:
        return self.requests.get(timeout=PATIENCE)
