"""One server process: started as our child, ended when we end, and noticed when it ends by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_postgres import locks, postmaster
from neon_emulator.clusters.commands import end, run, spawn, tail
from neon_emulator.engine import ClusterFailed, ServerLost

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

    from local_postgres import Account, Binaries

_START_SECONDS = 300.0  # a recovery may be part of it
_STOP_SECONDS = 30.0
_IMMEDIATE_SECONDS = 15.0
_ORPHANS_SECONDS = 30.0
_TRIES = 3
_ENDING_SECONDS = 0.5
_POLL_SECONDS = 0.003
_LOG_BYTES = 10_000
_PID_FILE = "postmaster.pid"
_PID_LINES = 8
_MEMORY_LINE = 6
_SHARED_MEMORY = Path("/proc/sysvipc/shm")

# From the rest of the file Postgres finds, and frees, what a killed server has left in shared memory.
_FORGET = '{ echo "$2"; tail -n +2 "$1"; } >"$1.new" && mv "$1.new" "$1"'
_NO_PID = (1 << 22) + 1


@dataclass(frozen=True)
class Place:
    """Where a server lies, and who runs it; `number` names its socket."""

    folder: Path
    sockets: Path
    number: int
    account: Account
    binaries: Binaries

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.folder / "data"

    def check_version(self) -> None:
        """Refuse data that another version of Postgres has made.

        Raises:
            ClusterFailed: where that is so.
        """
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != str(self.binaries.version):
            raise ClusterFailed(
                f"{self.data} was made by Postgres {made_by}, and {self.binaries.folder} has Postgres "
                f"{self.binaries.version}: set POSTGRES_BIN to the bin folder of a Postgres {made_by}."
            )

    @property
    def log(self) -> Path:
        """What the server writes its messages to."""
        return self.folder / "log"

    @property
    def lock(self) -> Path:
        """A file whose lock the server and all its children inherit: who holds it alone knows that all are gone."""
        return self.folder / "server.lock"

    @property
    def socket(self) -> Path:
        """The server's socket."""
        return self.sockets / f".s.PGSQL.{self.number}"


class Postgres:
    """A server that takes connections, or did until it ended."""

    def __init__(self, place: Place, process: Process) -> None:
        """Take over a process; :meth:`start` makes one."""
        self._place = place
        self._process = process
        self.stopping = False

    @classmethod
    async def start(cls, place: Place, options: Sequence[str]) -> Postgres:
        """Start a server and wait until it takes connections, after what recovery it needs.

        One that is killed meanwhile is started again, since a recovery may be begun as often as one likes.

        Raises:
            ServerLost: where it is killed each time.
            ClusterFailed: where it does not start; the text ends with the server's own words.
        """
        for _ in range(_TRIES - 1):
            with suppress(ServerLost):
                return await cls._start_once(place, options)
        return await cls._start_once(place, options)

    @classmethod
    async def _start_once(cls, place: Place, options: Sequence[str]) -> Postgres:
        await clear(place)
        said = place.log.stat().st_size if place.log.exists() else 0
        server = cls(place, await _launch(place, options))
        try:
            await server._wait_until_ready(said)
        except BaseException:
            await server.stop(immediate=True)
            raise
        return server

    @property
    def alive(self) -> bool:
        """Whether the server process has not ended, as far as is known."""
        return self._process.returncode is None

    async def ends_soon(self) -> bool:
        """Whether the server process is just ending."""
        try:
            await asyncio.wait_for(self._process.wait(), _ENDING_SECONDS)
        except TimeoutError:
            return False
        return True

    @property
    def ended_well(self) -> bool:
        """Whether the server process has ended in order."""
        return self._process.returncode == 0

    async def wait(self) -> None:
        """Wait for the end of the server process."""
        await self._process.wait()

    async def stop(self, *, immediate: bool = False) -> None:
        """Stop the server: in order, which ends sessions and writes all out; or at once, to be recovered later."""
        self.stopping = True
        steps = [(signal.SIGQUIT, _IMMEDIATE_SECONDS)]
        if not immediate:
            steps.insert(0, (signal.SIGINT, _STOP_SECONDS))
        for number, seconds in steps:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), seconds)
                break
        await end(self._process)
        await end_leftovers(self._place)

    async def _wait_until_ready(self, said: int) -> None:
        limit = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._process.returncode is not None:
                kind = ServerLost if self._process.returncode < 0 else ClusterFailed
                raise kind(f"A cluster's server did not start:{_log_tail(self._place.log, said)}")
            if time.monotonic() > limit:
                raise ClusterFailed(f"A cluster's server was not ready in time:{_log_tail(self._place.log, said)}")
            await asyncio.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        try:
            lines = (self._place.data / _PID_FILE).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= _PID_LINES and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"


async def clear(place: Place) -> None:
    """End what is left of an earlier server, and correct the files that speak of it.

    Raises:
        ClusterFailed: where its processes do not end.
    """
    await end_leftovers(place)
    pid_file = place.data / _PID_FILE
    if pid_file.exists():
        # Its number may be another process's by now, and even that of the server to come.
        await run(place.account, "sh", "-c", _FORGET, "sh", pid_file, str(_NO_PID))
    for socket in (place.socket, place.socket.with_name(f"{place.socket.name}.lock")):
        socket.unlink(missing_ok=True)


async def end_leftovers(place: Place) -> None:
    """End the processes of an earlier server: one whose supervisor was killed, and backends that have outlived theirs.

    Raises:
        ClusterFailed: where they do not end.
    """
    limit = time.monotonic() + _ORPHANS_SECONDS
    while is_held(place):
        if time.monotonic() > limit:
            raise ClusterFailed(f"Processes of an earlier server in {place.folder} do not end: kill them.")
        server = await asyncio.to_thread(postmaster.find, place.data)
        if server is None:
            await asyncio.to_thread(postmaster.end_orphans, place.data, place.account)
        else:
            with suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGQUIT)
        await asyncio.sleep(_POLL_SECONDS)


async def free_memory(place: Place) -> None:
    """Free the few bytes of shared memory by which a killed server could still be found, before its folder is deleted.

    On Linux alone, which says whether they are still that server's.
    """
    try:
        key, number = (place.data / _PID_FILE).read_text().splitlines()[_MEMORY_LINE].split()
    except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
        return
    if [key, number] in _shared_memory():
        await run(place.account, "ipcrm", "-m", number)


def _shared_memory() -> list[list[str]]:
    """The keys and numbers of this machine's shared memory."""
    try:
        return [line.split()[:2] for line in _SHARED_MEMORY.read_text().splitlines()]
    except FileNotFoundError:
        return []


def is_held(place: Place) -> bool:
    """Whether any process of a server lives."""
    return locks.is_held(place.lock)


async def _launch(place: Place, options: Sequence[str]) -> Process:
    log = locks.create_file(place.log, place.account.uid, place.account.gid)
    lock = locks.try_lock(place.lock)
    try:
        if lock is None:
            raise ClusterFailed(f"A server of another emulator runs in {place.folder}: end it.")
        os.lseek(log, 0, os.SEEK_END)
        program = place.binaries.tool("postgres")
        return await spawn(
            place.account,
            program,
            "-D",
            place.data,
            *options,
            stdout=log,
            stderr=log,
            ends_by=signal.SIGQUIT,
            pass_fds=(lock,),
        )
    finally:
        os.close(log)
        if lock is not None:
            os.close(lock)


def _log_tail(log: Path, said: int) -> str:
    with log.open("rb") as file:
        file.seek(max(said, log.stat().st_size - _LOG_BYTES))
        return tail(file.read().decode(errors="replace"))
