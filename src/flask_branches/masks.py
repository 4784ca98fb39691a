"""Masks: SQL that runs inside a new branch before anybody is told where it is."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches import emptying
from flask_branches.backends.postgres_errors import sqlstate
from flask_branches.errors import MaskFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

# Errors of syntax, and names that are unknown, quote the mask and not the data.
_HARMLESS = "42"


class Masking:
    """The masks of one operation: each has to meet its table in one of the application's databases.

    Args:
        wanted: SQL expressions by ``table.column`` or ``schema.table.column``.
        consequence: what a failure leads to, for the message.
    """

    def __init__(self, wanted: Mapping[str, str], consequence: str) -> None:
        self._wanted = wanted
        self._consequence = consequence
        self._left = set(wanted)
        self._some_table = False

    def run(self, connection: Connection, *, last: bool) -> None:
        """Overwrite what is to be hidden in one database.

        Args:
            connection: to the branch, in a transaction.
            last: whether every other database has been seen before: a mask that has not met its table then never will.

        Raises:
            MaskFailed: where one of them cannot be run; what the database says is shown only if it holds no data.
        """
        self._some_table |= bool(self._wanted) and bool(emptying.tables(connection))
        for (schema, table), columns in _by_table(self._wanted).items():
            if _has_table(connection, table, schema):
                self._overwrite(connection, schema, table, columns)
                self._left -= {key for key in self._wanted if _split(key)[:2] == (schema, table)}
        # In databases without any table there is nothing to be hidden.
        if last and self._left and self._some_table:
            raise MaskFailed(
                f"BRANCHES_MASKS names {', '.join(sorted(self._left))}, and no database has such a table; "
                f"{self._consequence}. Correct the name."
            )

    def _overwrite(self, connection: Connection, schema: str | None, table: str, columns: Mapping[str, str]) -> None:
        quote = connection.dialect.identifier_preparer.quote
        target = ".".join(quote(part) for part in (schema, table) if part)
        changes = ", ".join(f"{quote(column)} = ({expression})" for column, expression in columns.items())
        try:
            connection.exec_driver_sql(
                f"UPDATE {target} SET {changes}",  # noqa: S608  the expressions are the application's own SQL
                execution_options={"no_parameters": True},
            )
        except sa.exc.DBAPIError as error:
            names = ", ".join(f"{table}.{column}" for column in columns)
            raise MaskFailed(
                f"The mask of {names} failed, and {self._consequence}: {_said(error)}. Correct BRANCHES_MASKS."
            ) from None


def _has_table(connection: Connection, table: str, schema: str | None) -> bool:
    if schema is not None and schema not in sa.inspect(connection).get_schema_names():
        return False
    return sa.inspect(connection).has_table(table, schema=schema)


def _said(error: sa.exc.DBAPIError) -> str:
    state = sqlstate(error)
    text = str(error.orig).split("\n")[0]
    no_data = state.startswith(_HARMLESS) if state else "no such" in text or "syntax error" in text
    return text if no_data else f"{type(error.orig).__name__}, whose text may hold data; run the expression by hand"


def _by_table(masks: Mapping[str, str]) -> dict[tuple[str | None, str], dict[str, str]]:
    found: dict[tuple[str | None, str], dict[str, str]] = defaultdict(dict)
    for key, expression in masks.items():
        schema, table, column = _split(key)
        found[schema, table][column] = expression
    return found


def _split(key: str) -> tuple[str | None, str, str]:
    *schema, table, column = key.split(".")
    return (schema[0] if schema else None), table, column
