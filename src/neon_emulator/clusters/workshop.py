"""Where clusters are made: a folder for each, deleted again where the making fails."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING

from local_postgres import folders
from neon_emulator.clusters.cluster import Cluster
from neon_emulator.clusters.copying import remove
from neon_emulator.clusters.history import History
from neon_emulator.clusters.postgres import Place, free_memory
from neon_emulator.engine import ClusterFailed, ClusterMissing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from local_postgres import Account, Binaries

_log = logging.getLogger(__name__)
_GONE = ".gone-"
_FIRST_NUMBER = 1024
_TURNS = 3


class Workshop:
    """The folders of all clusters, and those of them that are complete.

    Args:
        home: the emulator's folder.
        binaries: the Postgres that runs the clusters.
        account: who runs them.
        linger: seconds that a server runs on when nobody needs it any more.
        on_exit: called when a cluster's server has ended by itself.
    """

    def __init__(
        self, home: Path, binaries: Binaries, account: Account, linger: float, on_exit: Callable[[Cluster], None]
    ) -> None:
        """Take the wishes down; :meth:`open` begins."""
        self.clusters: dict[str, Cluster] = {}
        self.turns = asyncio.Semaphore(_TURNS)
        self.binaries = binaries
        self.account = account
        self.folder = home / "clusters"
        self._home = home
        self._linger = linger
        self._on_exit = on_exit
        self._numbers: dict[int, Cluster] = {}
        self._removals: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Make the folders that are missing, and forget the sockets of an earlier emulator."""
        folders.make_private(self.folder, self.account)
        sockets = folders.make_private(folders.socket_folder(self._home), self.account)
        for leftover in sockets.iterdir():
            leftover.unlink()

    async def close(self) -> None:
        """Wait until what was deleted is gone."""
        await asyncio.gather(*self._removals)
        folders.remove_socket_folder(self._home, self.account)

    def find(self, name: str) -> Cluster:
        """A complete cluster.

        Raises:
            ClusterMissing: where there is none of that name.
        """
        try:
            return self.clusters[name]
        except KeyError:
            raise ClusterMissing(f"There is no cluster {name}.") from None

    def take(self, name: str, *, history: bool) -> Cluster:
        """The cluster in a folder, complete or about to be."""
        folder = self.folder / name
        number = next(number for number in count(_FIRST_NUMBER) if number not in self._numbers)
        place = Place(folder, folders.socket_folder(self._home), number, self.account, self.binaries)
        kept = History(folder / "history", self.account) if history else None
        cluster = self._numbers[number] = Cluster(place, kept, self._linger, self._on_exit)
        return cluster

    @asynccontextmanager
    async def draft(self, *, history: bool, keep: bool = True) -> AsyncIterator[Cluster]:
        """A new cluster that is complete when the block ends, and deleted where that fails.

        Args:
            history: whether its server puts the write-ahead log aside.
            keep: False for one that is deleted in the end anyway.
        """
        name = secrets.token_hex(8)
        folders.make_private(self.folder / name, self.account)
        cluster = self.take(name, history=history)
        try:
            yield cluster
        except BaseException:
            await self.delete(cluster, immediate=True)
            raise
        if keep:
            self.clusters[name] = cluster
        else:
            await self.delete(cluster, immediate=True)

    async def delete(self, cluster: Cluster, *, immediate: bool = False) -> None:
        """Stop a cluster and delete its folder; its name is free at once, its room a little later."""
        await cluster.close(immediate=immediate, doomed=True)
        self.clusters.pop(cluster.id, None)
        self._free_number(cluster)
        await free_memory(cluster.place)
        self.remove(cluster.place.folder)

    async def delete_now(self, cluster: Cluster) -> None:
        """Delete the folder of a cluster that is not on record, and wait for it; nothing runs in it."""
        self._free_number(cluster)
        await free_memory(cluster.place)
        await self.remove_now(cluster.place.folder)

    def remove(self, folder: Path) -> None:
        """Delete a folder that nobody uses."""
        doomed = folder.with_name(f"{folder.name}{_GONE}{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            folder.rename(doomed)
            task = asyncio.create_task(self._remove_later(doomed))
            self._removals.add(task)
            task.add_done_callback(self._removals.discard)

    async def remove_now(self, folder: Path) -> None:
        """Delete a folder that nobody uses, and wait for it.

        Raises:
            ClusterFailed: where something in it cannot be deleted.
        """
        await remove(self.account, folder)

    def _free_number(self, cluster: Cluster) -> None:
        # Deleted twice at the same time, the second time the number may be a new cluster's.
        if self._numbers.get(cluster.place.number) is cluster:
            del self._numbers[cluster.place.number]

    async def _remove_later(self, folder: Path) -> None:
        try:
            await self.remove_now(folder)
        except ClusterFailed as error:
            _log.warning("%s is left, until the next start tries again: %s", folder, error)
