# ruff: noqa: S608  its statements are put together from its own words, and names that the database or the preparer has quoted
"""What tables hold: how many rows, and a digest of each column's values that tells what was lost."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches.emptying import ALEMBIC
from flask_branches.rehearsal.apart import unless_refused
from flask_branches.tables import run, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy.engine import Connection

_NAME = "format('%I.%I', {0}.nspname, {1}.relname)"
# As the planner has it: the density that ANALYZE has found, else that of columns of a usual width, times today's size.
_ESTIMATE = (
    "CAST(coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::int"
    " * CASE WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples / c.relpages"
    "  ELSE current_setting('block_size')::int / (28 + (SELECT sum(CASE WHEN attlen > 0 THEN attlen ELSE 32 END)"
    "   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)) END AS bigint)"
)
# By the tables that hold the rows: what is below a foreign one, or in one, is another database's.
_TABLES = sa.text(
    f"SELECT {_NAME.format('m', 't')}, {_NAME.format('n', 'c')}, coalesce({_ESTIMATE}, 0),"
    " has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid),"
    " ARRAY(SELECT quote_ident(attname) FROM pg_attribute"
    "  WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped ORDER BY 1)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_class t ON t.oid = coalesce(pg_partition_root(c.oid), c.oid)"
    " JOIN pg_namespace m ON m.oid = t.relnamespace"
    " WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relname <> :keep"
    " AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
    " AND NOT EXISTS (SELECT FROM pg_depend d"
    "  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
    " ORDER BY 1, 2"
)
# Of a virtual table's columns, those of its options are hidden.
_SQLITE_COLUMNS = sa.text("SELECT name FROM pragma_table_xinfo(:name) WHERE hidden <> 1")
_SQLITE_ESTIMATES = "SELECT tbl, max(CAST(stat AS INTEGER)) FROM sqlite_stat1 GROUP BY tbl"
# Two that are looked at in different places are the same text only where they are the same bytes.
_HASH = 'hashtextextended(CAST({0} AS text) COLLATE "C", 0)'
_AT_ONCE = 1_000
_WIDEST = 800
"""How many columns a table may have that is digested: a statement gives 1,664 at most, and each needs two."""


@dataclass(frozen=True)
class Counted:
    """How many rows a table has."""

    rows: int
    exact: bool
    """Counted; else by the planner's estimate."""


@dataclass(frozen=True)
class Values:
    """What a column holds."""

    number: int
    """How many there are, without NULLs."""
    digest: int
    """Of all of them, in whatever order; to be compared within one process."""


@dataclass(frozen=True)
class Content:
    """What a table holds, told so that two moments can be compared."""

    rows: int
    columns: Mapping[str, Values]
    together: int
    """A digest of the rows: another one also where values have only changed places."""


@dataclass
class _Table:
    """A table, and the relations that its rows are in."""

    name: str
    columns: list[str]
    """Sorted, and quoted where they have to be."""
    parts: list[str] = field(default_factory=list)
    """As a statement names them, so that it reads nothing else."""
    estimate: int = 0
    readable: bool = True


def count(
    connection: Connection,
    affordable: int = 20_000_000,
    keep: str = ALEMBIC,
    *,
    known: Mapping[str, Counted | None] | None = None,
    inside: bool = False,
) -> dict[str, Counted | None]:
    """How many rows each of a user's tables has, by its name as reports have it: ``public.note``, on SQLite ``note``.

    A partitioned table has the rows of its partitions; what a foreign one holds is not in this database. Where the
    database refuses to count, None.

    Args:
        connection: to the database, in autocommit.
        affordable: how many rows may be read of all tables together: what is beyond, the largest ones, is estimated.
        keep: the table that is left out, which holds the revision.
        known: tables that hold what they held when these were counted.
        inside: whether the connection is in a transaction instead, which goes on afterwards.
    """
    tables = _tables(connection, keep)
    exact, known = _within(tables, affordable), known or {}
    found: dict[str, Counted | None] = {}
    for each in tables:
        if each.name in known:
            found[each.name] = known[each.name]
        elif each.name in exact:
            number = unless_refused(connection, partial(_count, connection, each), inside=inside)
            found[each.name] = None if number is None else Counted(number, exact=True)
        else:
            found[each.name] = Counted(each.estimate, exact=False)
    return found


def columns(connection: Connection, keep: str = ALEMBIC) -> dict[str, set[str]]:
    """The names of each table's columns, quoted where they have to be."""
    return {each.name: set(each.columns) for each in _tables(connection, keep)}


def digest(
    connection: Connection,
    tables: Iterable[str],
    affordable: int = 2_000_000,
    keep: str = ALEMBIC,
    *,
    inside: bool = False,
) -> dict[str, Content | None]:
    """What tables hold, told so that :func:`lost` can compare it; None for a table that is too large, or out of reach.

    Args:
        connection: to the database, in autocommit.
        tables: their names, as :func:`count` has them; what is not there is not in the answer either.
        affordable: how many rows may be read of all of them together, the smallest first.
        keep: the table that is left out, which holds the revision.
        inside: as :func:`count` has it.
    """
    wanted = set(tables)
    found = [each for each in _tables(connection, keep) if each.name in wanted]
    readable = _within(found, affordable)
    look = _content_of_sqlite if connection.dialect.name == "sqlite" else _content
    return {
        each.name: unless_refused(connection, partial(look, connection, each), inside=inside)
        if each.name in readable and len(each.columns) <= _WIDEST
        else None
        for each in found
    }


