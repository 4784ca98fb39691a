"""The process that stops a cluster's server when its last user is gone, and deletes a throwaway cluster.

It is started with `keeper.lock` held, by the open file that it inherits: there is never a second one, and a killed one
is noticed by whoever leases next.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from local_postgres import folders, locks
from local_postgres.account import clean_environment
from local_postgres.cluster import Cluster
from local_postgres.errors import KeeperError

LOCK = "keeper.lock"
USERS = "users.lock"

# Isolated and without site-packages: nothing of the caller's gets in the way, and it starts faster. Our own folder is
# last on the path, so that a neighbour of this package never stands in for a module of the standard library.
_COMMAND = "import sys; sys.path.append(sys.argv[1]); from local_postgres import keeper; keeper.main(*sys.argv[2:])"


def ensure(cluster: Cluster) -> None:
    """Start a keeper where none is at work, out of reach of the caller's terminal.

    Args:
        cluster: whose users' lock the caller shares.

    Raises:
        KeeperError: where it cannot be started.
    """
    lock = locks.try_lock(cluster.home / LOCK)
    if lock is None:
        return
    try:
        result = _spawn(cluster, lock)
    except OSError as error:
        raise KeeperError(
            f"{sys.executable!r} cannot be run, and nobody would stop the server: {error}. Set sys.executable."
        ) from error
    finally:
        os.close(lock)
    if result.returncode != 0:
        raise KeeperError(
            f"The keeper, which stops the server, did not start with {sys.executable}: set sys.executable to a Python."
            f"\n{result.stderr}"
        )


def _spawn(cluster: Cluster, lock: int) -> subprocess.CompletedProcess[str]:
    source = Path(__file__).resolve().parent.parent
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", _COMMAND, source, cluster.folder, str(lock)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        env=clean_environment(),
        pass_fds=(lock,),
        start_new_session=True,
    )


def main(folder: str, lock: str) -> None:
    """Keep a cluster; the command that :func:`ensure` runs."""
    cluster = Cluster(folder)
    home = cluster.home
    log = locks.create_file(cluster.log, cluster.account.uid, cluster.account.gid)
    if os.fork() != 0:
        # The starter waits for this half only: the other one is nobody's child, and no zombie in the end.
        os._exit(0)
    os.lseek(log, 0, os.SEEK_END)
    os.dup2(log, sys.stderr.fileno())  # also what the starter waits for the end of
    with suppress(FileNotFoundError):
        users = locks.lock_alone(home / USERS)
        if locks.is_current(users, home / USERS):
            finish(cluster)
    # Before the users' lock, which the end of this process gives back: who gets that one next looks for a keeper.
    os.close(int(lock))


def finish(cluster: Cluster) -> None:
    """Stop a server without users, and delete a throwaway cluster; the caller holds the users' lock alone."""
    cluster.stop()
    if not cluster.is_throwaway():
        return
    folders.discard(cluster.home)
    if cluster.folder.is_symlink() and not cluster.folder.exists():
        cluster.folder.unlink()
