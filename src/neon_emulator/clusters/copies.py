"""Copies of a cluster: of one that runs and takes writes, or of one at rest."""

from __future__ import annotations

import os
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local_postgres import folders
from neon_emulator.clusters import catalog, wal
from neon_emulator.clusters.catalog import Rest
from neon_emulator.clusters.commands import write_file
from neon_emulator.clusters.copying import copy_changing, copy_entries, copy_tree
from neon_emulator.clusters.server_settings import SEGMENT
from neon_emulator.clusters.superuser import connect, told
from neon_emulator.engine import ClusterFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import psycopg

    from local_postgres import Account
    from neon_emulator.clusters.superuser import Row
    from neon_emulator.clusters.wal import Label
    from neon_emulator.engine import Catalog

# What Postgres makes anew when it starts, or reads only from a server that was stopped.
_EMPTY = {"pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"}
_LEFT_OUT = {"pg_wal", "backup_label", "backup_label.old", "postmaster.opts", "postmaster.pid", "recovery.done"}
# An error that reached the session would take its temporary slot away, and with that the log that the copy needs.
_TRY_LOCK = """
DO $$ BEGIN
  LOCK TABLE pg_authid, pg_database IN SHARE MODE NOWAIT;
EXCEPTION WHEN lock_not_available THEN NULL;
END $$
"""
_IS_LOCKED = """
SELECT count(*) = 2 FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'ShareLock'
  AND relation IN ('pg_authid'::regclass, 'pg_database'::regclass)
"""
_CONTROL = "global/pg_control"
_TRIES = 100


@dataclass(frozen=True)
class Taken:
    """A copy of a running server's files, which recovery makes whole at the position where it was finished."""

    label: Label
    stop: int
    time: datetime
    rest: Rest | None


async def copy_running(conninfo: str, source: Path, target: Path, account: Account, *, whole: bool) -> Taken:
    """Copy the data folder of a server that goes on running.

    Args:
        conninfo: the superuser's connection string.
        source: the data folder.
        target: the copy's data folder, still missing.
        account: who runs the server.
        whole: whether the copy comes with the write-ahead log that its recovery needs.

    Returns:
        What was copied; `rest` is None where roles or databases were just being changed, and for a copy that is not
        whole.

    Raises:
        ClusterFailed: where the server or the copy fails.
    """
    async with backup_session(conninfo) as session:
        await session.execute("SELECT pg_backup_start('copy', true)")
        await _copy_files(source, target, account)
        async with session.transaction():
            held = await _hold(session) if whole else None
            stop, label_text, now = await _stop(session)
        label = wal.parse_label(label_text)
        write_file(target / "backup_label", label_text, account)
        if whole:
            await _copy_wal(source / "pg_wal", target / "pg_wal", label, stop, account)
    rest = None if held is None else Rest(held, wal.format_lsn(stop), now)
    return Taken(label, stop, now, rest)


async def copy_resting(source: Path, target: Path, account: Account) -> None:
    """Copy the data folder of a cluster that is stopped, and is not started meanwhile."""
    await copy_tree(source, target, account)


@asynccontextmanager
async def backup_session(conninfo: str) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
    """A session during which the server removes no write-ahead log, from its last checkpoint on."""
    with told("A cluster could not be copied"):
        async with await connect(conninfo) as session:
            slot = f"copy_{secrets.token_hex(8)}"
            await session.execute("SELECT pg_create_physical_replication_slot(%s, true, true)", [slot])
            yield session


async def _hold(session: psycopg.AsyncConnection[Row]) -> Catalog | None:
    """What the server holds, until the transaction ends; None where somebody is at work on its roles or databases."""
    await session.execute(_TRY_LOCK)
    [(held,)] = await (await session.execute(_IS_LOCKED)).fetchall()
    if not held:
        return None

    async def ask(query: str) -> list[Row]:
        return await (await session.execute(query.encode())).fetchall()

    return (await catalog.read(ask)).catalog


async def _stop(session: psycopg.AsyncConnection[Row]) -> tuple[int, str, datetime]:
    cursor = await session.execute("SELECT lsn::text, labelfile, clock_timestamp() FROM pg_backup_stop(false)")
    [(lsn, label, now)] = await cursor.fetchall()
    return wal.parse_lsn(lsn), label, now.astimezone(UTC)


async def _copy_files(source: Path, target: Path, account: Account) -> None:
    folders.make_private(target, account)
    names = set(os.listdir(source)) - _LEFT_OUT  # noqa: PTH208 - names are what is wanted
    for name in (names & _EMPTY) | {"pg_wal"}:
        folders.make_private(target / name, account)
    await copy_changing(source, sorted(names - _EMPTY), target, account)
    write_file(target / _CONTROL, _read_control(source / _CONTROL), account)


def _read_control(path: Path) -> bytes:
    """The server's control file, which it writes in one go, but of which a reader may see two halves."""
    found = path.read_bytes()
    for _ in range(_TRIES):
        again = path.read_bytes()
        if again == found:
            return found
        found = again
    raise ClusterFailed(f"{path} changes all the time: the server does nothing but checkpoints.")


async def _copy_wal(source: Path, target: Path, label: Label, stop: int, account: Account) -> None:
    names = wal.segment_names(label.timeline, label.start, stop)
    names += [name for name in os.listdir(source) if name.endswith(".history")]  # noqa: PTH208 - names are wanted
    await copy_entries(source, names, target, account)
    if stop % SEGMENT:
        # The server goes on in the same file: what comes after the copy's end is not the copy's.
        last = target / wal.segment_name(label.timeline, stop)
        os.truncate(last, stop % SEGMENT)
        os.truncate(last, SEGMENT)
