"""Looks at a database in the midst of a migration's transaction, which neither its limits nor their errors are for."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from flask_branches.backends.postgres_errors import sqlstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection

T = TypeVar("T")

_ENDED = "57"
"""The class of errors by which somebody has ended a statement, or a session."""

_WORDING = (
    "search_path",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "bytea_output",
    "extra_float_digits",
    "lc_monetary",
)
"""Settings by which Postgres words what is there: two looks are compared, and the other one is another session's."""


@contextmanager
def apart(connection: Connection, *, inside: bool) -> Iterator[None]:
    """Look at a database for a block; afterwards a transaction's limits, locks and errors are as before.

    Args:
        connection: which may be in such a transaction.
        inside: whether it is; else there is nothing around the block.
    """
    if not inside or connection.dialect.name != "postgresql":
        yield
        return
    connection.exec_driver_sql("SAVEPOINT rehearsal")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql("; ".join(f"SET LOCAL {name} TO DEFAULT" for name in _WORDING))
    try:
        yield
    except Exception as error:
        if not getattr(error, "connection_invalidated", False):
            _back(connection, "rehearsal")
        raise
    _back(connection, "rehearsal")


def unless_refused(connection: Connection, look: Callable[[], T], *, inside: bool) -> T | None:
    """What a look gives; None where the database, which is there, does not let it.

    What it has locked stays so in a transaction, until :func:`apart` ends: whoever observes the locks is to see whose
    they are.

    Args:
        connection: by which it looks.
        look: asks the database.
        inside: as :func:`apart` has it.
    """
    if not inside or connection.dialect.name != "postgresql":
        return _tried(look)
    connection.exec_driver_sql("SAVEPOINT rehearsal_look")
    found = _tried(look)
    if found is None:
        _back(connection, "rehearsal_look")
    else:
        connection.exec_driver_sql("RELEASE SAVEPOINT rehearsal_look")
    return found


def _tried(look: Callable[[], T]) -> T | None:
    try:
        return look()
    except sa.exc.DBAPIError as error:
        if not _is_refusal(error):
            raise
        return None


def _is_refusal(error: sa.exc.DBAPIError) -> bool:
    """Whether the database has looked, and said no; else it is out of reach, or somebody has ended the statement."""
    if error.connection_invalidated:
        return False
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_INTERRUPT) != sqlite3.SQLITE_INTERRUPT
    state = sqlstate(error)
    return state is not None and not state.startswith(_ENDED)


def _back(connection: Connection, savepoint: str) -> None:
    """With what was set there, and what was locked."""
    connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {savepoint}")
    connection.exec_driver_sql(f"RELEASE SAVEPOINT {savepoint}")
