"""Branches of a Postgres database: databases beside it on the same server, cloned, with a record as their comment."""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches import urls
from flask_branches.backends import ByName, not_found
from flask_branches.backends import postgres_clone as clone
from flask_branches.backends import postgres_server as server
from flask_branches.backends.postgres_errors import told
from flask_branches.branch import MAIN, Branch
from flask_branches.errors import (
    BranchesError,
    BranchExists,
    BranchNotFound,
    DatabaseFailed,
    NotSupported,
    Refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from flask_branches.backends import Prepare
    from flask_branches.branch import PointInTime
    from flask_branches.record import Record

_NAME_BYTES = 63
_JOIN = "__"
_LONGEST_MAIN = 31
_DIGEST = 8
_CREATE = "create"
# Long enough that no one else's database is called so by chance.
_HALF_BUILT = "flask_branches_{main}_"


class Postgres(ByName):
    """Branches of a Postgres database.

    Args:
        main: its URL; the database may be missing, the server may not.
        connect_args: what the application passes to its driver beside the URL.
    """

    name = "postgres"

    def __init__(self, main: sa.URL, connect_args: dict[str, Any] | None = None) -> None:
        """Take note; nothing is connected."""
        self.main = main.set(database=urls.database(main))
        self._server = server.Server(self.main, connect_args or {})
        database = str(self.main.database)
        digest = sha256(database.encode()).hexdigest()[:_DIGEST]
        self._half_built = _HALF_BUILT.format(main=digest)
        short = database
        if len(database.encode()) > _LONGEST_MAIN:
            kept = database.encode()[: _LONGEST_MAIN - _DIGEST - 1].decode(errors="ignore")
            short = f"{kept}_{digest}"
        self._prefix = short + _JOIN
        self.longest_name = _NAME_BYTES - len(self._prefix.encode())

    def create(
        self, record: Record, *, at: PointInTime | None = None, prepare: Prepare | None = None, force: bool = False
    ) -> Branch:
        """Clone the parent; see :class:`~flask_branches.backends.Backend`."""
        if at is not None:
            raise NotSupported(
                "A Postgres server keeps no past to branch from: leave the point in time out, or use Neon."
            )
        database = self._prefix + record.name
        urls.require_written(self.main.set(database=database))
        with self._alone() as connection:
            there = self._half_built_ones(connection, database)
            if database in there:
                raise self._taken(connection, database, record.name)
            self._drop(connection, there)
            with self._built(connection, record, prepare, force=force) as (new, marking):
                # Not flushed at once: whatever is made durable in the branch makes its name so first.
                server.run(
                    connection,
                    f"SET LOCAL synchronous_commit = off; {marking};"
                    f" ALTER DATABASE {server.quoted(new)} RENAME TO {server.quoted(database)}",
                )
        return self._branch(database, record)

    def branches(self) -> list[Branch]:
        """Every branch, oldest first."""
        with self._server.connected() as connection:
            return self._listed(connection)

    def get(self, name: str) -> Branch:
        """The branch of that name."""
        with self._server.connected() as connection:
            return self._found(connection, name)

    def delete(self, branch: Branch) -> None:
        """Drop the database, and end its sessions; only while its comment still says that it is this branch."""
        with self._server.connected() as connection:
            if any(each.id == branch.id for each in self._listed(connection)):
                server.drop(connection, branch.id)

    @contextmanager
    def resetting(self, branch: Branch, *, prepare: Prepare | None = None, force: bool = False) -> Iterator[None]:
        """Clone the parent anew, and exchange the two databases when the clone is complete."""
        with self._alone() as connection:
            self._drop_half_built(connection)
            found = self._found(connection, branch.name)
            record = server.record_of(connection, found.id)
            if record is None:  # deleted meanwhile, for which nobody has to wait
                raise not_found(branch.name, self._listed(connection))
            clone.require_idle(connection, found.id, f"The branch {branch.name!r}", force=force)
            with self._built(connection, record, prepare, force=force) as (new, marking):
                yield
                clone.require_idle(connection, found.id, f"The branch {branch.name!r}", force=force)
                old = self._half_built + secrets.token_hex(6)
                # All in one transaction: the branch is never without a database.
                server.run(
                    connection,
                    f"{marking}; ALTER DATABASE {server.quoted(found.id)} RENAME TO {server.quoted(old)};"
                    f" ALTER DATABASE {server.quoted(new)} RENAME TO {server.quoted(found.id)}",
                )
            server.drop(connection, old)

    def update(self, branch: Branch, expires_at: datetime | None, labels: Mapping[str, str] | None = None) -> Branch:
        """Write another expiry, and other labels, into the record."""
        with self._server.connected() as connection:
            record = server.record_of(connection, branch.id)
            if record is None:
                raise not_found(branch.name, self._listed(connection))
            record = record.updated(expires_at, labels)
            server.mark(connection, branch.id, record)
        return replace(branch, expires_at=expires_at, labels=record.labels)

    def vouch(self, url: sa.URL) -> Record | None:
        """The record of the database that a URL leads to, on whatever server."""
        with self._at(url) as (connection, database):
            return server.record_of(connection, database)

    def is_main(self, url: sa.URL) -> bool:
        """Whether a URL leads to main, by whatever name of its server; one that is out of reach is not main."""
        if url.get_backend_name() != self.main.get_backend_name():
            return False
        if urls.key(url) == urls.key(self.main):
            return True
        with self._at(url) as (connection, database):
            there = server.place(connection, database)
        with suppress(DatabaseFailed), self._server.connected() as connection:
            return there == server.place(connection, str(self.main.database))
        return False

    def adopt(self, url: sa.URL, record: Record) -> None:
        """Put a record on the database as its comment."""
        with self._at(url) as (connection, database):
            if server.comment_of(connection, database) is not None:
                raise Refused(
                    f"The database {database!r} has a comment, which the record would replace: "
                    "remove it with COMMENT ON DATABASE … IS NULL, or adopt another one."
                )
            server.mark(connection, database, record)

    def state(self, parent: str) -> str:
        """What the server has counted of the rows written there; never twice the same while somebody may be writing."""
        with self._server.connected() as connection:
            database = str(self.main.database) if parent == MAIN else self._found(connection, parent).id
            return clone.state(connection, database) or secrets.token_hex(8)

    def sweep(self, *, dry_run: bool) -> list[str]:
        """Databases of creations that died; while somebody creates, nothing is called dead."""
        with self._server.connected() as connection:
            held = server.is_held(connection, self._lock(_CREATE))
            left = [] if held else self._half_built_ones(connection)
        if left and not dry_run:
            with self._alone() as connection:
                return self._drop_half_built(connection)
        return left

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Hold an advisory lock of the server's."""
        with self._server.locked(self._lock(what)):
            yield

    def is_held(self, what: str) -> bool:
        """Whether a session of whatever machine holds that lock."""
        with self._server.connected() as connection:
            return server.is_held(connection, self._lock(what))

    def close(self) -> None:
        """Close the connection that is kept for the next call."""
        self._server.close()

    @contextmanager
    def _built(
        self, connection: Connection, record: Record, prepare: Prepare | None, *, force: bool
    ) -> Iterator[tuple[str, str]]:
        """A complete database under a name that nobody looks for; dropped unless the block marks and renames it.

        Given with the statement that marks it: together with the renaming it is one transaction, which is one flush.
        """
        new = self._half_built + secrets.token_hex(6)
        parent = self._parent(connection, record.parent)
        if parent is not None and parent.sessions:
            may_end = force and record.parent != MAIN
            clone.require_idle(
                connection, parent.name, f"The parent {record.parent!r}", force=may_end, forcible=record.parent != MAIN
            )
        try:
            if parent is None:
                clone.create_empty(connection, str(self.main.database), new)
            else:
                clone.clone(connection, parent, new)
            if prepare is not None:
                prepare(self.main.set(database=new))
            yield new, server.marking(connection, new, record)
        except BaseException:
            # By another connection: an interruption has spoilt this one. What is left all the same goes next time.
            with suppress(BranchesError), self._server.connected() as other:
                server.drop(other, new)
            raise

    def _parent(self, connection: Connection, parent: str | None) -> clone.Source | None:
        if parent is None:
            return None
        database = str(self.main.database) if parent == MAIN else self._found(connection, parent).id
        found = clone.source(connection, database)
        if found is None:
            raise BranchNotFound(
                f"The parent {parent!r} is the database {database!r}, which does not exist: make it, or branch from "
                "empty."
            )
        return found

    def _listed(self, connection: Connection) -> list[Branch]:
        found = [
            self._branch(database, record)
            for database, record in server.records_on(connection)
            # One that is being exchanged has its record still.
            if record.main == self.main.database and not database.startswith(self._half_built)
        ]
        return sorted(found, key=lambda each: (each.created_at, each.name))

    def _found(self, connection: Connection, name: str) -> Branch:
        there = self._listed(connection)
        for each in there:
            if each.name == name:
                return each
        raise not_found(name, there)

    def _branch(self, database: str, record: Record) -> Branch:
        return record.branch(database, urls.plain(self.main.set(database=database)), self.name)

    def _half_built_ones(self, connection: Connection, beside: str | None = None) -> list[str]:
        """The half-built databases that there are; and another, if it is there."""
        statement = sa.text(
            "SELECT datname FROM pg_database WHERE starts_with(datname, :prefix) OR datname = :beside ORDER BY datname"
        )
        return list(connection.execute(statement, {"prefix": self._half_built, "beside": beside or ""}).scalars())

    def _drop_half_built(self, connection: Connection) -> list[str]:
        return self._drop(connection, self._half_built_ones(connection))

    @staticmethod
    def _drop(connection: Connection, left: list[str]) -> list[str]:
        for database in left:
            server.drop(connection, database)
        return left

    def _lock(self, what: str) -> str:
        return f"{what} {self.main.database}"

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """Change main's branches alone."""
        with told(self.main), self._server.locked(self._lock(_CREATE)) as connection:
            yield connection

    @contextmanager
    def _at(self, url: sa.URL) -> Iterator[tuple[Connection, str]]:
        database = urls.database(url)
        there = server.Server(url, self._server.connect_args)
        with there.connected(database) as connection:
            yield connection, database

    def _taken(self, connection: Connection, database: str, name: str) -> BranchExists:
        if any(each.name == name for each in self._listed(connection)):
            return BranchExists(f"There is a branch {name!r} already: choose another name, or delete it.")
        return BranchExists(f"There is a database {database!r}, and it is no branch: choose another name.")
