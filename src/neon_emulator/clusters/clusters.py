"""All clusters of one emulator: made, copied, started while somebody needs them, deleted."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from neon_emulator.clusters import postgres, recovery, schemas
from neon_emulator.clusters.cluster import LINGER
from neon_emulator.clusters.copying import shares_blocks
from neon_emulator.clusters.making import Maker, again
from neon_emulator.clusters.tending import Tender
from neon_emulator.clusters.workshop import Workshop
from neon_emulator.engine import ClusterMissing, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from local_postgres import Account, Binaries
    from neon_emulator.clusters.cluster import Cluster
    from neon_emulator.engine import Catalog, KnownCluster, Made, Point, Window

_log = logging.getLogger(__name__)
_TEND_SECONDS = 2.0


class Clusters:
    """The clusters in a folder that no other process uses.

    Args:
        home: the folder; it belongs to the account.
        binaries: the Postgres that runs them.
        account: who runs the servers.
        history_bytes: how much of each cluster's past is kept.
        linger: seconds that a server runs on when nobody needs it any more.
    """

    on_exit: Callable[[str], None] | None = None
    """Called with the id of a cluster whose server has ended by itself; its holds remain."""

    def __init__(
        self, home: Path, binaries: Binaries, account: Account, *, history_bytes: int = 1 << 30, linger: float = LINGER
    ) -> None:
        """Take the wishes down; :meth:`adopt` begins."""
        self._workshop = Workshop(home, binaries, account, linger, self._notice_exit)
        self._history_bytes = history_bytes
        self._tender: Tender
        self._maker: Maker
        self._tending: asyncio.Task[None] | None = None

    async def adopt(self, known: Sequence[KnownCluster]) -> None:
        """Take over the clusters on record, once, before anything else; delete every other folder.

        Raises:
            ClusterFailed: for one on record that another version of Postgres has made.
            ClusterMissing: for one on record that has no folder.
        """
        workshop = self._workshop
        workshop.open()
        sharing = await shares_blocks(workshop.folder, workshop.account)
        self._tender = Tender(self._history_bytes, workshop.turns, sharing=sharing)
        self._maker = Maker(workshop, self._tender)
        history = {each.id: each.history for each in known}
        missing = sorted(name for name in history if not (workshop.folder / name / "data").is_dir())
        if missing:
            raise ClusterMissing(f"Clusters on record have no folder in {workshop.folder}: {', '.join(missing)}.")
        taken = [workshop.take(path.name, history=history.get(path.name, False)) for path in workshop.folder.iterdir()]
        await asyncio.gather(*(self._adopt(cluster, known=cluster.id in history) for cluster in taken))
        self._tending = asyncio.create_task(self._tend_forever())

    async def new(self, *, owner: str, verifier: str, database: str) -> Made:
        """Make a cluster with an owner role and its database; its past is kept from now on.

        Args:
            owner: the role, which is no superuser.
            verifier: its password as SCRAM keeps it.
            database: the database.

        Raises:
            ClusterFailed: where Postgres fails.
        """
        return await self._maker.new(owner=owner, verifier=verifier, database=database)

    async def branch(
        self, source: str, *, at: Point | None = None, verifiers: Mapping[str, str] | None = None, history: bool = False
    ) -> Made:
        """Copy a cluster that may be running and busy, at its head or at a past point.

        Args:
            source: the cluster.
            at: a point of its past; None for the head.
            verifiers: passwords, as SCRAM keeps them, that roles have in the copy; roles that it lacks are left out.
            history: whether the copy's past is kept from now on.

        Raises:
            ClusterFailed: where Postgres, or the copy, fails.
            ClusterMissing: where there is no such cluster.
            OutsideWindow: for a point before or after what is kept.
            NoHistory: for a point where none is.
        """
        cluster, wanted = self._find(source), verifiers or {}
        if at is None:
            return await again(cluster, lambda: self._maker.copy(cluster, wanted, history=history))
        return await again(cluster, lambda: self._maker.copy_past(cluster, at, wanted, history=history))

    async def schema_only(self, source: str, *, at: Point | None = None) -> Made:
        """Make a cluster with the roles, passwords, databases and schemas of another, without rows; past kept."""
        return await self._maker.copy_schema(self._find(source), at)

    async def delete(self, cluster: str) -> None:
        """Stop a cluster and delete its folder, once copies of it are made; without effect where there is none."""
        if cluster in self._workshop.clusters:
            await self._workshop.delete(self._find(cluster))

    async def prune_history(self, cluster: str, before: datetime) -> None:
        """Let go of a cluster's past before a time; without effect where it is not kept."""
        found = self._find(cluster)
        async with found.tending:
            if found.history is not None:
                await found.history.forget_before(before)

    async def window(self, cluster: str) -> Window:
        """The past that is kept.

        Raises:
            NoHistory: where none is.
        """
        return await recovery.window(self._find(cluster))

    async def tend(self, cluster: str) -> None:
        """One round of what is done for a cluster's history every few seconds while its server runs."""
        await self._tender.tend(self._find(cluster))

    async def catalog(self, cluster: str) -> Catalog:
        """A cluster's roles and databases; one that was stopped in order is not started for it."""
        return (await self._find(cluster).look()).catalog

    async def dump_schema(self, cluster: str, database: str) -> str:
        """The schema of a database, as pg_dump writes it."""
        found = self._find(cluster)
        async with found.used():
            return await schemas.dump_schema(found, database)

    async def acquire(self, cluster: str) -> Path:
        """Start a cluster where it is stopped, keep it running until :meth:`release`, and return its socket.

        Raises:
            ClusterFailed: where the server does not start.
            ClusterMissing: where there is no such cluster.
        """
        return await self._find(cluster).acquire()

    async def release(self, cluster: str, *, linger: float | None = None) -> None:
        """Give back a hold; the last one gone, the server is stopped; without effect on a cluster that was deleted.

        Args:
            cluster: the cluster.
            linger: seconds until then. 0: all clients' sessions end now, with 57P01, even where others hold the
                cluster too.
        """
        found = self._workshop.clusters.get(cluster)
        if found is not None:
            await found.release(found.linger if linger is None else linger)

    def running(self, cluster: str) -> Path | None:
        """The socket of a cluster that runs."""
        found = self._workshop.clusters.get(cluster)
        return found.place.socket if found is not None and found.running else None

    async def verifier(self, cluster: str, role: str) -> str | None:
        """The verifier of a role's password, in a cluster that runs; None for a role that may not log in."""
        return await self._find(cluster).verifier(role)

    async def busy(self, cluster: str) -> bool:
        """Whether a client of a cluster is in a transaction."""
        return await self._find(cluster).busy()

    async def end_sessions(self, cluster: str, role: str | None = None) -> None:
        """End the sessions of a cluster's clients with 57P01: those of one role, or all."""
        await self._find(cluster).end_sessions(role)

    def conninfo(self, cluster: str, database: str = "postgres") -> str:
        """The connection string of the superuser, for a cluster that runs."""
        return self._find(cluster).conninfo(database)

    async def close(self, *, immediate: bool) -> None:
        """Stop all servers: in order, or at once, to be recovered at their next start."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        await asyncio.gather(*(self._close(each, immediate=immediate) for each in self._workshop.clusters.values()))
        await self._workshop.close()

    def _find(self, cluster: str) -> Cluster:
        return self._workshop.find(cluster)

    async def _close(self, cluster: Cluster, *, immediate: bool) -> None:
        try:
            await cluster.close(immediate=immediate)
            await postgres.free_memory(cluster.place)  # of one that was killed, and may never be started again
        except Exception:  # noqa: BLE001 - one that cannot be stopped must not keep the others running
            _log.exception("The server of %s is not stopped in order", cluster.id)

    async def _adopt(self, cluster: Cluster, *, known: bool) -> None:
        workshop = self._workshop
        await postgres.end_leftovers(cluster.place)
        if not known:
            await workshop.delete_now(cluster)
            return
        cluster.place.check_version()
        workshop.clusters[cluster.id] = cluster
        if cluster.history is not None:
            await cluster.history.sweep()

    def _notice_exit(self, cluster: Cluster) -> None:
        if self.on_exit is not None and cluster.id in self._workshop.clusters:
            self.on_exit(cluster.id)

    async def _tend_forever(self) -> None:
        while True:
            await asyncio.sleep(_TEND_SECONDS)
            due = [each for each in self._workshop.clusters.values() if each.is_archiving and not each.tending.locked()]
            await asyncio.gather(*map(self._tend, due))

    async def _tend(self, cluster: Cluster) -> None:
        try:
            await self._tender.tend(cluster)
        except EngineError as error:
            await cluster.settle()
            if not cluster.is_archiving:  # stopped or killed meanwhile
                return
            _log.warning("The past of %s is not brought up to date: %s", cluster.id, error)
        except Exception:  # noqa: BLE001 - a full disk, or a deletion meanwhile, must not end this for the others
            _log.exception("The past of %s is not brought up to date", cluster.id)
