"""How a cluster's past is kept: a base when there is much to replay since the last, and room made for what comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neon_emulator.clusters import copies, wal
from neon_emulator.clusters.commands import run

if TYPE_CHECKING:
    import asyncio

    from neon_emulator.clusters.cluster import Cluster
    from neon_emulator.clusters.history import History

_INTERVAL = 100 << 20
"""Bytes of write-ahead log, which recovery replays in less than a second."""


class Tender:
    """Keeps the past of clusters within bounds."""

    def __init__(self, history_bytes: int, turns: asyncio.Semaphore, *, sharing: bool) -> None:
        """Take the bounds down.

        Args:
            history_bytes: how much of each cluster's past is kept, as far as a single base allows.
            turns: how many copies may be made at the same time.
            sharing: whether copies share their blocks, so that a base takes no room.
        """
        self._limit = history_bytes
        self._turns = turns
        self._sharing = sharing

    async def begin(self, cluster: Cluster) -> None:
        """Take the first base of a cluster that puts its log aside; from then on its past is kept."""
        async with cluster.used(), cluster.tending:
            if cluster.history is not None and not cluster.history.bases:
                await self._take_base(cluster, cluster.history)

    async def tend(self, cluster: Cluster) -> None:
        """Take a base where one is due, and let go of the oldest past where it takes too much room."""
        history = cluster.history
        if history is None or not cluster.is_archiving:
            return
        async with cluster.tending:
            if not history.bases or await self._since_base(cluster, history) > self._interval(history):
                await self._take_base(cluster, history)
            while history.kept_bytes() > self._limit:
                if len(history.bases) == 1 and await self._since_base(cluster, history) <= self._least(history):
                    break
                if len(history.bases) == 1:
                    await self._take_base(cluster, history)
                if not await history.drop_oldest():
                    break

    async def _since_base(self, cluster: Cluster, history: History) -> int:
        [(now,)] = await cluster.superuser.ask("SELECT pg_current_wal_insert_lsn()::text")
        return wal.parse_lsn(str(now)) - history.bases[-1].start

    def _interval(self, history: History) -> int:
        # A base that has to be copied whole is not taken for less log than it has data.
        return max(min(_INTERVAL, self._limit), history.bases[-1].size)

    def _least(self, history: History) -> int:
        return max(min(_INTERVAL, self._limit // 2), history.bases[-1].size)

    async def _take_base(self, cluster: Cluster, history: History) -> None:
        name = history.new_name()
        new = history.folder / name
        try:
            async with cluster.copied(), self._turns:
                if not cluster.running:  # stopped just now: the base has time until its next start
                    return
                place = cluster.place
                taken = await copies.copy_running(cluster.conninfo(), place.data, new, place.account, whole=False)
                history.add(name, taken, 0 if self._sharing else await _size(cluster, new))
        finally:
            await history.sweep()


async def _size(cluster: Cluster, folder: object) -> int:
    result = await run(cluster.place.account, "du", "-sk", str(folder))
    return int(result.output.split()[0]) << 10
