"""The ways in which a cluster comes to be."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from neon_emulator.clusters import catalog, copies, initdb, recovery, roles, schemas
from neon_emulator.engine import Made, ServerLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from neon_emulator.clusters.catalog import Rest
    from neon_emulator.clusters.cluster import Cluster
    from neon_emulator.clusters.tending import Tender
    from neon_emulator.clusters.workshop import Workshop
    from neon_emulator.engine import Point


_TRIES = 3


class Maker:
    """Makes clusters in a workshop; where it fails, nothing is left."""

    def __init__(self, workshop: Workshop, tender: Tender) -> None:
        """Take over what it works with."""
        self._workshop = workshop
        self._tender = tender

    async def new(self, *, owner: str, verifier: str, database: str) -> Made:
        """A cluster with an owner and a database."""
        workshop = self._workshop
        async with workshop.draft(history=True) as cluster:
            await initdb.make_data(cluster.place.data, workshop.binaries, workshop.account)
            async with cluster.used():
                conninfo, version = cluster.conninfo(), workshop.binaries.version
                await roles.make_owner(conninfo, version, owner=owner, verifier=verifier, database=database)
                return await self._finish(cluster)

    async def copy(self, source: Cluster, verifiers: Mapping[str, str], *, history: bool) -> Made:
        """A cluster at the head of another."""
        async with self._workshop.draft(history=history) as cluster:
            rest = await self._copy_head(source, cluster)
            if rest is not None:
                catalog.keep(cluster.place.folder, rest, cluster.place.account)
            if verifiers or history or rest is None:
                async with cluster.used():
                    await roles.set_passwords(cluster.conninfo(), verifiers)
                    begins = await self._finish(cluster)
                    return begins if rest is None else _made(cluster, rest)
            return _made(cluster, rest)

    async def copy_past(self, source: Cluster, at: Point, verifiers: Mapping[str, str], *, history: bool) -> Made:
        """A cluster at a past point of another."""
        async with self._workshop.draft(history=history) as cluster:
            ended = await recovery.recover(source, at, cluster, self._workshop.turns)
            try:
                await roles.set_passwords(cluster.conninfo(), verifiers)
                finished = await self._finish(cluster)
            finally:
                await cluster.release(cluster.linger)
            return Made(cluster.id, ended.lsn, ended.time, finished.catalog)

    async def copy_schema(self, source: Cluster, at: Point | None) -> Made:
        """A cluster with all of another but its rows."""
        outline = await self._outline(source, at)
        workshop = self._workshop
        async with workshop.draft(history=True) as cluster:
            await initdb.make_data(cluster.place.data, workshop.binaries, workshop.account)
            async with cluster.used():
                await schemas.give(cluster, outline)
                return await self._finish(cluster)

    async def _outline(self, source: Cluster, at: Point | None) -> schemas.Outline:
        if at is None:
            async with source.used():
                return await schemas.take(source)
        async with self._workshop.draft(history=False, keep=False) as past:
            await recovery.recover(source, at, past, self._workshop.turns)
            return await schemas.take(past)

    async def _copy_head(self, source: Cluster, target: Cluster) -> Rest | None:
        workshop = self._workshop
        async with source.copied(), workshop.turns:
            data, account = source.place.data, workshop.account
            if source.running:
                taken = await copies.copy_running(source.conninfo(), data, target.place.data, account, whole=True)
                return taken.rest
            rest = source.rest()
            if rest is None:
                raise ServerLost(f"The server of {source.id} ended before it was copied.")
            await copies.copy_resting(data, target.place.data, account)
            return rest

    async def _finish(self, cluster: Cluster) -> Made:
        """What a running cluster begins with, once its past is kept where that is wanted."""
        if cluster.history is not None:
            await self._tender.begin(cluster)
        return _made(cluster, await cluster.look())


def _made(cluster: Cluster, rest: Rest) -> Made:
    return Made(cluster.id, rest.lsn, rest.time, rest.catalog)


async def again(source: Cluster, make: Callable[[], Awaitable[Made]]) -> Made:
    """Make something of a cluster, and try again where its server was killed meanwhile."""
    for _ in range(_TRIES - 1):
        with suppress(ServerLost):
            return await make()
        await source.settle()
    return await make()
