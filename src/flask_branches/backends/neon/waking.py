"""What is done by SQL to a new branch of Neon before anybody is told of it."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches import databases, emptying, urls
from flask_branches.backends import postgres_clone as clone
from flask_branches.backends import postgres_server as server
from flask_branches.backends.postgres_errors import is_final
from flask_branches.errors import ConfigurationError, DatabaseFailed
from flask_branches.tables import postgres

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_CONNECT_SECONDS = 10
_PORT = 5432


def await_answer(url: sa.URL, connect_args: Mapping[str, Any], patience: float) -> None:
    """Wait until a compute answers; one that is made, or woken, may take several seconds.

    Args:
        url: the branch's direct one.
        connect_args: what the application passes to its driver.
        patience: in seconds.

    Raises:
        ConfigurationError: where the connection leads elsewhere.
        DatabaseFailed: where it refuses, or does not answer in time.
    """
    limit = time.monotonic() + patience
    pause = _FIRST_PAUSE
    while True:
        try:
            with _connected(url, connect_args) as connection:
                _require_there(connection, url)
                connection.execute(sa.select(1))
                return
        except DatabaseFailed as error:
            if is_final(error.__cause__) or time.monotonic() + pause >= limit:
                raise
        # Nobody tells when a compute is there. Not by stamina: where an application's tests switch its repeats off, a
        # cold start has to be waited out nevertheless.
        time.sleep(pause)  # until the next attempt: to connect is the only way to know
        pause = min(pause * 2, _LONGEST_PAUSE)


def _connected(url: sa.URL, connect_args: Mapping[str, Any]) -> AbstractContextManager[Connection]:
    """A connection that is given up where no compute takes it."""
    patient = {"connect_timeout": _CONNECT_SECONDS} if "connect_timeout" not in url.query else {}
    return databases.connected(url, {**patient, **connect_args})


def _require_there(connection: Connection, url: sa.URL) -> None:
    """Before the first statement: what the driver says of where it is, whatever else it was told.

    Raises:
        ConfigurationError: where that is not the branch.
    """
    info: Any = getattr(connection.connection.driver_connection, "info", None)
    if info is not None and (info.host, str(info.port)) != (url.host, str(url.port or _PORT)):
        raise ConfigurationError(
            f"The connection to the branch at {urls.shown(url)} leads to {info.host}:{info.port}: take what says so "
            "out of the application's connect_args, or of libpq's service file and variables."
        )


def empty_database(url: sa.URL, connect_args: Mapping[str, Any]) -> None:
    """Put an empty database in the place of the one that a branch has from its parent."""
    there = server.Server(url, dict(connect_args))
    database, new = urls.database(url), f"flask_branches_{secrets.token_hex(6)}"
    try:
        with there.connected() as connection:
            clone.create_empty(connection, database, new)
            server.drop(connection, database)
            server.run(connection, f"ALTER DATABASE {server.quoted(new)} RENAME TO {server.quoted(database)}")
    finally:
        there.close()


def copy_revision(parent: sa.URL, url: sa.URL, connect_args: Mapping[str, Any]) -> None:
    """Let a branch that has its parent's schema and not a row know which revision that is.

    The one thing that is read from a parent, in a transaction that can write nothing.
    """
    with _connected(parent, connect_args) as connection:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        tables = [
            sa.table(emptying.ALEMBIC, sa.column("version_num"), schema=schema)
            for schema in postgres.schemas_with(connection, emptying.ALEMBIC)
        ]
        found = {table: connection.execute(sa.select(table)).mappings().all() for table in tables}
    with _connected(url, connect_args) as connection, connection.begin():
        for table, rows in found.items():
            if rows:
                connection.execute(sa.insert(table), [dict(row) for row in rows])
