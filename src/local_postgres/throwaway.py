"""Folders for clusters that nobody wants to keep, in memory where there is room."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from local_postgres import folders, keeper, locks
from local_postgres.account import default_account
from local_postgres.cluster import Cluster
from local_postgres.errors import FolderError, LocalPostgresError

if TYPE_CHECKING:
    from local_postgres.account import Account

_MEMORY = Path("/dev/shm")  # noqa: S108 - folders in it are made with an unguessable name and mode 0700
_ROOM = 512 * 1024 * 1024
_PREFIX = "local_postgres-"


def throwaway_folder() -> Path:
    """Make a fresh private folder that the server's account can reach, on /dev/shm where that has room.

    A lease with `throwaway=True` deletes it after its last user. Clusters that killed processes have left
    in earlier ones are deleted now.

    Raises:
        AccountError: for root, where no account may run a server.
        FolderError: where no temporary folder can be written by this account and entered by the server's.
        PlatformError: on Windows.
    """
    account = default_account()
    base = _base(account)
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(LocalPostgresError, OSError):  # somebody else's, or just being deleted: no fault of the caller's
            _sweep(folder, account)
    return folders.make_private(base / f"{_PREFIX}{secrets.token_hex(8)}", account)


def _base(account: Account) -> Path:
    for base in (_MEMORY, Path(tempfile.gettempdir()), *map(Path, ("/tmp", "/var/tmp"))):  # noqa: S108 - see _MEMORY
        if base.is_dir() and os.access(base, os.W_OK | os.X_OK) and account.reaches(base):
            if base == _MEMORY and shutil.disk_usage(base).free < _ROOM:
                continue
            return base
    raise FolderError(f"No temporary folder can be written here and entered by {account.name}: set TMPDIR to one.")


def _sweep(folder: Path, account: Account) -> None:
    """Delete a throwaway cluster whose users and keeper are all gone."""
    if folder.is_symlink() or folder.stat().st_uid != account.uid:
        return
    if folders.DOOMED in folder.name:
        folders.remove_tree(folder)
    elif (folder / keeper.USERS).exists() and (cluster := Cluster(folder)).is_throwaway():
        # In this order: while the users' lock is held alone, nobody looks whether there is a keeper.
        with locks.tried(folder / keeper.USERS) as users, locks.tried(folder / keeper.LOCK) as keepers:
            if users and keepers:
                keeper.finish(cluster)
