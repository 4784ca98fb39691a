"""SQLite's files: how they are named, locked, copied, told apart and removed."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa

from flask_branches.errors import DatabaseFailed, DatabaseInUse
from local_postgres import locks

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = ".sqlite"
RECORD = ".branch"
LOCK = ".lock"
# A character that no file of a branch has in its name.
NEW = ".+new-"
_BESIDE = ("-journal", "-wal", "-shm")
WAIT_SECONDS = 30.0
# Often: a busy writer leaves only moments. SQLite's own waiting is longer, and deaf to Ctrl-C.
_POLL_SECONDS = 0.002
AT_ONCE = 0.0
_IN_WAL = b"\2\2"


def folder_of(file: Path) -> Path:
    """Where the branches of a database file lie: beside it."""
    return file.with_name(f"{file.name}.branches")


def as_file(name: str) -> str:
    """A name that any file can have, and that means the same in a URL."""
    return quote(name, safe="", errors="surrogatepass").replace("%", "=")


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that is there, to be copied from.

    For writing, so that the journal of a writer that died can be rolled back; nothing else is written.

    Raises:
        DatabaseFailed: where it is none, or may not be read.
    """
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=AT_ONCE)
        connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:  # `copy` waits for that
            raise failed(path, error) from error
    with closing(connection):
        yield connection


@contextmanager
def lent(engine: sa.Engine) -> Iterator[sqlite3.Connection]:
    """The one connection that an in-memory database lives in; what a session has begun there goes on afterwards."""
    pooled: Any = engine.raw_connection()
    try:
        yield pooled.driver_connection
    finally:
        pooled._close_special(transaction_reset=True)  # noqa: SLF001  any other way to close it rolls back


def copy(source: sqlite3.Connection, target: sqlite3.Connection, what: str) -> None:
    """Copy a whole database, and wait for whoever keeps it, or the target, to himself, but not for ever."""
    limit = time.monotonic() + WAIT_SECONDS

    def in_time(_status: int, remaining: int, total: int) -> None:
        # Nothing copied yet is a file that somebody keeps to himself.
        if remaining == total and time.monotonic() > limit:
            raise DatabaseInUse(f"{what} has been locked by a writer for {WAIT_SECONDS:.0f} s: let it finish first.")

    source.backup(target, progress=in_time, sleep=_POLL_SECONDS)


def rewrite(path: Path, new: Path) -> None:
    """Leave nothing in a file but what can be read from it: free pages keep what was deleted and overwritten.

    ``VACUUM INTO`` keeps row ids where ``VACUUM`` may number anew; it does not keep the WAL mode.
    """
    with path.open("rb") as file:
        in_wal = file.read(20)[18:] == _IN_WAL
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("VACUUM INTO ?", [str(new)])
    if in_wal:
        with closing(sqlite3.connect(new)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    new.replace(path)


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


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of that name."""
    if not path.exists():
        return False
    try:
        with locks.tried(path) as free:
            return not free
    except FileNotFoundError:  # the last one has just left
        return False


def remove_free_locks(folder: Path) -> None:
    """Remove the locks of processes that died; whoever waits for one finds that it is not the current one any more."""
    for path in folder.glob(f"*{LOCK}"):
        with suppress(FileNotFoundError), locks.tried(path) as free:
            if free:
                path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """The data first: a record alone is nothing, data alone would be nobody's."""
    for suffix in ("", *_BESIDE, RECORD):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def half_built(folder: Path) -> list[Path]:
    """What creations that died have left in a folder."""
    return sorted(folder.glob(f"{NEW}*{FILE}"))


def tidy(folder: Path) -> None:
    """Remove what processes that died have left in a folder; for the one who is alone there."""
    for path in half_built(folder):
        remove(path)
    for mark in [*folder.glob(f"*{FILE}{RECORD}"), *folder.glob(f"*{FILE}{RECORD}.*")]:
        if not mark.name.endswith(RECORD) or not mark.with_name(mark.name.removesuffix(RECORD)).exists():
            mark.unlink(missing_ok=True)


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


@contextmanager
def told(url: sa.URL) -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise failed(Path(str(url.database)), error) from error
