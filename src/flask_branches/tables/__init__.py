"""A database's tables, as each kind of database has them: which hold rows, and what else keeps what was in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import CursorResult
    from sqlalchemy.engine import Connection

NO_RIGHTS = "42501"
"""The code that Postgres has for what a role may not do."""


@dataclass(frozen=True)
class Target:
    """A table that is to be overwritten."""

    schema: str | None
    name: str
    quoted: str
    """With its schema, as statements name it."""


class Kind(Protocol):
    """What has to be known about a kind of database: a module of this package."""

    def names(self, connection: Connection, keep: str) -> list[str]:
        """The tables that hold rows, quoted, without one."""

    def delete_statements(self, tables: list[str]) -> list[str]:
        """What deletes every row; foreign keys are looked at when all are gone."""

    def empty(self, connection: Connection, tables: list[str]) -> None:
        """Take all rows away, and whatever else keeps what was in them; numbering begins anew."""

    def unmaskable(self, connection: Connection, target: Target) -> str | None:
        """What is wrong with a table that is to be overwritten."""

    def undisturbed(self, connection: Connection, targets: list[Target]) -> AbstractContextManager[None]:
        """Overwrite tables in a block: no trigger takes part, and afterwards nothing else keeps what was in them."""


def of(connection: Connection) -> Kind:
    """What has to be known about the kind of a database."""
    if connection.dialect.name == "sqlite":
        from flask_branches.tables import sqlite

        return sqlite
    from flask_branches.tables import postgres

    return postgres


def count(connection: Connection, table: str) -> int:
    """How many rows a table has.

    Args:
        connection: to its database.
        table: its name, quoted, as :meth:`Kind.names` has it.
    """
    found: int = run(connection, f"SELECT count(*) FROM {table}").scalar_one()  # noqa: S608  quoted by who knows the kind
    return found


def run(connection: Connection, statement: str) -> CursorResult[Any]:
    """Run a statement as it is written, whatever its names have in them."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
