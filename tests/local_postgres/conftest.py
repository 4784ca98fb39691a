"""A place for clusters, processes that use them, and a way to wait."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psycopg
import pytest

import local_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PROC = Path("/proc")

_USER = """
import sys, local_postgres
lease = local_postgres.lease(sys.argv[1], throwaway=sys.argv[2] == "True")
print("ready", flush=True)
sys.stdin.read()
"""


class StartUser(Protocol):
    """Starts a process that leases a cluster until it is killed or its input ends."""

    def __call__(self, folder: Path, *, throwaway: bool = False, script: str = _USER) -> subprocess.Popen[str]:
        """Start it; the first line that it prints tells that it is ready."""


class Until(Protocol):
    """Waits for a condition."""

    def __call__(self, condition: Callable[[], bool]) -> None:
        """Return as soon as it holds, or fail after a while."""


class Query(Protocol):
    """Asks a cluster's server."""

    def __call__(self, cluster: local_postgres.Cluster, statement: str) -> object:
        """Run a statement in a session of its own, and return the first column of its first row, if it has any."""


class Processes(Protocol):
    """Finds processes."""

    def __call__(self, *words: str) -> list[int]:
        """The pids of those that have all words in their command line."""


@pytest.fixture(autouse=True)
def _same_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts import the package under test, wherever they run."""
    path = [str(Path(local_postgres.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))


@pytest.fixture
def processes() -> Processes:
    """Find processes by their command line."""
    return _processes


@pytest.fixture
def place(until: Until) -> Iterator[Path]:
    """A private folder that the server's account can reach; no process of a cluster in it outlives the test."""
    folder = local_postgres.throwaway_folder()
    yield folder
    for cluster in folder.glob("*/server.lock"):
        local_postgres.Cluster(cluster.parent).stop(timeout=0)
    until(lambda: not _processes(str(folder)))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def query() -> Query:
    """Ask a cluster's server."""

    def ask(cluster: local_postgres.Cluster, statement: str) -> object:
        with psycopg.connect(cluster.address.conninfo(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    return ask


@pytest.fixture
def start_user() -> Iterator[StartUser]:
    """Start processes that use a cluster, in process groups of their own; those that are left are ended."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, *, throwaway: bool = False, script: str = _USER) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, os.fspath(folder), str(throwaway)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _processes(*words: str) -> list[int]:
    return [pid for pid, command in _commands() if all(word in command for word in words)]


def _commands() -> Iterator[tuple[int, str]]:
    if not _PROC.joinpath("self").exists():
        listed = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            pid, _, command = line.strip().partition(" ")
            yield int(pid), command
        return
    for entry in _PROC.glob("[0-9]*"):
        try:
            yield int(entry.name), os.fsdecode((entry / "cmdline").read_bytes()).replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue


@pytest.fixture
def cluster(place: Path) -> Iterator[local_postgres.Cluster]:
    """A throwaway cluster that runs."""
    cluster = local_postgres.Cluster(place / "pg", throwaway=True)
    cluster.start()
    yield cluster
    cluster.stop(timeout=0)
