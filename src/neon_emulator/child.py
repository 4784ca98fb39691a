"""The supervisor's process as the API process sees it: started once the one before has ended, and its last words."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_postgres import locks
from local_postgres.account import clean_environment
from neon_emulator.engine import EngineGone

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

LOCK = "supervisor.lock"
END_SECONDS = 90.0
"""Seconds in which a supervisor has stopped all its servers, even those that do not want to."""

_POLL_SECONDS = 0.02
_LAST_LINES = 20
_KEPT = ("POSTGRES_BIN", "XDG_CACHE_HOME", "HOME", "PYTHONPATH", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")


@dataclass(frozen=True)
class Child:
    """A supervisor that was started; `said` is how long its log was before."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    log: Path
    said: int

    @classmethod
    def start(cls, home: Path, options: Sequence[str], giving_up: threading.Event) -> Child:
        """Start a supervisor of a folder.

        Args:
            home: the folder.
            options: those of its command line.
            giving_up: set when it is not wanted any more.

        Raises:
            EngineGone: where an earlier supervisor of the folder does not end.
            local_postgres.FolderError: where the folder cannot be written to.
            OSError: where no process can be started.
        """
        lock = _wait_for_lock(home, giving_up)
        ours, theirs = socket.socketpair()
        path = home / "supervisor.log"
        try:
            log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                said = os.fstat(log).st_size
                process = _run(home, options, theirs.fileno(), lock, log)
            finally:
                os.close(log)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(lock)
        return cls(process, ours, path, said)

    def last_words(self) -> list[str]:
        """The last lines that it has written to its log."""
        if not self.log.exists():  # deleted by itself, with all else
            return []
        said = self.log.read_bytes()[self.said :]
        return said.decode(errors="replace").strip().splitlines()[-_LAST_LINES:]


def _run(home: Path, options: Sequence[str], link: int, lock: int, log: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "neon_emulator.supervisor", "--home", str(home), "--link", str(link), *options]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env=clean_environment() | _variables(),
        pass_fds=(link, lock),
        start_new_session=True,
    )


def _variables() -> dict[str, str]:
    """What a supervisor gets of the environment; from its own folder, a relative path would lead elsewhere."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    for name in ("POSTGRES_BIN", "XDG_CACHE_HOME"):
        if folder := kept.get(name):
            kept[name] = str(Path(folder).absolute())
    if path := kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(one).absolute()) for one in path.split(os.pathsep))
    return kept


def _wait_for_lock(home: Path, giving_up: threading.Event) -> int:
    """The lock that every supervisor of a folder holds: an earlier one may still be stopping its servers."""
    limit = time.monotonic() + END_SECONDS
    while (lock := locks.try_lock(home / LOCK)) is None:
        if time.monotonic() > limit or giving_up.wait(_POLL_SECONDS):
            raise EngineGone(f"An earlier supervisor of {home} does not end: see who holds {LOCK} in it.")
    return lock
