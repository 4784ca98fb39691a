"""The API's end of the link: it starts the supervisor, asks it, and starts another one should it die."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg

from local_postgres import LocalPostgresError
from neon_emulator import wire
from neon_emulator.child import END_SECONDS, Child
from neon_emulator.engine import EngineGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from neon_emulator.engine import Catalog, EndpointSpec, EndpointStatus, KnownCluster, Made, Point, Window

_log = logging.getLogger(__name__)
_PAUSE_SECONDS = 1.0
_CLOSED = "The emulator is being stopped."
_NOT_STARTED = "The emulator's supervisor did not start:"
_GONE = "The emulator's supervisor has ended before it answered, and a new one is starting: try again."
_BROKEN = "The link to the emulator's supervisor has failed, which the log tells of: start the emulator anew."


class Link:
    """The engine, in a process of its own.

    Args:
        home: the folder of the data, whose lock the caller holds.
        history_bytes: how much of a root branch's past is kept.
        throwaway: delete the folder when this process is gone, however it ends.

    Raises:
        EngineGone: where an earlier supervisor of the folder does not end.
    """

    def __init__(self, home: Path, *, history_bytes: int, throwaway: bool = False) -> None:
        """Start the supervisor."""
        self._home = home
        self._options = ["--history-bytes", str(history_bytes), *(["--throwaway"] if throwaway else [])]
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._next = 0
        self._gone: str | None = None  # why there will be no supervisor any more
        self._dead = False
        self._adopter: threading.Thread | None = None  # who alone may call `adopt`; None: anybody
        self._adopted = threading.Event()
        self._closing = threading.Event()
        self._adopt_again: Future[Callable[[], None]] = Future()
        self._start()
        self._watcher = threading.Thread(target=self._watch, name="link", daemon=True)
        self._watcher.start()

    def after_restart(self, adopt: Callable[[], None]) -> None:
        """Say what is called, in a thread of its own, when a new supervisor has taken the place of one that died.

        Args:
            adopt: it has to call :meth:`adopt`; where it fails, it is called again with another supervisor.
        """
        self._adopt_again.set_result(adopt)

    def close(self) -> None:
        """Let the supervisor stop everything, and wait until it has."""
        self._closing.set()
        with self._lock:
            child = self._child
        _hang_up(child)
        self._watcher.join(END_SECONDS)
        if self._watcher.is_alive():  # a server does not stop; the kernel tells those that do
            self._child.process.kill()
            self._watcher.join()

    def call(self, name: str, **arguments: object) -> Any:  # noqa: ANN401 - the methods below know
        """Ask, and wait for the answer."""
        while (future := self._send(name, arguments)) is None:
            # A new supervisor knows of nothing before it has taken over what is on record.
            if not self._adopted.wait(END_SECONDS):
                raise EngineGone(_GONE)
        return wire.CALLS[name].result.validate_python(future.result())

    def _send(self, name: str, arguments: Mapping[str, object]) -> Future[Any] | None:
        """Send a request, unless it has to wait until there is a supervisor that can be asked it."""
        with self._lock:
            if self._gone is not None:
                raise EngineGone(self._gone)
            if name == "adopt" and not self._may_adopt():
                raise EngineGone(_GONE)
            if name != "adopt" and not self._adopted.is_set():
                return None
            self._next += 1
            message = {"id": self._next, "call": name, "arguments": wire.CALLS[name].dump(arguments)}
            future = self._waiting[self._next] = Future()
            # Where it is gone, who watches it fails everything that waits.
            with suppress(OSError):
                self._child.link.sendall(wire.line(message))
            return future

    def _start(self) -> None:
        child = Child.start(self._home, self._options, self._closing)
        with self._lock:
            self._child, self._dead = child, False
        if self._closing.is_set():  # set meanwhile, by who has hung up on the one before
            _hang_up(child)

    def _watch(self) -> None:
        """Keep a supervisor; where that fails in a way that nobody has foreseen, let nobody wait for one."""
        try:
            self._keep_one()
        except Exception:  # noqa: BLE001 - whatever it is, those who wait would wait for ever
            _log.exception("The link to the supervisor has failed")
            self._give_up(_BROKEN)
            _hang_up(self._child)
            self._child.process.wait()

    def _keep_one(self) -> None:
        """Read what supervisors answer, and start another where one has died; the first has to start well."""
        while True:
            child = self._child
            self._read(child.link)
            child.process.wait()
            knew_all = self._adopted.is_set()
            if not knew_all and not self._adopt_again.done():
                self._give_up("\n".join([_NOT_STARTED, *child.last_words()]))
                return
            self._fail_all(_GONE)
            pause = 0.0 if knew_all else _PAUSE_SECONDS
            while not self._started_again(pause):
                if self._closing.is_set():
                    self._give_up(_CLOSED)
                    return
                pause = _PAUSE_SECONDS
            adopter = threading.Thread(target=self._take_over, args=(self._child,), daemon=True)
            with self._lock:
                self._adopter = adopter
            adopter.start()

    def _read(self, link: socket.socket) -> None:
        with link, suppress(OSError), link.makefile("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # else it was killed while it wrote
                    self._settle(json.loads(line))

    def _settle(self, answer: Mapping[str, Any]) -> None:
        error = wire.load_error(answer["error"]) if "error" in answer else None
        result = answer["result"] if error is None else None
        # Not before the answer is understood: who is forgotten is not told that the link has failed.
        with self._lock:
            future = self._waiting.pop(answer["id"])
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def _fail_all(self, reason: str) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._dead, self._adopter = True, threading.current_thread()
            self._adopted.clear()
        for future in waiting.values():
            future.set_exception(EngineGone(reason))

    def _give_up(self, reason: str) -> None:
        with self._lock:
            self._gone = reason
        self._fail_all(reason)
        self._adopted.set()  # those who wait for it learn the reason

    def _may_adopt(self) -> bool:
        # Who has begun with a supervisor that is gone meanwhile must not go on with the next.
        return not self._dead and self._adopter in {None, threading.current_thread()}

    def _started_again(self, pause: float) -> bool:
        if self._closing.wait(pause):
            return False
        try:
            self._start()
        except (EngineGone, LocalPostgresError, OSError) as error:
            _log.error("No supervisor can be started: %s", error)
            return False
        return True

    def _take_over(self, child: Child) -> None:
        try:
            self._adopt_again.result()()
        except Exception as error:  # noqa: BLE001 - whatever it is, only another supervisor can be asked again
            _log.error("A new supervisor could not take over what is on record: %s", error)
            _hang_up(child)

    # The engine's calls.

    def adopt(self, clusters: Sequence[KnownCluster], endpoints: Sequence[EndpointSpec]) -> None:
        """See `Engine`."""
        self.call("adopt", clusters=clusters, endpoints=endpoints)
        with self._lock:
            if self._may_adopt():  # else it has ended meanwhile, and another begins anew
                self._adopted.set()

    def new_cluster(self, *, owner: str, verifier: str, database: str) -> Made:
        """See `Engine`."""
        made: Made = self.call("new_cluster", owner=owner, verifier=verifier, database=database)
        return made

    def branch_cluster(
        self, source: str, *, at: Point | None = None, verifiers: Mapping[str, str] | None = None, history: bool = False
    ) -> Made:
        """See `Engine`."""
        made: Made = self.call("branch_cluster", source=source, at=at, verifiers=verifiers, history=history)
        return made

    def schema_cluster(self, source: str, *, at: Point | None = None) -> Made:
        """See `Engine`."""
        made: Made = self.call("schema_cluster", source=source, at=at)
        return made

    def delete_cluster(self, cluster: str) -> None:
        """See `Engine`."""
        self.call("delete_cluster", cluster=cluster)

    def prune_history(self, cluster: str, before: datetime) -> None:
        """See `Engine`."""
        self.call("prune_history", cluster=cluster, before=before)

    def window(self, cluster: str) -> Window:
        """See `Engine`."""
        window: Window = self.call("window", cluster=cluster)
        return window

    def catalog(self, cluster: str) -> Catalog:
        """See `Engine`."""
        catalog: Catalog = self.call("catalog", cluster=cluster)
        return catalog

    def dump_schema(self, cluster: str, database: str) -> str:
        """See `Engine`."""
        schema: str = self.call("dump_schema", cluster=cluster, database=database)
        return schema

    @contextmanager
    def session(self, cluster: str, database: str = "postgres") -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """See `Engine`."""
        token = secrets.token_hex(8)
        conninfo = self.call(wire.HOLD, cluster=cluster, database=database, token=token)
        try:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                yield connection
        finally:
            with suppress(EngineGone):  # the hold has ended with it
                self.call(wire.LET_GO, token=token)

    def open_endpoint(self, spec: EndpointSpec) -> int:
        """See `Engine`."""
        port: int = self.call("open_endpoint", spec=spec)
        return port

    def update_endpoint(self, spec: EndpointSpec) -> None:
        """See `Engine`."""
        self.call("update_endpoint", spec=spec)

    def close_endpoint(self, endpoint: str) -> None:
        """See `Engine`."""
        self.call("close_endpoint", endpoint=endpoint)

    def start_endpoint(self, endpoint: str) -> None:
        """See `Engine`."""
        self.call("start_endpoint", endpoint=endpoint)

    def suspend_endpoint(self, endpoint: str) -> None:
        """See `Engine`."""
        self.call("suspend_endpoint", endpoint=endpoint)

    def endpoints(self) -> dict[str, EndpointStatus]:
        """See `Engine`."""
        statuses: dict[str, EndpointStatus] = self.call("endpoints")
        return statuses

    def set_clock(self, offset: float) -> None:
        """See `Engine`."""
        self.call("set_clock", offset=offset)


def _hang_up(child: Child) -> None:
    with suppress(OSError):  # it may have ended by itself
        child.link.shutdown(socket.SHUT_RDWR)
