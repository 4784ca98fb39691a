# ruff: noqa: S608  its statements are put together from its own words, and names that the database has quoted
"""Postgres' tables: those whose rows are in the database itself, and what else keeps values that were in them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches.tables import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Connection

    from flask_branches.tables import Target

_NAME = "format('%I.%I', n.nspname, c.relname)"
# Of an extension's own tables some are its code, such as PostGIS' spatial_ref_sys.
_OWN = (
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
    " AND NOT EXISTS (SELECT FROM pg_depend d"
    "  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
)
# What is done to a table is done to those below it; a foreign one's rows are not this database's.
_HOLDING = sa.text(
    "WITH RECURSIVE mixed (oid) AS ("
    "  SELECT i.inhparent FROM pg_inherits i JOIN pg_class f ON f.oid = i.inhrelid WHERE f.relkind = 'f'"
    "  UNION SELECT i.inhparent FROM pg_inherits i JOIN mixed m ON m.oid = i.inhrelid)"
    f" SELECT CASE WHEN c.oid IN (TABLE mixed) THEN 'ONLY ' ELSE '' END || {_NAME}{_OWN} AND c.relname <> :keep"
    " AND CASE WHEN c.oid IN (TABLE mixed) THEN c.relkind = 'r'"
    "  ELSE c.relkind IN ('r', 'p') AND (NOT c.relispartition"
    "   OR (SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid) IN (TABLE mixed)) END"
    f" ORDER BY {_NAME}"
)
_NAMED = sa.text(
    f"SELECT n.nspname{_OWN} AND c.relname = :name AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"
)
_STORED = sa.text(f"SELECT c.oid{_OWN} AND c.relkind IN ('r', 'p')")
_VIEWS = sa.text(
    f"SELECT c.oid, {_NAME} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid"
)
# Partitions, inheriting tables, and whatever a foreign key passes a changed value on to.
_REACHED = sa.text(
    "WITH RECURSIVE edge (a, b) AS (SELECT inhparent, inhrelid FROM pg_inherits UNION ALL"
    "  SELECT confrelid, conrelid FROM pg_constraint WHERE contype = 'f' AND confupdtype IN ('c', 'n', 'd')),"
    " reached (oid) AS (SELECT CAST(CAST(:target AS regclass) AS oid) UNION SELECT b FROM edge JOIN reached ON a = oid)"
    f" SELECT c.oid, {_NAME}, c.relkind FROM reached JOIN pg_class c USING (oid)"
    " JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 2"
)
_KINDS = {"f": "foreign table, whose rows are not in the branch", "m": "materialized view", "v": "view"}
# Before 15 the mode of a partitioned table's trigger goes down to its partitions: these come after it.
_TRIGGERS = sa.text(
    f"SELECT {_NAME}, what, quote_ident(name), mode FROM ("
    "  SELECT tgrelid AS oid, 'TRIGGER' AS what, tgname AS name, tgenabled AS mode FROM pg_trigger"
    "   WHERE NOT tgisinternal"
    "  UNION ALL SELECT ev_class, 'RULE', rulename, ev_enabled FROM pg_rewrite WHERE ev_type = '2') t"
    " JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = ANY(CAST(:oids AS oid[])) AND mode <> 'D'"
    " ORDER BY (SELECT count(*) FROM pg_partition_ancestors(c.oid)), name"
)
_MODES = {"O": "", "R": "REPLICA ", "A": "ALWAYS "}

_LARGE_OBJECTS = sa.text(
    "SELECT lo_unlink(oid) FROM"
    " (SELECT oid FROM pg_largeobject_metadata WHERE pg_has_role(lomowner, 'USAGE') LIMIT 1000) few"
)
_AND_INDEXES = (
    "(SELECT unnest(CAST(:oids AS oid[])) UNION"
    " SELECT indexrelid FROM pg_index WHERE indrelid = ANY(CAST(:oids AS oid[])))"
)
_DELETE_STATISTICS = (
    sa.text(f"DELETE FROM pg_statistic WHERE starelid IN {_AND_INDEXES}"),
    sa.text(
        "DELETE FROM pg_statistic_ext_data WHERE stxoid IN"
        " (SELECT oid FROM pg_statistic_ext WHERE stxrelid = ANY(CAST(:oids AS oid[])))"
    ),
)
_CLEAR_STATISTICS = sa.text(
    "SELECT pg_clear_attribute_stats(n.nspname, c.relname, a.attname, inherited)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid"
    " CROSS JOIN (VALUES (false), (true)) i (inherited)"
    f" WHERE c.oid IN {_AND_INDEXES} AND a.attnum > 0 AND NOT a.attisdropped"
)
_EXTENDED_STATISTICS = sa.text(
    "SELECT format('DROP STATISTICS %I.%I; ', n.nspname, s.stxname) || pg_get_statisticsobjdef(s.oid)"
    " FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace"
    " WHERE s.stxrelid = ANY(CAST(:oids AS oid[]))"
)
_CLEARS_STATISTICS = (18,)


def names(connection: Connection, keep: str) -> list[str]:
    """The tables that hold rows, quoted; with ``ONLY`` where a statement must not go on to those below."""
    return list(connection.execute(_HOLDING, {"keep": keep}).scalars())


def schemas_with(connection: Connection, name: str) -> list[str]:
    """The schemas that have a table of this name, no view and nothing whose rows are elsewhere."""
    return list(connection.execute(_NAMED, {"name": name}).scalars())


def empty(connection: Connection, tables: list[str]) -> None:
    """Take all rows away, and what was noted down about them; numbering begins anew."""
    stored = list(connection.execute(_STORED).scalars())
    with _without_triggers(connection, stored):
        run(connection, f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
    _forget(connection, stored)


def delete_statements(tables: list[str]) -> list[str]:
    """What deletes every row; foreign keys are looked at when all are gone."""
    each = ", ".join(f"_{number} AS (DELETE FROM {table})" for number, table in enumerate(tables))
    return [f"WITH {each} SELECT 1"]


def empty_large_objects(connection: Connection) -> None:
    """Take away those that the role owns; in steps, since each takes a lock until the transaction's end."""
    while connection.execute(_LARGE_OBJECTS).all():
        connection.commit()


