"""What a Postgres database consists of, looked at from the session that is changing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine.interfaces import DBAPICursor

KINDS = {
    "r": "table",
    "p": "partitioned table",
    "i": "index",
    "I": "partitioned index",
    "S": "sequence",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "t": "toast table",
    "c": "composite type",
}
_INDEXES = {"i", "I"}
# Until a transaction ends, its own session alone sees which file a relation has, and what it has done to its rows: what
# is counted of the transaction, and what was counted before, together only grow. Numbers below 16384 are the server's.
_RELATIONS = (
    "SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.relkind, pg_relation_filenode(c.oid), i.indrelid, t.oid,"
    " c.relispartition AND c.relkind NOT IN ('i', 'I'), i.indisvalid, i.indisunique, c.reltuples,"
    " pg_stat_get_tuples_returned(c.oid) + pg_stat_get_xact_tuples_returned(c.oid),"
    " pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_inserted(c.oid),"
    " pg_stat_get_tuples_updated(c.oid) + pg_stat_get_xact_tuples_updated(c.oid),"
    " pg_stat_get_tuples_deleted(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.reltoastrelid = c.oid"
    " WHERE c.oid >= 16384"
)
_SIZES = (
    "SELECT c.oid, CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE pg_relation_size(c.oid) END"
    " FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm', 'i')"
)
_PARENTS = (
    "SELECT i.inhrelid, i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE c.relkind IN ('r', 'p', 'f') ORDER BY 1, i.inhseqno"
)
# A column's NOT NULL is no constraint before version 18; from then on it is one, which need not be valid.
_RULES = (
    "SELECT conrelid, 'c' || oid, conname || ' ' || pg_get_constraintdef(oid), contype, convalidated"
    " FROM pg_constraint WHERE conrelid >= 16384 AND contype IN ('c', 'f', 'p', 'u', 'x')"
    " UNION ALL SELECT attrelid, 'n' || attrelid || ' ' || attnum, quote_ident(attname) || ' NOT NULL', 'n',"
    " NOT EXISTS (SELECT FROM pg_constraint"
    "  WHERE conrelid = attrelid AND contype = 'n' AND conkey = ARRAY[attnum] AND NOT convalidated)"
    " FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
    " WHERE attrelid >= 16384 AND attnum > 0 AND attnotnull AND NOT attisdropped AND c.relkind IN ('r', 'p')"
)


@dataclass(frozen=True)
class Relation:
    """A table, an index, or what else has a name among them."""

    oid: int
    name: str
    letter: str
    file: int | None
    index_of: int | None
    toast_of: int | None
    is_partition: bool
    is_valid: bool
    is_unique: bool
    rows: float
    """By the planner's estimate."""
    read: int
    inserted: int
    updated: int
    deleted: int

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return KINDS.get(self.letter, "relation")

    @property
    def is_index(self) -> bool:
        """Whether it is one, of a partitioned table too."""
        return self.letter in _INDEXES


@dataclass(frozen=True)
class Rule:
    """A constraint, or a column's NOT NULL."""

    id: str
    text: str
    kind: str
    valid: bool


class Catalog:
    """All relations at one moment."""

    def __init__(self, relations: Iterable[Relation]) -> None:
        self.by_oid: dict[int, Relation] = {each.oid: each for each in relations}

    def table_of(self, oid: int) -> int:
        """The table that an index, or a toast table or its index, is part of; a table is part of itself."""
        found = self.by_oid.get(oid)
        above = found and (found.index_of or found.toast_of)
        return self.table_of(above) if above else oid


def read(cursor: DBAPICursor, hidden: str) -> Catalog:
    """Look at all relations.

    Args:
        cursor: of whatever session.
        hidden: a table that is left out, with its indexes.
    """
    cursor.execute(_RELATIONS)
    found = [_relation(row) for row in cursor.fetchall()]
    left_out = {each.oid for each in found if each.name.rpartition(".")[2].strip('"') == hidden}
    return Catalog(each for each in found if each.oid not in left_out and each.index_of not in left_out)


def sizes(cursor: DBAPICursor) -> dict[int, int]:
    """What tables (with what is kept out of line) and indexes take, in bytes."""
    cursor.execute(_SIZES)
    return dict(cursor.fetchall())


def parents(cursor: DBAPICursor) -> dict[int, list[int]]:
    """By table, those that it is a partition of, or inherits from."""
    cursor.execute(_PARENTS)
    found: dict[int, list[int]] = {}
    for child, parent in cursor.fetchall():
        found.setdefault(child, []).append(parent)
    return found


def rules(cursor: DBAPICursor) -> dict[int, dict[str, Rule]]:
    """The constraints of all tables, by table and by a name that a rename does not change."""
    cursor.execute(_RULES)
    found: dict[int, dict[str, Rule]] = {}
    for table, key, text, kind, valid in cursor.fetchall():
        found.setdefault(table, {})[key] = Rule(key, text, _text(kind), valid)
    return found


def _relation(row: tuple[Any, ...]) -> Relation:
    oid, name, letter, file, index_of, toast_of, is_partition, is_valid, is_unique, rows, *counts = row
    read, inserted, updated, deleted = (count or 0 for count in counts)
    return Relation(
        oid,
        name,
        _text(letter),
        file,
        index_of,
        toast_of,
        is_partition,
        is_valid is not False,
        bool(is_unique),
        max(rows, 0),
        read,
        inserted,
        updated,
        deleted,
    )


def _text(letter: str | bytes) -> str:
    """Postgres' one-byte ``"char"``, which drivers give as bytes or as text."""
    return letter.decode() if isinstance(letter, bytes) else letter