def lost(before: Mapping[str, Content | None], after: Mapping[str, Content | None]) -> tuple[str, ...]:
    """What tables held that they do not hold any more: rows, columns with values, values that are others now.

    Of a table that could not be read there is nothing to say.
    """
    return tuple(text for name in sorted(before) for text in _lost(name, before[name], after.get(name, _GONE)))


_GONE = Content(0, {}, 0)


def _lost(table: str, before: Content | None, after: Content | None) -> Iterator[str]:
    if before is None or after is None:
        return
    missing = before.rows - after.rows
    if missing:
        yield f"{table}: {_many(abs(missing), 'row')}{' too many' if missing < 0 else ''}"
    if after is _GONE:
        return
    for name, values in sorted(before.columns.items()):
        if text := _changed(values, after.columns.get(name), missing):
            yield f"{table}.{name}: {text}"
    if before.columns == after.columns and before.together != after.together:
        yield f"{table}: values have changed places"


def _changed(before: Values, after: Values | None, rows: int) -> str:
    """What is not to be told by the rows that are missing, or are too many, alone."""
    fewer = before.number - (after.number if after else 0)
    if fewer > max(rows, 0):
        return _many(fewer, "value")
    return "values have changed" if after and before.number and not rows and before != after else ""


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _tables(connection: Connection, keep: str) -> list[_Table]:
    if connection.dialect.name == "sqlite":
        return _tables_of_sqlite(connection, keep)
    found: dict[str, _Table] = {}
    for name, part, estimate, readable, columns in connection.execute(_TABLES, {"keep": keep}):
        table = found.setdefault(name, _Table(name, columns))
        table.parts.append(f"ONLY {part}")
        table.estimate += estimate
        table.readable &= readable
    return list(found.values())


def _tables_of_sqlite(connection: Connection, keep: str) -> list[_Table]:
    quote = connection.dialect.identifier_preparer.quote
    analyzed = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").first()
    estimates: dict[str, int] = {}
    if analyzed:
        estimates.update(map(tuple, connection.exec_driver_sql(_SQLITE_ESTIMATES)))
    found = []
    for quoted in sqlite.names(connection, keep):
        plain = quoted[1:-1].replace('""', '"')
        columns = sorted(map(quote, connection.execute(_SQLITE_COLUMNS, {"name": plain}).scalars()))
        found.append(_Table(quote(plain), columns, [quoted], estimates.get(plain, 0)))
    return found


def _within(tables: Iterable[_Table], affordable: int) -> set[str]:
    """The tables that may be read, the smallest first."""
    found, read = set(), 0
    for each in sorted(tables, key=lambda table: table.estimate):
        read += each.estimate
        if read <= affordable and each.readable:
            found.add(each.name)
    return found


def _count(connection: Connection, table: _Table) -> int:
    counts = " UNION ALL ".join(f"SELECT count(*) AS rows FROM {part}" for part in table.parts)
    return int(run(connection, f"SELECT sum(rows) FROM ({counts}) AS parts").scalar_one())


def _content(connection: Connection, table: _Table) -> Content:
    listed = ", ".join(table.columns)
    parts = " UNION ALL ".join(f"SELECT {listed} FROM {part}" for part in table.parts)
    digests = [f"count({name}), sum({_HASH.format(name)})" for name in table.columns]
    wanted = ", ".join(["count(*)", f"sum({_HASH.format(f'ROW({listed})')})", *digests])
    rows, together, *found = tuple(run(connection, f"SELECT {wanted} FROM ({parts}) AS parts").one())
    values = [Values(number, int(digest or 0)) for number, digest in zip(found[::2], found[1::2], strict=True)]
    return Content(rows, dict(zip(table.columns, values, strict=True)), int(together or 0))


def _content_of_sqlite(connection: Connection, table: _Table) -> Content:
    """Digested here, many rows at a time: SQLite has nothing to do it with."""
    numbers, digests, rows, together = [0] * len(table.columns), [0] * len(table.columns), 0, 0
    with _any_text(connection):
        found = run(connection, f"SELECT {', '.join(table.columns)} FROM {table.parts[0]}")
        for part in found.partitions(_AT_ONCE):
            held = list(zip(*part, strict=True))
            hashes = [list(map(hash, map(repr, values))) for values in held]
            numbers = [number + len(part) - values.count(None) for number, values in zip(numbers, held, strict=True)]
            digests = [digest + sum(more) for digest, more in zip(digests, hashes, strict=True)]
            rows, together = rows + len(part), together + sum(map(hash, zip(*hashes, strict=True)))
    values = [Values(number, digest) for number, digest in zip(numbers, digests, strict=True)]
    return Content(rows, dict(zip(table.columns, values, strict=True)), together)


@contextmanager
def _any_text(connection: Connection) -> Iterator[None]:
    """Let a text be read that is not UTF-8: SQLite takes whatever it is given."""
    driver: Any = connection.connection.dbapi_connection
    before, driver.text_factory = driver.text_factory, partial(str, encoding="utf-8", errors="surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = before
