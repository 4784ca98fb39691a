"""A cluster shared between processes: the first to come starts it, and after the last one is gone it is stopped.

Every user holds a shared lock on `users.lock`. The keeper, a small process of its own, waits for the same lock alone:
it gets it when no user is left, whichever way the users ended, and stops the server before it lets go.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from local_postgres import keeper, locks
from local_postgres.cluster import Cluster
from local_postgres.errors import FolderError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ATTEMPTS = 100


class Lease:
    """One user's share in a running cluster; forked children share it, and keep it after their parent has let go."""

    def __init__(self, cluster: Cluster, users: int) -> None:
        """Take over an open file that holds the users' lock."""
        self.cluster = cluster
        self._users: int | None = users

    def release(self) -> None:
        """Let go; a server without users is stopped soon after. A second time is without effect."""
        users, self._users = self._users, None
        if users is not None:
            # Closed, never unlocked: that would take the lock from forked children too.
            os.close(users)

    def __enter__(self) -> Self:
        """Use the lease for a block."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let go, whatever happened."""
        self.release()


def lease(
    folder: str | os.PathLike[str], *, throwaway: bool = False, settings: Mapping[str, str] | None = None
) -> Lease:
    """Use the cluster in a folder together with whoever else does, and start it where it is not running.

    Without :meth:`Lease.release` the lease ends with the process and those that it has forked, even by SIGKILL.

    Args:
        folder: as for :class:`Cluster`.
        throwaway: delete the folder as well, after its last user; only a new or empty one, or one of this kind.
        settings: as for :class:`Cluster`.

    Raises:
        BinariesError: where no Postgres can be found, or one of another version has made the data.
        FolderError: where the folder cannot be used.
        KeeperError: where the process that stops the server in the end cannot be started.
        ServerError: where initdb or the server fails.
        SettingsError: for a setting that cannot be passed on.
    """
    cluster = Cluster(folder, settings=settings, throwaway=throwaway)
    users = _join(cluster)
    try:
        keeper.ensure(cluster)
        cluster.start()
    except BaseException:
        os.close(users)
        raise
    return Lease(cluster, users)


def _join(cluster: Cluster) -> int:
    """Become a user; where a keeper is just deleting the folder, of the next folder of that name."""
    path = cluster.home / keeper.USERS
    for _ in range(_ATTEMPTS):
        try:
            cluster.prepare()
            users = locks.lock_shared(path)
        except FileNotFoundError:
            continue
        if locks.is_current(users, path):
            return users
        os.close(users)
    raise FolderError(f"{cluster.folder} is deleted again and again: see who does so, or name another folder.")
