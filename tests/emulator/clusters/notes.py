"""A cluster with notes in it, and with a past."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tests.emulator.clusters.support import (
    ask,
    new,
    place,
)

if TYPE_CHECKING:
    from pathlib import Path

    from neon_emulator.clusters.clusters import Clusters

NOTES = "SELECT text FROM note ORDER BY text"
LSN = "SELECT pg_current_wal_lsn()::text"
INSERT_LSN = "SELECT pg_current_wal_insert_lsn()::text"
MEGABYTE = "INSERT INTO bulk SELECT repeat(md5(g::text), 30) FROM generate_series(1, 1000) g"


async def with_notes(clusters: Clusters, *notes: str) -> str:
    made = await new(clusters)
    await ask(clusters, made.cluster, "CREATE TABLE note (text text)")
    for note in notes:
        await write(clusters, made.cluster, note)
    return made.cluster


async def write(clusters: Clusters, cluster: str, note: str) -> None:
    await ask(clusters, cluster, "INSERT INTO note VALUES (%s)", note)


async def now(clusters: Clusters, cluster: str) -> datetime:
    [now] = await ask(clusters, cluster, "SELECT now()")
    assert isinstance(now, datetime)
    return now


async def grow(clusters: Clusters, cluster: str, megabytes: int) -> None:
    await ask(clusters, cluster, "CREATE TABLE IF NOT EXISTS bulk (text text)")
    for _ in range(megabytes):
        await ask(clusters, cluster, MEGABYTE)


def bases(clusters: Clusters, cluster: str) -> list[Path]:
    return sorted((place(clusters, cluster) / "history").glob("base-*"))
