"""Clusters of a test's own, in a folder that is gone afterwards, and ways to look into them."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg

import local_postgres
from local_postgres.account import default_account
from neon_emulator.clusters.clusters import Clusters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from neon_emulator.engine import KnownCluster, Made

OWNER = "neondb_owner"
DATABASE = "neondb"
VERIFIER = f"SCRAM-SHA-256$4096:{'A' * 22}==${'B' * 43}=:{'C' * 43}="
OTHER_VERIFIER = VERIFIER.replace("B", "D")
TROUBLE = ("WARNING", "ERROR", "FATAL", "PANIC")
LINUX = sys.platform == "linux"

_PATIENCE = 60.0


class Story(Protocol):
    """What a test does with clusters."""

    async def __call__(self, clusters: Clusters, /) -> None:
        """Do it."""


@contextmanager
def folder() -> Iterator[Path]:
    """A private folder of the servers' account; nothing of it outlives the block."""
    home = local_postgres.throwaway_folder()
    try:
        yield home
        assert processes(home) == []
    finally:
        shutil.rmtree(home)


def play(story: Story, home: Path | None = None, known: Sequence[KnownCluster] = (), **options: Any) -> None:
    """Run a story on clusters in a folder, which is the story's own where none is named."""
    if home is None:
        with folder() as own:
            play(story, own, known, **options)
        return
    asyncio.run(_play(story, home, known, **options))


async def _play(story: Story, home: Path, known: Sequence[KnownCluster], **options: Any) -> None:
    account = default_account()
    clusters = Clusters(home, local_postgres.find_binaries(account), account, **options)
    try:
        await clusters.adopt(known)
        await story(clusters)
    finally:
        await clusters.close(immediate=True)


async def new(clusters: Clusters) -> Made:
    """A new cluster with the usual owner and database."""
    return await clusters.new(owner=OWNER, verifier=VERIFIER, database=DATABASE)


async def copy(clusters: Clusters, source: str, **options: Any) -> str:
    """A copy of a cluster, at its head where no point is named."""
    made = await clusters.branch(source, **({"at": None, "verifiers": {}, "history": False} | options))
    return made.cluster


def conninfo(clusters: Clusters, cluster: str, *, user: str = OWNER, database: str = DATABASE) -> str:
    """The connection string of a client that comes through the endpoint's front."""
    return psycopg.conninfo.make_conninfo(clusters.conninfo(cluster, database), user=user)


@asynccontextmanager
async def client(
    clusters: Clusters, cluster: str, **options: Any
) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    """A client's session in a cluster that runs for as long."""
    await clusters.acquire(cluster)
    try:
        async with await psycopg.AsyncConnection.connect(
            conninfo(clusters, cluster, **options), autocommit=True
        ) as session:
            yield session
    finally:
        await clusters.release(cluster)


async def ask(clusters: Clusters, cluster: str, statement: str, *values: object, **options: Any) -> Any:
    """What a statement answers in its first column, all rows of it."""
    async with client(clusters, cluster, **options) as session:
        cursor = await session.execute(statement.encode(), values or None)
        return [row[0] for row in await cursor.fetchall()] if cursor.description else None


def place(clusters: Clusters, cluster: str) -> Path:
    """A cluster's folder."""
    return clusters._workshop.folder / cluster


def server_pid(clusters: Clusters, cluster: str) -> int:
    """The pid of a cluster's server."""
    return int((place(clusters, cluster) / "data" / "postmaster.pid").read_text().split("\n", 1)[0])


def shared_memory() -> list[list[str]]:
    """The keys and numbers of all shared memory of this machine; on Linux alone."""
    return [line.split()[:2] for line in Path("/proc/sysvipc/shm").read_text().splitlines()]


def trouble(clusters: Clusters, cluster: str) -> list[str]:
    """The lines of a cluster's log that tell of trouble."""
    log = place(clusters, cluster) / "log"
    return [line for line in log.read_text().splitlines() if any(f"{word}:" in line for word in TROUBLE)]


def processes(home: Path) -> list[str]:
    """The processes that work in a folder, by their command line or their working directory; on Linux alone."""
    return [path.name for path in Path("/proc").glob("[0-9]*") if str(home) in _place_of(path)]


def is_alive(pid: int) -> bool:
    """Whether a process has not ended; one that has may wait for its parent to take notice."""
    return bool(_read(Path("/proc", str(pid), "cmdline")))


def _place_of(process: Path) -> str:
    try:
        folder = str((process / "cwd").readlink())
    except OSError:  # gone, or in a container that forbids to look
        folder = ""
    return f"{_read(process / 'cmdline')} {folder}"


def _read(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition."""
    limit = time.monotonic() + _PATIENCE
    while not await _holds(condition):
        assert time.monotonic() < limit, "it never came to be"
        await asyncio.sleep(0.001)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    found = condition()
    return found if isinstance(found, bool) else await found


async def until_copied(clusters: Clusters, cluster: str) -> None:
    """Wait until a copy of a cluster has begun."""
    await until(lambda: clusters._workshop.find(cluster)._copies > 0)
