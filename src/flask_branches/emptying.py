"""Every row of a database taken away, its schema and its revision kept."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator

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
_VIEWS = sa.text(
    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid"
)
_SQLITE_TABLES = sa.text(
    "SELECT '\"' || replace(name, '\"', '\"\"') || '\"' FROM sqlite_master WHERE type = 'table'"
    " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> :keep"
    # Of a virtual table only what holds rows of its own, and never the tables that it is made of.
    " AND (sql NOT LIKE 'CREATE VIRTUAL %' OR sql LIKE '%USING rtree%'"
    "  OR sql LIKE '%USING fts%' AND sql NOT LIKE '%content%=%')"
    " AND NOT EXISTS (SELECT 1 FROM sqlite_master v WHERE v.sql LIKE 'CREATE VIRTUAL %'"
    "  AND substr(sqlite_master.name, 1, length(v.name) + 1) = v.name || '_') ORDER BY 1"
)
_SQLITE_INDEXES = sa.text(
    "SELECT '\"' || replace(name, '\"', '\"\"') || '\"', sql LIKE '%USING fts5%' FROM sqlite_master"
    " WHERE sql LIKE 'CREATE VIRTUAL %USING fts%' AND sql LIKE '%content%=%'"
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
        with _without_triggers(connection):
            for statement in delete_statements("sqlite", names):
                connection.exec_driver_sql(statement)
            for name, is_fts5 in connection.execute(_SQLITE_INDEXES).all():
                command = "delete-all" if is_fts5 else "rebuild"
                run(connection, f"INSERT INTO {name} ({name}) VALUES ('{command}')")  # noqa: S608  quoted there
        if connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").first():
            connection.exec_driver_sql("DELETE FROM sqlite_sequence")
    else:
        run(connection, f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE")


def refresh_views(connection: Connection) -> None:
    """Let materialized views hold what their tables hold now; the older ones first, which others may be made from."""
    if connection.dialect.name == "postgresql":
        for name in connection.execute(_VIEWS).scalars().all():
            run(connection, f"REFRESH MATERIALIZED VIEW {name}")


def run(connection: Connection, statement: str) -> sa.CursorResult[Any]:
    """Run a statement as it is written, whatever its names have in them."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


@contextmanager
def _without_triggers(connection: Connection) -> Iterator[None]:
    """As TRUNCATE has it: a log of deletions stays empty, and what forbids them does not."""
    triggers = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
    for name, _ in triggers:
        connection.exec_driver_sql("DROP TRIGGER " + connection.dialect.identifier_preparer.quote_identifier(name))
    yield
    for _, sql in triggers:
        run(connection, sql)
