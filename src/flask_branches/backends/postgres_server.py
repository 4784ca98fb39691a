"""A Postgres server, asked from a database that nobody branches: its databases, their records, and locks."""

from __future__ import annotations

import os
import time
import weakref
import zlib
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches import ours
from flask_branches import record as records
from flask_branches.backends.postgres_errors import LOCK_WAIT, sqlstate, told
from flask_branches.errors import BranchNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from flask_branches.record import Record

# Any number that no other program on a server locks by.
_LOCK_SPACE = 1_651_663_214
_USUAL = "postgres"
_TEMPLATE = "template1"
# What branches are managed from where the database that servers have for that is one that is branched.
_OWN = "flask_branches"
_DIVISION_BY_ZERO = "22012"
_MADE_BY_ANOTHER = {"42P04", "23505"}
# How long a session may take to leave before it is ended: Postgres itself looks again after a tenth of a second only.
_LEAVE_SECONDS = 0.05
_POLL_SECONDS = 0.002
_SESSIONS = sa.text("SELECT pg_stat_get_db_numbackends(oid) FROM pg_database WHERE datname = :name")
_HELD = sa.text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = :space AND objid = :key"
    " AND objsubid = 2 AND granted)"
)
_PLACE = sa.text("SELECT pg_postmaster_start_time()::text, oid::text FROM pg_database WHERE datname = :name")
_RECORDS = sa.text(
    "SELECT oid::text, datname, shobj_description(oid, 'pg_database') AS comment FROM pg_database"
    " WHERE shobj_description(oid, 'pg_database') LIKE '%flask_branches%'"
)


class Server:
    """Connections to a server's maintenance database, in autocommit."""

    def __init__(self, url: sa.URL, connect_args: dict[str, Any]) -> None:
        """Take note; nothing is connected."""
        self.connect_args = connect_args
        self._url = url
        # Several databases of one application are often on one server, which takes only so many connections.
        self._engines = _shared.setdefault((url.set(database=""), repr(connect_args)), _Engines())
        if url.database == _USUAL and self._engines.maintenance == _USUAL:
            # A session in the database to be copied would be in the way.
            self._engines.maintenance = _TEMPLATE
        _servers.add(self)

    @contextmanager
    def connected(self, database: str | None = None) -> Iterator[Connection]:
        """Use a connection for a block; what the server refuses there is one of our errors.

        Args:
            database: where to, in place of the maintenance database.

        Raises:
            BranchExists, DatabaseInUse, DatabaseFailed: for the refusals that users can do something about.
        """
        with told(self._url), self._connect(database or self._engines.maintenance) as connection:
            yield connection

    @contextmanager
    def locked(self, what: str) -> Iterator[Connection]:
        """A connection that holds a lock alone for the time of a block; what the block raises is the caller's.

        Raises:
            DatabaseFailed, DatabaseInUse: where the lock cannot be had.
        """
        with ExitStack() as held:
            with told(self._url):
                if self._engines.maintenance == _TEMPLATE:
                    # A session that stays there would keep others from making databases.
                    with self.connected() as connection:
                        _make(connection, _OWN)
                    self._engines.maintenance = _OWN
                connection = held.enter_context(self._connect(self._engines.maintenance))
                held.enter_context(lock(connection, what))
            yield connection

    def close(self) -> None:
        """Close the connection that is kept for the next call."""
        _close_idle(self._engines.made)

    def forget(self) -> None:
        """Begin anew in a forked child, where what is open is the parent's."""
        for engine in self._engines.made.values():
            engine.dispose(close=False)

    def _connect(self, database: str) -> Connection:
        with ours.connecting():
            return self._engine(database).connect()

    def _engine(self, database: str) -> sa.Engine:
        if database not in self._engines.made:
            kept: dict[str, Any] = (
                # One may hold a lock for long, as a test run does; how many there can be is the server's to say.
                {"pool_size": 2, "max_overflow": -1, "pool_pre_ping": True}
                if database == self._engines.maintenance != _TEMPLATE
                else {"poolclass": sa.NullPool}
            )
            self._engines.made[database] = sa.create_engine(
                self._url.set(database=database),
                connect_args=self.connect_args,
                isolation_level="AUTOCOMMIT",
                hide_parameters=True,
                **kept,
            )
        return self._engines.made[database]


class _Engines:
    """One server's engines by database, for everybody who asks that server."""

    def __init__(self) -> None:
        self.maintenance = _USUAL
        self.made: dict[str, sa.Engine] = {}
        # Also when nobody calls close: a connection that is merely forgotten is a warning of the driver's.
        weakref.finalize(self, _close_idle, self.made)


_shared: weakref.WeakValueDictionary[tuple[sa.URL, str], _Engines] = weakref.WeakValueDictionary()


def _close_idle(engines: dict[str, sa.Engine]) -> None:
    """Close what nobody uses now; not by ``Engine.dispose``, after which a connection in use is never closed."""
    for engine in engines.values():
        engine.pool.dispose()


def quoted(name: str) -> str:
    """An identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant, whatever characters it has; for commands that take no parameters."""
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else f"'{doubled}'"


