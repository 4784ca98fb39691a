"""SQLite's files: how they are named, locked, copied, told apart and removed."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask_branches.errors import DatabaseFailed, DatabaseInUse
from local_postgres import locks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

RECORD = ".branch"
_BESIDE = ("-journal", "-wal", "-shm")
WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.05


def folder_of(file: Path) -> Path:
    """Where the branches of a database file lie: beside it."""
    return file.with_name(f"{file.name}.branches")


def as_file(name: str) -> str:
    """A name that any file can have, and that means the same in a URL."""
    return quote(name, safe="").replace("%", "=")


def copy(source: sqlite3.Connection, target: sqlite3.Connection, what: str) -> None:
    """Copy a whole database, and wait for a writer that keeps it to himself, but not for ever."""
    limit = time.monotonic() + WAIT_SECONDS

    def in_time(_status: int, remaining: int, total: int) -> None:
        # Nothing copied yet is a file that somebody keeps to himself.
        if remaining == total and time.monotonic() > limit:
            raise DatabaseInUse(f"{what} has been locked by a writer for {WAIT_SECONDS:.0f} s: let it finish first.")

    source.backup(target, progress=in_time, sleep=_POLL_SECONDS)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the file of that name alone, not one that was deleted while it was waited for."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = locks.lock_alone(path)
        except FileNotFoundError:
            continue
        if locks.is_current(file, path):
            break
        os.close(file)
    try:
        yield
    finally:
        # Who waits for it finds that it is not the current one any more.
        path.unlink(missing_ok=True)
        locks.unlock(file)


def remove(path: Path) -> None:
    """The data first: a record alone is nothing, data alone would be nobody's."""
    for suffix in ("", *_BESIDE, RECORD):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def identity(path: Path) -> str:
    """What tells a file from another of the same name."""
    try:
        return str(path.stat().st_ino)
    except OSError as error:
        raise failed(path, error) from error


def failed(path: Path, error: Exception) -> DatabaseFailed:
    """What the file system or SQLite refused, with a remedy."""
    what = error.strerror if isinstance(error, OSError) else str(getattr(error, "orig", error))
    remedy = "free some space" if "full" in str(what) or "space" in str(what) else "see that it can be read and written"
    return DatabaseFailed(f"{path} could not be used: {what}. Look at the disk and {remedy}.")
