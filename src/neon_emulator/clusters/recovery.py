"""A cluster as it was: a base of its history, brought forward by the write-ahead log to a point, and no further."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from neon_emulator.clusters import copies, wal
from neon_emulator.clusters.commands import write_file
from neon_emulator.clusters.copying import copy_tree
from neon_emulator.engine import NoHistory, OutsideWindow, Window

if TYPE_CHECKING:
    import asyncio

    from neon_emulator.clusters.cluster import Cluster
    from neon_emulator.clusters.history import Base, History
    from neon_emulator.engine import Point

# The server runs it in its data folder. A file that is not put aside yet is in use; it may be put aside in between.
_RESTORE = (
    "for file in ../../{0}/history/wal/%f ../../{0}/data/pg_wal/%f ../../{0}/history/wal/%f; "
    "do test -f $file && cp $file %p && exit 0; done; exit 1"
)

# What ends a recovery is the first record past its target: without one, Postgres takes the target for missing.
_BEYOND = "SELECT pg_logical_emit_message(true, 'neon_emulator', '')"


@dataclass(frozen=True)
class Ended:
    """Where a recovery has really ended."""

    lsn: str
    time: datetime


async def window(cluster: Cluster) -> Window:
    """The past that is kept of a cluster.

    Raises:
        NoHistory: where none is.
    """
    history = _history(cluster)
    rest = await cluster.look()
    oldest = history.bases[0]
    return Window(wal.format_lsn(oldest.stop), history.start_time, rest.lsn, datetime.now(UTC))


async def recover(source: Cluster, at: Point, target: Cluster, turns: asyncio.Semaphore) -> Ended:
    """Make a cluster's data as another's was at a point; it runs then, and its caller has to release it.

    Args:
        source: the other cluster; started where it is stopped.
        at: the point.
        target: the cluster, which is empty.
        turns: how many copies may be made at the same time.

    Raises:
        NoHistory: where the past of the other is not kept.
        OutsideWindow: for a point that is not, or not yet, in it.
        ClusterFailed: where Postgres fails.
    """
    async with _history(source).visits, source.used(), source.copied(), copies.backup_session(source.conninfo()):
        history = _history(source)
        base = await _find_base(source, history, at)
        with history.pinned(base):
            await source.superuser.ask(_BEYOND)
            async with turns:
                await copy_tree(history.data(base), target.place.data, target.place.account)
            write_file(target.place.data / "recovery.signal", "", target.place.account)
            await target.acquire(_settings(source.id, at))
    return await _ended(target, base, at)


def _history(cluster: Cluster) -> History:
    if cluster.history is None or not cluster.history.bases:
        raise NoHistory(f"The past of {cluster.id} is not kept.")
    return cluster.history


async def _find_base(source: Cluster, history: History, at: Point) -> Base:
    end = (await source.superuser.look()).lsn
    now = datetime.now(UTC)
    base = None
    if at.time is not None and at.time <= now:
        base = history.at_time(at.time)
    elif at.lsn is not None and wal.parse_lsn(at.lsn) <= wal.parse_lsn(end):
        base = history.at_lsn(wal.parse_lsn(at.lsn))
    if base is None:
        kept = Window(wal.format_lsn(history.bases[0].stop), history.start_time, end, now)
        raise OutsideWindow(
            f"{at.lsn or at.time} is not kept: the past of {source.id} goes from {kept.start_lsn} at "
            f"{kept.start_time.isoformat()} to {kept.end_lsn} at {kept.end_time.isoformat()}.",
            kept,
        )
    return base


def _settings(source: str, at: Point) -> dict[str, str]:
    common = {
        "restore_command": _RESTORE.format(source),
        "recovery_target_action": "promote",
        # The one of the base: a cluster's history begins after it has got its timeline.
        "recovery_target_timeline": "current",
    }
    if at.time is not None:
        return common | {"recovery_target_time": at.time.astimezone(UTC).isoformat(sep=" ")}
    # The record at the position is the first that is not wanted: it may be the commit of an open transaction.
    return common | {"recovery_target_lsn": str(at.lsn), "recovery_target_inclusive": "off"}


async def _ended(target: Cluster, base: Base, at: Point) -> Ended:
    timeline = target.place.data / "pg_wal" / wal.history_name(base.timeline + 1)
    lsn = wal.switch_point(timeline.read_text())
    if at.time is not None:
        return Ended(lsn, at.time.astimezone(UTC))
    [(last,)] = await target.superuser.ask("SELECT pg_last_xact_replay_timestamp()")
    return Ended(lsn, last.astimezone(UTC) if isinstance(last, datetime) else base.time)