def refresh_views(connection: Connection) -> None:
    """Let materialized views hold what their tables hold now; the older ones first, which others may be made from."""
    for oid, name in connection.execute(_VIEWS).all():
        run(connection, f"REFRESH MATERIALIZED VIEW {name}")
        _forget(connection, [oid])
        run(connection, f"ANALYZE {name}")


def unmaskable(connection: Connection, target: Target) -> str | None:
    """What is wrong with a table that is to be masked."""
    for _, name, kind in connection.execute(_REACHED, {"target": target.quoted}):
        if kind in _KINDS:
            return f"{name} is a {_KINDS[kind]}"
    return None


@contextmanager
def undisturbed(connection: Connection, targets: list[Target]) -> Iterator[None]:
    """Overwrite the block's tables: no trigger takes part, and afterwards nothing else keeps what was in them.

    Raises:
        sqlalchemy.exc.DBAPIError: in the block, where row-level security hides rows from the role.
    """
    reached = {oid: name for each in targets for oid, name, _ in connection.execute(_REACHED, {"target": each.quoted})}
    security = run(connection, "SHOW row_security").scalar_one()
    run(connection, "SET LOCAL row_security = off")
    with _without_triggers(connection, list(reached)):
        yield
        # What waits for the transaction's end would be in the way of the triggers' return.
        run(connection, "SET CONSTRAINTS ALL IMMEDIATE")
    run(connection, f"SET LOCAL row_security = {security}")
    _forget(connection, list(reached))
    run(connection, f"ANALYZE {', '.join(reached.values())}")


def allow_writing(connection: Connection) -> None:
    """Even where the parent's settings, which the branch has too, let nobody write who does not ask for it."""
    run(connection, "SET default_transaction_read_only = off")
    connection.commit()


@contextmanager
def _without_triggers(connection: Connection, oids: Sequence[int]) -> Iterator[None]:
    found = connection.execute(_TRIGGERS, {"oids": oids}).all()
    for table, what, name, _ in found:
        run(connection, f"ALTER TABLE ONLY {table} DISABLE {what} {name}")
    yield
    for table, what, name, mode in found:
        run(connection, f"ALTER TABLE ONLY {table} ENABLE {_MODES[mode]}{what} {name}")


def _forget(connection: Connection, oids: Sequence[int]) -> None:
    """Remove the planner's statistics, whose samples are values: ANALYZE keeps those of a table without rows.

    Before version 18 those of single columns can be removed by superusers only.
    """
    if connection.execute(sa.text("SELECT current_setting('is_superuser')")).scalar() == "on":
        for statement in _DELETE_STATISTICS:
            connection.execute(statement, {"oids": oids})
        return
    for statement in connection.execute(_EXTENDED_STATISTICS, {"oids": oids}).scalars().all():
        run(connection, statement)
    if (connection.dialect.server_version_info or ()) >= _CLEARS_STATISTICS:
        connection.execute(_CLEAR_STATISTICS, {"oids": oids}).all()
