"""Branches of a SQLite database: files beside it, copied by SQLite's own backup, which heeds journals and writers."""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches import record as records
from flask_branches import urls
from flask_branches.backends import ByName, not_found
from flask_branches.backends import sqlite_files as files
from flask_branches.branch import MAIN, Branch
from flask_branches.errors import BranchExists, BranchNotFound, DatabaseFailed, DatabaseInUse, NotSupported
from local_postgres import LocalPostgresError, locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from flask_branches.backends import Prepare
    from flask_branches.branch import PointInTime
    from flask_branches.record import Record

    Source = Callable[[], AbstractContextManager[sqlite3.Connection]]

_HEADER = 100
_PRIVATE = 0o600


class SQLite(ByName):
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
        self._folder = folder if folder is not None else files.folder_of(self._file)

    def create(
        self, record: Record, *, at: PointInTime | None = None, prepare: Prepare | None = None, force: bool = False
    ) -> Branch:
        """Copy the parent's file; see :class:`~flask_branches.backends.Backend`."""
        del force  # nobody keeps a SQLite file from being read
        if at is not None:
            raise NotSupported("SQLite keeps no past to branch from: leave the point in time out, or use Neon.")
        path = self._path(record.name)
        urls.require_written(self._url(path))
        with self._writing():
            self._require_free(path, record.name)
            new = self._built(record.parent, prepare)
            try:
                files.remove(path)  # a log left behind there would be taken for the new file's
                self._mark(path, replace(record, identity=files.identity(new)))
                new.rename(path)
            except BaseException:
                files.remove(new)
                raise
        return self.get(record.name)

    def branches(self) -> list[Branch]:
        """Every branch, oldest first."""
        found = [
            self._read(mark.with_name(mark.name.removesuffix(files.RECORD)))
            for mark in files.matching(self._folder, f"*{files.FILE}{files.RECORD}")
        ]
        return sorted((each for each in found if each is not None), key=lambda each: (each.created_at, each.name))

    def get(self, name: str) -> Branch:
        """The branch of that name."""
        branch = self._read(self._path(name))
        if branch is None:
            raise not_found(name, self.branches())
        return branch

    def delete(self, branch: Branch) -> None:
        """Delete the file and what SQLite keeps beside it; only while its record still says that it is this branch."""
        path = Path(branch.id)
        if path.exists():
            with self._writing():
                found = self._read(path)
                if found is not None and found.name == branch.name:
                    files.remove(path)

    @contextmanager
    def resetting(self, branch: Branch, *, prepare: Prepare | None = None, force: bool = False) -> Iterator[None]:
        """Copy the parent's pages into the branch's file: who has it open sees them with the next transaction."""
        del force
        with self._writing(), ExitStack() as undo:
            found = self.get(branch.name)
            new = self._built(found.parent, prepare)
            undo.callback(files.remove, new)
            source = undo.enter_context(closing(sqlite3.connect(new)))
            target = undo.enter_context(closing(sqlite3.connect(found.id, timeout=files.AT_ONCE)))
            files.let_be_resized(source, target, found.name)
            yield
            files.copy(source, target, f"The branch {found.name!r}")

    def update(self, branch: Branch, expires_at: datetime | None, labels: Mapping[str, str] | None = None) -> Branch:
        """Write another expiry, and other labels, into the record."""
        path = Path(branch.id)
        with self._writing():
            record = self._record(path)
            if record is None:
                raise not_found(branch.name, self.branches())
            record = record.updated(expires_at, labels)
            self._mark(path, record)
        return replace(branch, expires_at=expires_at, labels=record.labels)

    def vouch(self, url: sa.URL) -> Record | None:
        """The record beside the file, if it is this file's."""
        return self._record(files.real(url))

    def is_main(self, url: sa.URL) -> bool:
        """Whether a URL leads to main's file, by whatever link."""
        if self._memory is not None or url.get_backend_name() != self.main.get_backend_name() or urls.is_memory(url):
            return False
        with suppress(FileNotFoundError):
            return urls.sqlite_file(url).samefile(self._file)
        return urls.key(url) == urls.key(self.main)

    def adopt(self, url: sa.URL, record: Record) -> None:
        """Write a record beside the file."""
        path = files.real(url)
        self._mark(path, replace(record, identity=files.identity(path)))

    def state(self, parent: str) -> str:
        """A digest of what the file system says of the file and its log, and of their headers."""
        if parent == MAIN and self._memory is not None:
            return secrets.token_hex(8)
        path = self._file if parent == MAIN else self._path(parent)
        digest = sha256()
        for each in (path, path.with_name(f"{path.name}-wal")):
            with suppress(FileNotFoundError), each.open("rb") as file:
                status = os.fstat(file.fileno())
                digest.update(f"{status.st_ino} {status.st_size} {status.st_mtime_ns}".encode() + file.read(_HEADER))
        return digest.hexdigest()[:16]

    def sweep(self, *, dry_run: bool) -> list[str]:
        """Files of creations that died; while somebody creates, nothing is called dead."""
        if self.is_held(""):
            return []
        left = [path.name for path in files.half_built(self._folder)]
        if not dry_run and self._folder.exists():
            with self._writing():  # which removes them
                files.remove_free_locks(self._folder)
        return left

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Hold a lock file of that name alone."""
        with ExitStack() as held:
            held.callback(self._leave)
            with self._told():
                held.enter_context(files.file_lock(self._lock(what)))
            yield

    def is_held(self, what: str) -> bool:
        """Whether a process of this machine holds that lock."""
        with self._told():
            return locks.is_held(self._lock(what))

    def close(self) -> None:
        """Nothing is kept open."""

    def _built(self, parent: str | None, prepare: Prepare | None) -> Path:
        """A complete copy of a parent under a name that nobody looks for; as private as the parent is."""
        new = self._new()
        try:
            new.touch(_PRIVATE)
            with self._source(parent) as source, closing(sqlite3.connect(new)) as target:
                target.execute("PRAGMA synchronous = OFF")
                if source is None:
                    target.execute("VACUUM")  # so that the file begins as a database, not as nothing
                else:
                    target.execute("PRAGMA journal_mode = OFF")
                    files.copy(source, target, f"The parent {parent!r}")
            if prepare is not None:
                prepare(self._url(new))
                files.rewrite(new, self._new())
            new.chmod(self._mode(parent))
        except BaseException:
            files.remove(new)
            raise
        return new

    @cached_property
    def _file(self) -> Path:
        """Main's own file, found once: nothing changes with a link that leads elsewhere later."""
        return files.real(self.main)

    @contextmanager
    def _source(self, parent: str | None) -> Iterator[sqlite3.Connection | None]:
        if parent is None:
            yield None
        elif parent == MAIN and self._memory is not None:
            with self._memory() as connection:
                if connection.in_transaction:
                    raise DatabaseInUse(
                        "The parent 'main' has an open transaction, in memory: commit or roll back first."
                    )
                yield connection
        else:
            with files.opened(self._parent(parent)) as connection:
                yield connection

    def _parent(self, parent: str) -> Path:
        path = self._file if parent == MAIN else self._path(parent)
        if parent != MAIN:
            self.get(parent)
        if not path.is_file():
            raise BranchNotFound(f"The parent {parent!r} has no file at {path}: make it first, or branch from 'empty'.")
        return path

    def _mode(self, parent: str | None) -> int:
        if parent is None or (parent == MAIN and self._memory is not None):
            return _PRIVATE
        return stat.S_IMODE(self._parent(parent).stat().st_mode) | _PRIVATE

    def _require_free(self, path: Path, name: str) -> None:
        if self._read(path) is not None:
            raise BranchExists(f"There is a branch {name!r} already: choose another name, or delete it.")
        if path.exists():
            raise BranchExists(f"{path} is there, and no branch: choose another name, or move that file away.")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Change the folder alone; what creations that died have left goes first, an empty folder goes last."""
        with self.locked(""), self._told():
            files.tidy(self._folder)
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error, sa.exc.DBAPIError, LocalPostgresError) as error:
            raise files.failed(self._folder, error) from error

    def _leave(self) -> None:
        with suppress(OSError):  # there are branches, or somebody has just come
            self._folder.rmdir()

    def _new(self) -> Path:
        return self._folder / f"{files.NEW}{secrets.token_hex(8)}{files.FILE}"

    def _path(self, name: str) -> Path:
        return self._folder / f"{files.as_file(name)}{files.FILE}"

    def _lock(self, what: str) -> Path:
        return self._folder / f"{files.as_file(what)}{files.LOCK}"

    def _url(self, path: Path) -> sa.URL:
        return sa.URL.create(
            self.main.drivername, database=str(path), query=self.main.query if not self._memory else {}
        )

    def _record(self, path: Path) -> Record | None:
        """The record beside a file; one that was copied there from another file's is none."""
        try:
            record = records.loads(path.with_name(path.name + files.RECORD).read_text())
            return record if record is not None and record.identity == files.identity(path) else None
        except (OSError, ValueError, DatabaseFailed):  # it may have gone meanwhile
            return None

    def _mark(self, path: Path, record: Record) -> None:
        """Write the record in one go, beside whatever reads it now."""
        new = path.with_name(f"{files.NEW}{secrets.token_hex(8)}{files.RECORD}")
        try:
            new.write_text(record.dumps())
            new.rename(path.with_name(path.name + files.RECORD))
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            raise files.failed(path, error) from error

    def _read(self, path: Path) -> Branch | None:
        record = self._record(path)
        return None if record is None else record.branch(str(path), urls.plain(self._url(path)), self.name)
