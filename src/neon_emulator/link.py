"""The API's end of the link: it starts the supervisor, asks it, and starts another one should it die."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from local_postgres import locks
from local_postgres.account import clean_environment
from neon_emulator import wire
from neon_emulator.engine import EngineGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from neon_emulator.engine import Catalog, EndpointSpec, EndpointStatus, KnownCluster, Made, Point, Window

LOCK = "supervisor.lock"
_POLL_SECONDS = 0.02
_END_SECONDS = 90.0
_GONE = "The emulator's supervisor has ended before it answered, and a new one is starting: try again."


class Link:
    """The engine, in a process of its own.

    Args:
        home: the folder of the data, whose lock the caller holds.
        history_bytes: how much of a root branch's past is kept.
        throwaway: delete the folder when this process is gone, however it ends.
        on_restart: called, in a thread of its own, when a new supervisor has taken the place of one that died; it has
            to call :meth:`adopt`.

    Raises:
        EngineGone: where an earlier supervisor of the folder does not end, or the new one does not start.
    """

    def __init__(self, home: Path, *, history_bytes: int, throwaway: bool = False) -> None:
        """Start the supervisor."""
        self._home = home
        self._options = ["--history-bytes", str(history_bytes), *(["--throwaway"] if throwaway else [])]
        self._log = home / "supervisor.log"
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._next = 0
        self._closing = False
        self.on_restart: Callable[[], None] | None = None
        self._adopted = threading.Event()
        self._start()

    def close(self) -> None:
        """Let the supervisor stop everything, and wait until it has."""
        self._closing = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._process.wait(_END_SECONDS)
        self._reader.join()

    def call(self, name: str, **arguments: object) -> Any:  # noqa: ANN401 - the methods below know
        """Ask, and wait for the answer."""
        # A new supervisor knows of nothing before it has taken over what is on record.
        if name != "adopt" and not self._adopted.wait(_END_SECONDS):
            raise EngineGone(_GONE)
        future: Future[Any] = Future()
        with self._lock:
            self._next += 1
            request = self._next
            self._waiting[request] = future
            message = {"id": request, "call": name, "arguments": wire.CALLS[name].dump(arguments)}
            try:
                self._socket.sendall(wire.line(message))
            except OSError:
                del self._waiting[request]
                raise EngineGone(_GONE) from None
        return wire.CALLS[name].result.validate_python(future.result())

    def _start(self) -> None:
        self._adopted.clear()
        lock = self._wait_for_lock()
        self._socket, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), lock)
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "neon_emulator.supervisor",
            "--home",
            self._home,
            "--link",
            str(descriptors[0]),
        ]
        try:
            with open(os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:  # noqa: PTH123
                self._process = subprocess.Popen(
                    [*command, *self._options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=_environment(),
                    pass_fds=descriptors,
                    start_new_session=True,
                )
        finally:
            theirs.close()
            os.close(lock)
        self._reader = threading.Thread(target=self._read, args=[self._socket], daemon=True)
        self._reader.start()

    def _wait_for_lock(self) -> int:
        """The lock that every supervisor of a folder holds: an earlier one may still be stopping its servers."""
        limit = time.monotonic() + _END_SECONDS
        while (lock := locks.try_lock(self._home / LOCK)) is None:
            if time.monotonic() > limit:
                raise EngineGone(f"An earlier supervisor of {self._home} does not end: see who holds {LOCK} in it.")
            time.sleep(_POLL_SECONDS)
        return lock

    def _read(self, link: socket.socket) -> None:
        try:
            with link.makefile("rb") as lines:
                for line in lines:
                    self._settle(json.loads(line))
        except OSError:
            pass  # it was killed while it wrote: the end as well
        link.close()
        self._process.wait()
        self._fail_all()
        if not self._closing:
            threading.Thread(target=self._restart, daemon=True).start()

    def _settle(self, answer: Mapping[str, Any]) -> None:
        with self._lock:
            future = self._waiting.pop(answer["id"])
        if "error" in answer:
            future.set_exception(wire.load_error(answer["error"]))
        else:
            future.set_result(answer["result"])

    def _fail_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(EngineGone(_GONE))

    def _restart(self) -> None:
        with self._lock:
            self._start()
        if self.on_restart is not None:
            self.on_restart()

    # The engine's calls.

    def adopt(self, clusters: Sequence[KnownCluster], endpoints: Sequence[EndpointSpec]) -> None:
        """See `Engine`."""
        self.call("adopt", clusters=clusters, endpoints=endpoints)
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

    def keep_history(self, cluster: str, *, keep: bool) -> None:
        """See `Engine`."""
        self.call("keep_history", cluster=cluster, keep=keep)

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
        conninfo = self.call(wire.HOLD, cluster=cluster, database=database)
        try:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                yield connection
        finally:
            self.call(wire.LET_GO, cluster=cluster)

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


def _environment() -> dict[str, str]:
    kept = ("POSTGRES_BIN", "XDG_CACHE_HOME", "HOME", "PYTHONPATH", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
    return clean_environment() | {name: os.environ[name] for name in kept if name in os.environ}
