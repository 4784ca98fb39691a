"""The server process of a data folder: what its pid file says, and whether that is still true."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_postgres.account import Account

_PROC = Path("/proc")
_PID_FILE = "postmaster.pid"
_LINES = 8
_READY = ("ready", "standby")

# Run as the server's account: in a container not even root may look at another account's working directories.
_RESIDENTS = 'for p in /proc/[0-9]*; do [ "$p/cwd" -ef "$1" ] && echo "${p#/proc/}"; done; :'

# Only the pid is replaced, by one that no process can have: from the rest Postgres finds, and frees, the shared memory.
_FORGET = '{ echo "$2"; tail -n +2 "$1"; } >"$1.new" && mv "$1.new" "$1"'
_NO_PID = (1 << 22) + 1


@dataclass(frozen=True)
class Postmaster:
    """A server process that lives."""

    pid: int
    port: int | None
    ready: bool


def find(data: Path) -> Postmaster | None:
    """The server process of a data folder, or None where the pid file is missing or stale."""
    try:
        lines = (data / _PID_FILE).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    if not lines or not lines[0].isdigit() or not is_server(int(lines[0]), data):
        return None
    if len(lines) < _LINES:
        return Postmaster(int(lines[0]), None, ready=False)
    return Postmaster(int(lines[0]), int(lines[3]), lines[7].strip() in _READY)


def is_server(pid: int, data: Path) -> bool:
    """Whether a process is the server that was started for a data folder; a zombie has no command line any more."""
    if tells_processes_apart():
        return _command(pid)[1:3] == ["-D", str(data)]
    return _lives(pid)


def tells_processes_apart() -> bool:
    """Whether this system says what a process is, and not only that there is one of that number."""
    return _PROC.joinpath("self").exists()


def end_orphans(data: Path, account: Account) -> None:
    """End the backends that outlived their server process: a busy one notices late, and keeps the next from starting.

    Those of a server that lives are left alone: one that is just starting has children before its pid file can be read.
    """
    for pid in _residents(data, account):
        if "".join(_command(pid)[:1]).startswith("postgres: ") and not is_server(_parent(pid), data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def forget_stale(data: Path, sockets: Path, account: Account) -> None:
    """Correct the files that name a pid which is another process's by now: Postgres would take it for a running server.

    Only for a folder whose server processes are known to be gone, all of them.
    """
    named = {path: _first_pid(path) for path in (data / _PID_FILE, *sockets.glob(".s.PGSQL.*.lock"))}
    alive = {path for path, pid in named.items() if pid is not None and _PROC.joinpath(str(pid)).exists()}
    residents = _residents(data, account) if alive else []
    for path in alive:
        if named[path] not in residents:
            account.run("/bin/sh", "-c", _FORGET, "sh", path, str(_NO_PID))


def _first_pid(path: Path) -> int | None:
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _residents(data: Path, account: Account) -> list[int]:
    return [int(pid) for pid in account.run("/bin/sh", "-c", _RESIDENTS, "sh", data).stdout.split()]


def _command(pid: int) -> list[str]:
    try:
        return os.fsdecode((_PROC / str(pid) / "cmdline").read_bytes()).split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parent(pid: int) -> int:
    """The process's parent, as the fourth field of its status tells; 0, which is nobody, where it is gone."""
    try:
        status = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # The second field is the program's name in parentheses, which may hold anything.
    return int(status.rpartition(")")[2].split()[1])


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
