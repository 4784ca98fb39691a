"""Every row of a database taken away, its schema and its revision kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_branches.tables import of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

ALEMBIC = "alembic_version"


def tables(connection: Connection, keep: str = ALEMBIC) -> list[str]:
    """The names of a database's tables, as statements have them, without the one that holds the revision.

    What is in another database, and only seen from this one, is none of them.
    """
    return of(connection).names(connection, keep)


def delete_statements(connection: Connection) -> list[str]:
    """What deletes every row inside a transaction that is rolled back later, without keeping readers out."""
    names = tables(connection)
    return of(connection).delete_statements(names) if names else []


def empty(connection: Connection, keep: str = ALEMBIC) -> None:
    """Take every row away for good, and let numbering begin anew."""
    names = tables(connection, keep)
    if names:
        of(connection).empty(connection, names)
