"""The webhook of a bot: updates are posted to it instead of waiting for `getUpdates`."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from telesession.testing.server.call import JSON, Call, bad_request

if TYPE_CHECKING:
    from telesession.testing.server.updates import Updates

_POST_SECONDS = 60.0
_RETRY_SECONDS = 0.05
_SUCCESS = range(200, 300)
_CONNECTIONS = 40
_MAX_CONNECTIONS = 100


class Webhook:
    """
    Posts the updates of one `BotAPI` to the url that the bot has set, one by one and in order.

    An update counts as confirmed when the bot answered with a 2xx status; any other outcome is
    noted for `getWebhookInfo`, and the same update is posted again soon. Nothing is posted to a url
    that is not on the loopback interface: a test would send its updates to a bot at work.

    Args:
        updates: The queue to take the updates from.
        changed: The condition of the `BotAPI`; held while a public method runs.
    """

    def __init__(self, updates: Updates, changed: threading.Condition) -> None:
        self._updates = updates
        self._changed = changed
        self._url = ""
        self._headers: dict[str, str] = {}
        # The fields of the `WebhookInfo` that the bot has set.
        self._options: JSON = {}
        self._failure: JSON = {}
        self._closed = False
        self._thread: threading.Thread | None = None

    def set(self, call: Call) -> bool:
        """Answer `setWebhook`, see https://core.telegram.org/bots/api#setwebhook."""
        url = str(call.params.get("url", ""))
        parts = urlsplit(url)
        if url and not (parts.scheme in {"http", "https"} and parts.hostname):
            raise bad_request("bad webhook: invalid webhook URL specified")
        self._updates.allow(call)
        self._headers = {"Content-Type": "application/json"}
        if secret := call.params.get("secret_token"):
            self._headers["X-Telegram-Bot-Api-Secret-Token"] = str(secret)
        return self._switch(url, call, _options_of(call) if url else {})

    def delete(self, call: Call) -> bool:
        """Answer `deleteWebhook`, see https://core.telegram.org/bots/api#deletewebhook."""
        return self._switch("", call, {})

    def info(self, _: Call) -> JSON:
        """Answer `getWebhookInfo`, see https://core.telegram.org/bots/api#webhookinfo."""
        allowed = self._updates.allowed
        return {
            "url": self._url,
            "has_custom_certificate": False,
            "pending_update_count": len(self._updates.pending),
            **self._options,
            **({"allowed_updates": allowed} if allowed else {}),
            **self._failure,
        }

    def start(self) -> None:
        """Post updates, if a url is set, until `close`."""
        with self._changed:
            self._closed = False
            self._run()

    def close(self) -> None:
        """Stop posting; not to be called under the condition, because a post may be under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_POST_SECONDS)

    def _switch(self, url: str, call: Call, options: JSON) -> bool:
        if call.flag("drop_pending_updates"):
            self._updates.drop_all()
        self._url = url
        self._options = options
        self._failure = {}
        self._updates.paused = bool(url)
        self._changed.notify_all()
        self._run()
        return True

    def _run(self) -> None:
        """Start the thread that posts, if there is a url and no such thread."""
        if self._url and self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._deliver, name="Webhook", daemon=True)
            self._thread.start()

    def _deliver(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or (self._url and self._updates.pending)
                )
                if self._closed:
                    return
                url, headers, update = self._url, self._headers, self._updates.pending[0]
            failure = _post(url, headers, update)
            with self._changed:
                if failure is None:
                    self._updates.confirm(update)
                else:
                    now = int(time.time())
                    self._failure = {"last_error_date": now, "last_error_message": failure}
                    self._changed.notify_all()
                    self._changed.wait(_RETRY_SECONDS)


def _options_of(call: Call) -> JSON:
    """The fields of the `WebhookInfo` that a call of `setWebhook` sets."""
    asked = call.integer("max_connections") or _CONNECTIONS
    options: JSON = {"max_connections": min(max(asked, 1), _MAX_CONNECTIONS)}
    if address := call.params.get("ip_address"):
        options["ip_address"] = str(address)
    return options


def _post(url: str, headers: dict[str, str], update: JSON) -> str | None:
    """Post an update; the reason if that failed, else `None`."""
    parts = urlsplit(url)
    if not _is_loopback(parts.hostname or ""):
        return f"Connection refused: {parts.hostname} is not on the loopback interface"
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    try:
        with closing(kind(parts.netloc, timeout=_POST_SECONDS)) as connection:
            connection.request("POST", target, json.dumps(update), headers)
            response = connection.getresponse()
            response.read()
    except (OSError, HTTPException) as error:
        return f"Connection failed: {error}"
    return None if response.status in _SUCCESS else f"Wrong response: {response.status}"


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine: `localhost`, or a loopback address in digits."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