def run(connection: Connection, statement: str) -> None:
    """Run a statement as it is written: nothing in it is a parameter."""
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def exists(connection: Connection, database: str) -> bool:
    """Whether the server has a database of that name."""
    statement = sa.text("SELECT 1 FROM pg_database WHERE datname = :name")
    return connection.execute(statement, {"name": database}).first() is not None


def _make(connection: Connection, database: str) -> None:
    if not exists(connection, database):
        try:
            run(connection, f"CREATE DATABASE {quoted(database)} TEMPLATE template0")
        except sa.exc.DBAPIError as error:
            if sqlstate(error) not in _MADE_BY_ANOTHER:
                raise


def drop(connection: Connection, database: str) -> None:
    """Drop a database and end its sessions; without effect where there is none."""
    limit = time.monotonic() + _LEAVE_SECONDS
    while connection.execute(_SESSIONS, {"name": database}).scalar() and time.monotonic() < limit:
        time.sleep(_POLL_SECONDS)  # Postgres tells nobody when a session of another database has ended
    run(connection, f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)")


def comment_of(connection: Connection, database: str) -> str | None:
    """What is written on a database."""
    statement = sa.text("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = :name")
    comment: str | None = connection.execute(statement, {"name": database}).scalar()
    return comment


def mark(connection: Connection, database: str, record: Record) -> None:
    """Write a record on a database, also where a reset exchanges that meanwhile: then on the one that is there now."""
    while True:
        oid = _oid(connection, database)
        # One message, and so one transaction with the comment, which keeps others from renaming: and a message of two
        # statements takes no parameters. One that is not the same is an error.
        there = f"datname = {literal(database)} AND oid = {oid}"
        same = f"SELECT 1 / count(*) FROM pg_database WHERE {there}"  # noqa: S608  a quoted literal, and an OID of the server's
        try:
            run(connection, f"{_commenting(database, record, oid)}; {same}")
        except sa.exc.DBAPIError as error:
            if sqlstate(error) != _DIVISION_BY_ZERO:
                raise
        else:
            return


def marking(connection: Connection, database: str, record: Record) -> str:
    """The statement that writes a record on a database."""
    return _commenting(database, record, _oid(connection, database))


def _oid(connection: Connection, database: str) -> str:
    found = connection.execute(sa.text("SELECT oid::text FROM pg_database WHERE datname = :name"), {"name": database})
    oid: str | None = found.scalar()
    if oid is None:  # a comment on what is not there is a mere warning of the server's
        raise BranchNotFound(f"The database {database!r} has been deleted meanwhile: make another.")
    return oid


def _commenting(database: str, record: Record, oid: str) -> str:
    return f"COMMENT ON DATABASE {quoted(database)} IS {literal(replace(record, identity=oid).dumps())}"


def record_of(connection: Connection, database: str) -> Record | None:
    """The record of a database, if it is this database's."""
    return next((record for name, record in records_on(connection) if name == database), None)


def records_on(connection: Connection) -> list[tuple[str, Record]]:
    """Every database of the server that has a record of its own; a restored dump may bring along another's."""
    found = []
    for oid, database, comment in connection.execute(_RECORDS):
        record = records.loads(comment)
        if record is not None and record.identity == oid:
            found.append((str(database), record))
    return found


@contextmanager
def lock(connection: Connection, what: str) -> Iterator[None]:
    """Hold an advisory lock alone for the time of a block; it goes with the connection, however that ends."""
    # Held for as long as the block takes, by a session that may have nothing to do meanwhile. All of it in one message,
    # which is one transaction: where the lock is not had in time, nothing is set either.
    run(
        connection,
        f"SET lock_timeout = '{LOCK_WAIT}'; SET idle_session_timeout = 0; SET statement_timeout = 0;"
        " SELECT pg_advisory_lock({space}, {key}); RESET lock_timeout".format(**_key(what)),
    )
    try:
        yield
    finally:
        _unlock(connection, what)


def is_held(connection: Connection, what: str) -> bool:
    """Whether a session of whatever database of the server holds a lock."""
    held = connection.execute(_HELD, {"space": _LOCK_SPACE, "key": _key(what)["key"] % 2**32})
    return bool(held.scalar())


def place(connection: Connection, database: str) -> tuple[str, str] | None:
    """What is the same for two ways to one database, and differs for two databases on whatever servers."""
    row = connection.execute(_PLACE, {"name": database}).first()
    return None if row is None else (row[0], row[1])


def _unlock(connection: Connection, what: str) -> None:
    if not connection.invalidated:
        with suppress(sa.exc.DBAPIError):  # the connection is gone, and the lock with it
            connection.execute(sa.text("SELECT pg_advisory_unlock(:space, :key)"), _key(what))


def _key(what: str) -> dict[str, int]:
    return {"space": _LOCK_SPACE, "key": zlib.crc32(what.encode()) - 2**31}


def _forget_connections() -> None:
    for each in list(_servers):
        each.forget()


_servers: weakref.WeakSet[Server] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)
