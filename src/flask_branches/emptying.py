"""Every row of a database taken away, its schema and its revision kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

ALEMBIC = "alembic_version"

# Of an extension's own tables some are its code, such as PostGIS' spatial_ref_sys.
_POSTGRES_TABLES = sa.text(
    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> :keep AND c.relpersistence <> 't'"
    " AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
    " AND NOT EXISTS (SELECT FROM pg_depend d"
    "  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
    " ORDER BY 1"
)
_SQLITE_TABLES = sa.text(
    "SELECT '\"' || replace(name, '\"', '\"\"') || '\"' FROM sqlite_master WHERE type = 'table'"
    " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> :keep AND sql NOT LIKE 'CREATE VIRTUAL %' ORDER BY 1"
)


def tables(connection: Connection, keep: str = ALEMBIC) -> list[str]:
    """The names of a database's tables, quoted, without the one that holds the revision."""
    listed = _SQLITE_TABLES if connection.dialect.name == "sqlite" else _POSTGRES_TABLES
    return list(connection.execute(listed, {"keep": keep}).scalars())


def delete_statements(dialect: str, names: list[str]) -> list[str]:
    """What deletes every row inside a transaction that is rolled back later, without keeping readers out.

    Foreign keys are looked at when all rows are gone: on Postgres after the one statement, on SQLite on demand.
    """
    if not names:
        return []
    if dialect == "sqlite":
        deletes = [f"DELETE FROM {name}" for name in names]  # noqa: S608  quoted by the database itself
        return ["PRAGMA defer_foreign_keys = ON", *deletes, "PRAGMA defer_foreign_keys = OFF"]
    each = ", ".join(f"_{number} AS (DELETE FROM {name})" for number, name in enumerate(names))  # noqa: S608
    return [f"WITH {each} SELECT 1"]


def empty(connection: Connection, keep: str = ALEMBIC) -> None:
    """Take every row away for good, and let numbering begin anew."""
    names = tables(connection, keep)
    if not names:
        return
    if connection.dialect.name == "sqlite":
        for statement in delete_statements("sqlite", names):
            connection.exec_driver_sql(statement)
        if connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").first():
            connection.exec_driver_sql("DELETE FROM sqlite_sequence")
    else:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE")
