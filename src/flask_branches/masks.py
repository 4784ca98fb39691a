"""Masks: SQL that runs inside a new branch before anybody is told where it is."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches.backends.postgres_server import sqlstate
from flask_branches.errors import MaskFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

# Errors of syntax, and names that are unknown, quote the mask and not the data.
_HARMLESS = "42"


def run(connection: Connection, masks: Mapping[str, str]) -> set[str]:
    """Overwrite what is to be hidden.

    Args:
        connection: to the branch, in a transaction.
        masks: SQL expressions by ``table.column`` or ``schema.table.column``.

    Returns:
        The keys whose tables this database has.

    Raises:
        MaskFailed: where one of them cannot be run; what the database says is shown only if it holds no data.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    done: set[str] = set()
    for (schema, table), columns in _by_table(masks).items():
        if sa.inspect(connection).has_table(table, schema=schema):
            _overwrite(connection, schema, table, columns)
            done |= {key for key in masks if _split(key)[:2] == (schema, table)}
    return done


def _overwrite(connection: Connection, schema: str | None, table: str, columns: Mapping[str, str]) -> None:
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
            f"The mask of {names} failed, and the branch was deleted: {_said(error)}. Correct BRANCHES_MASKS."
        ) from None


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
