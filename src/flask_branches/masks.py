"""Masks: SQL that runs inside a new branch before anybody is told where it is."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches import emptying
from flask_branches.backends.postgres_errors import sqlstate
from flask_branches.errors import MaskFailed
from flask_branches.tables import NO_RIGHTS, Target, count, of, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.engine import Connection

# Errors of syntax, and names that are unknown, quote the mask and not the data.
_HARMLESS = "42"
_CORRECT = "Correct BRANCHES_MASKS."
_RIGHTS = (
    "As an administrator, let the role of the database URL own the table (ALTER TABLE … OWNER TO …), and see all rows "
    "of it (ALTER ROLE … BYPASSRLS)."
)


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
        found = {
            Target(schema, table, _quoted(connection, schema, table)): columns
            for (schema, table), columns in _by_table(self._wanted).items()
            if _has_table(connection, table, schema)
        }
        if found:
            self._overwrite_all(connection, found)
        self._left -= {key for key in self._wanted for each in found if _split(key)[:2] == (each.schema, each.name)}
        # In databases without any table there is nothing to be hidden.
        if last and self._left and self._some_table:
            raise MaskFailed(
                f"BRANCHES_MASKS names {', '.join(sorted(self._left))}, and no database has such a table; "
                f"{self._consequence}. Correct the name."
            )

    def _overwrite_all(self, connection: Connection, found: Mapping[Target, Mapping[str, str]]) -> None:
        kind = of(connection)
        for target, columns in found.items():
            if wrong := kind.unmaskable(connection, target):
                raise self._failed(_names(target, columns), wrong)
        everything = ", ".join(_names(target, columns) for target, columns in found.items())
        with self._told(everything), kind.undisturbed(connection, list(found)):
            for target, columns in found.items():
                self._overwrite(connection, target, columns)

    def _overwrite(self, connection: Connection, target: Target, columns: Mapping[str, str]) -> None:
        quote = connection.dialect.identifier_preparer.quote
        changes = ", ".join(f"{quote(column)} = ({expression})" for column, expression in columns.items())
        names = _names(target, columns)
        with self._told(names):
            changed = run(connection, f"UPDATE {target.quoted} SET {changes}").rowcount  # noqa: S608  masks are the application's own SQL
            there = count(connection, target.quoted)
        if changed != there:
            raise self._failed(names, f"{changed} of {there} rows were changed", "See what keeps the others.")

    @contextmanager
    def _told(self, names: str) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            remedy = _RIGHTS if sqlstate(error) == NO_RIGHTS else _CORRECT
            raise self._failed(names, _said(error), remedy) from None

    def _failed(self, names: str, why: str, remedy: str = _CORRECT) -> MaskFailed:
        return MaskFailed(f"The mask of {names} failed, and {self._consequence}: {why}. {remedy}")


def _quoted(connection: Connection, schema: str | None, table: str) -> str:
    quote = connection.dialect.identifier_preparer.quote
    return ".".join(quote(part) for part in (schema, table) if part)


def _names(target: Target, columns: Mapping[str, str]) -> str:
    return ", ".join(f"{target.name}.{column}" for column in columns)


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
