"""SQLite's files: how they are named, locked, copied, told apart and removed."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa

from flask_branches import urls
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
_PRIVATE = 0o600


def folder_of(file: Path) -> Path:
    """Where the branches of a database file lie: beside it."""
    return file.with_name(f"{file.name}.branches")


def real(url: sa.URL) -> Path:
    """The file that a URL leads to, whatever links are on the way: SQLite, too, has a file's log beside that."""
    return Path(os.path.realpath(urls.sqlite_file(url)))


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
        pooled._close_special(transaction_reset=True)  # noqa: SLF001  the pool's public ways to take it back roll back


def copy(source: sqlite3.Connection, target: sqlite3.Connection, what: str) -> None:
    """Copy a whole database, and wait for whoever keeps it, or the target, to himself, but not for ever."""
    limit = time.monotonic() + WAIT_SECONDS

    def in_time(_status: int, remaining: int, total: int) -> None:
        # Nothing copied yet is a file that somebody keeps to himself.
        if remaining == total and time.monotonic() > limit:
            raise DatabaseInUse(f"{what} has been locked by a writer for {WAIT_SECONDS:.0f} s: let it finish first.")

    source.backup(target, progress=in_time, sleep=_POLL_SECONDS)


def let_be_resized(source: sqlite3.Connection, target: sqlite3.Connection, name: str) -> None:
    """Take a branch out of the WAL mode, in which no copy can change the size of its pages.

    Raises:
        DatabaseInUse: where somebody else has the branch open.
    """
    (new,), (old,), (mode,) = (
        connection.execute(f"PRAGMA {pragma}").fetchone()
        for connection, pragma in ((source, "page_size"), (target, "page_size"), (target, "journal_mode"))
    )
    if new == old or mode != "wal":
        return
    try:
        target.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise DatabaseInUse(
            f"The branch {name!r} is open elsewhere, and has pages of {old} bytes where its parent now has {new}: "
            "close it there, or delete it and make it anew."
        ) from error


def rewrite(path: Path, new: Path) -> None:
    """Leave nothing in a file but what can be read from it: free pages keep what was deleted and overwritten.

    ``VACUUM INTO`` keeps row ids where ``VACUUM`` may number anew; it does not keep the WAL mode.
    """
    with path.open("rb") as file:
        in_wal = file.read(20)[18:] == _IN_WAL
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        new.touch(_PRIVATE, exist_ok=False)  # SQLite would make it readable for others
        connection.execute("VACUUM INTO ?", [str(new)])
    if in_wal:
        with closing(sqlite3.connect(new)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    new.replace(path)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the file of that name alone, not one that was deleted while it was waited for."""
    while True:
        try:
            _make_folder(path.parent)
            file = locks.lock_alone(path)
        except FileNotFoundError:  # the last one to leave has taken the folder with it
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # also where a folder was there, and goes before it is looked at
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise


def remove_free_locks(folder: Path) -> None:
    """Remove the locks of processes that died; whoever waits for one finds that it is not the current one any more."""
    for path in matching(folder, f"*{LOCK}"):
        with suppress(FileNotFoundError), locks.tried(path) as free:
            if free:
                path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """The data first: a record alone is nothing, data alone would be nobody's."""
    for suffix in ("", *_BESIDE, RECORD):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def matching(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder whose names fit a pattern; none where the folder goes while it is read."""
    with suppress(FileNotFoundError):
        return sorted(folder.glob(pattern))
    return []


def half_built(folder: Path) -> list[Path]:
    """What creations that died have left in a folder."""
    return matching(folder, f"{NEW}*{FILE}")


def tidy(folder: Path) -> None:
    """Remove what processes that died have left in a folder; for the one who is alone there."""
    for path in half_built(folder):
        remove(path)
    for mark in matching(folder, f"{NEW}*{RECORD}"):
        mark.unlink(missing_ok=True)
    for mark in matching(folder, f"*{FILE}{RECORD}"):
        if not mark.with_name(mark.name.removesuffix(RECORD)).exists():
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
