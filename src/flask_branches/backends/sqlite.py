"""Branches of a SQLite database: files beside it, copied by SQLite's own backup, which heeds journals and writers."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import sqlalchemy as sa

from flask_branches import record as records
from flask_branches import urls
from flask_branches.backends import sqlite_files as files
from flask_branches.branch import MAIN, Branch
from flask_branches.errors import BranchExists, BranchNotFound, NotSupported
from local_postgres import LocalPostgresError, locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from flask_branches.backends import Prepare
    from flask_branches.branch import PointInTime
    from flask_branches.record import Record

    Source = Callable[[], AbstractContextManager[sqlite3.Connection]]

_FILE = ".sqlite"
_NEW = ".new-"
_HEADER = 100


class SQLite:
    """Branches of a SQLite database.

    Args:
        main: its URL; the file may be missing.
        folder: where the branches of an in-memory database are kept; those of a file lie in ``<file>.branches``.
        memory: lends the connection that an in-memory database lives in.
    """

    name = "sqlite"
    # A byte may need three in a file's name, which has 255.
    longest_name = 75

    def __init__(self, main: sa.URL, *, folder: Path | None = None, memory: Source | None = None) -> None:
        """Take note; nothing is opened."""
        self.main = main
        self._memory = memory
        self._folder = folder if folder is not None else files.folder_of(urls.sqlite_file(main))

    def create(
        self, record: Record, *, at: PointInTime | None = None, prepare: Prepare | None = None, force: bool = False
    ) -> Branch:
        """Copy the parent's file; see :class:`~flask_branches.backends.Backend`."""
        del force  # nobody keeps a SQLite file from being read
        if at is not None:
            raise NotSupported("SQLite keeps no past to branch from: leave the point in time out, or use Neon.")
        path = self._path(record.name)
        with self._writing():
            if path.exists():
                raise BranchExists(f"There is a branch {record.name!r} already: choose another name, or delete it.")
            new = self._built(record.parent, prepare)
            try:
                self._mark(path, replace(record, identity=files.identity(new)))
                new.rename(path)
            except BaseException:
                files.remove(new)
                raise
        return self.get(record.name)

    def branches(self) -> list[Branch]:
        """Every branch, oldest first."""
        found = [self._read(path) for path in self._folder.glob(f"*{_FILE}{files.RECORD}")]
        return sorted((each for each in found if each is not None), key=lambda each: (each.created_at, each.name))

    def get(self, name: str) -> Branch:
        """The branch of that name."""
        branch = self._read(self._path(name).with_name(self._path(name).name + files.RECORD))
        if branch is None:
            raise _not_found(name, self.branches())
        return branch

    def delete(self, branch: Branch) -> None:
        """Delete the file and what SQLite keeps beside it."""
        if self._folder.exists():
            with self._writing():
                files.remove(Path(branch.id))

    def reset(self, branch: Branch, *, prepare: Prepare | None = None, force: bool = False) -> Branch:
        """Copy the parent's pages into the branch's file: who has it open sees them with the next transaction."""
        del force
        self.get(branch.name)
        with self._writing():
            new = self._built(branch.parent, prepare)
            try:
                with closing(sqlite3.connect(new)) as source, closing(sqlite3.connect(branch.id)) as target:
                    files.copy(source, target, f"The branch {branch.name!r}")
            finally:
                files.remove(new)
        return branch

    def update(self, branch: Branch, expires_at: datetime | None, labels: Mapping[str, str] | None = None) -> Branch:
        """Write another expiry, and other labels, into the record."""
        path = Path(branch.id)
        record = self._record(path)
        if record is None:
            raise _not_found(branch.name, self.branches())
        record = record.updated(expires_at, labels)
        self._mark(path, record)
        return replace(branch, expires_at=expires_at, labels=record.labels)

    def vouch(self, url: sa.URL) -> Record | None:
        """The record beside the file, if it is this file's."""
        path = urls.sqlite_file(url)
        record = self._record(path)
        return record if record is not None and record.identity == files.identity(path) else None

    def adopt(self, url: sa.URL, record: Record) -> None:
        """Write a record beside the file."""
        path = urls.sqlite_file(url)
        self._mark(path, replace(record, identity=files.identity(path)))

    def state(self, parent: str) -> str:
        """A digest of what the file system says of the file and its log, and of their headers."""
        if parent == MAIN and self._memory is not None:
            return secrets.token_hex(8)
        path = urls.sqlite_file(self.main) if parent == MAIN else self._path(parent)
        digest = sha256()
        for each in (path, path.with_name(f"{path.name}-wal")):
            with suppress(FileNotFoundError), each.open("rb") as file:
                status = os.fstat(file.fileno())
                digest.update(f"{status.st_ino} {status.st_size} {status.st_mtime_ns}".encode() + file.read(_HEADER))
        return digest.hexdigest()[:16]

    def sweep(self, *, dry_run: bool) -> list[str]:
        """Files of creations that died; while somebody creates, nothing is called dead."""
        if self.is_held("") or not self._folder.exists():
            return []
        left = [path.name for path in self._folder.glob(f"{_NEW}*{_FILE}")]
        if not dry_run:
            with self._writing():  # which removes them
                for path in self._folder.glob("*.lock"):
                    with locks.tried(path) as free:
                        if free:
                            path.unlink()
        return left

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Hold a lock file of that name alone."""
        self._make_folder()
        with files.file_lock(self._lock(what)):
            yield
        self._leave()

    def is_held(self, what: str) -> bool:
        """Whether a process of this machine holds that lock."""
        if not self._lock(what).exists():
            return False
        with locks.tried(self._lock(what)) as free:
            return not free

    def close(self) -> None:
        """Nothing is kept open."""

    def _built(self, parent: str | None, prepare: Prepare | None) -> Path:
        """A complete copy of a parent under a name that nobody looks for."""
        new = self._folder / f"{_NEW}{secrets.token_hex(8)}{_FILE}"
        try:
            with self._source(parent) as source, closing(sqlite3.connect(new)) as target:
                target.execute("PRAGMA synchronous = OFF")
                if source is None:
                    target.execute("VACUUM")  # so that the file begins as a database, not as nothing
                else:
                    target.execute("PRAGMA journal_mode = OFF")
                    files.copy(source, target, f"The parent {parent!r}")
            if prepare is not None:
                prepare(self._url(new))
        except BaseException:
            files.remove(new)
            raise
        return new

    @contextmanager
    def _source(self, parent: str | None) -> Iterator[sqlite3.Connection | None]:
        if parent is None:
            yield None
        elif parent == MAIN and self._memory is not None:
            with self._memory() as connection:
                yield connection
        else:
            path = urls.sqlite_file(self.main) if parent == MAIN else Path(self.get(parent).id)
            if not path.is_file():
                raise BranchNotFound(
                    f"The parent {parent!r} has no file at {path}: make it first, or branch from 'empty'."
                )
            # Opened for writing, so that the journal of a writer that died can be rolled back; nothing else is written.
            with closing(
                sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=files.WAIT_SECONDS)
            ) as opened:
                yield opened

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Change the folder alone; an orphan of a creation that died goes first, an empty folder goes last."""
        try:
            self._make_folder()
            with files.file_lock(self._lock("")):
                for path in self._folder.glob(f"{_NEW}*{_FILE}"):
                    files.remove(path)
                yield
            self._leave()
        except (OSError, sqlite3.Error, sa.exc.DBAPIError, LocalPostgresError) as error:
            raise files.failed(self._folder, error) from error

    def _leave(self) -> None:
        with suppress(OSError):  # there are branches, or somebody has just come
            self._folder.rmdir()

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.failed(self._folder, error) from error

    def _path(self, name: str) -> Path:
        return self._folder / f"{files.as_file(name)}{_FILE}"

    def _lock(self, what: str) -> Path:
        return self._folder / f"{files.as_file(what)}.lock"

    def _url(self, path: Path) -> sa.URL:
        return sa.URL.create(
            self.main.drivername, database=str(path), query=self.main.query if not self._memory else {}
        )

    def _record(self, path: Path) -> Record | None:
        try:
            return records.loads(path.with_name(path.name + files.RECORD).read_text())
        except OSError:
            return None

    def _mark(self, path: Path, record: Record) -> None:
        """Write the record in one go, beside whatever reads it now."""
        new = path.with_name(f"{path.name}{files.RECORD}.{secrets.token_hex(4)}")
        try:
            new.write_text(record.dumps())
            new.rename(path.with_name(path.name + files.RECORD))
        except OSError as error:
            new.unlink(missing_ok=True)
            raise files.failed(path, error) from error

    def _read(self, mark: Path) -> Branch | None:
        path = mark.with_name(mark.name.removesuffix(files.RECORD))
        record = self._record(path)
        if record is None or not path.exists():
            return None
        return Branch(
            id=str(path),
            name=record.name,
            parent=record.parent,
            url=urls.plain(self._url(path)),
            created_at=record.created_at,
            expires_at=record.expires_at,
            backend=self.name,
            labels=record.labels,
        )


def _not_found(name: str, there: list[Branch]) -> BranchNotFound:
    names = ", ".join(repr(each.name) for each in there) or "none"
    return BranchNotFound(f"There is no branch {name!r}; there are: {names}.")
