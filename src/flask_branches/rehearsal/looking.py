"""What a statement has done to a Postgres database, by how its catalog differs from what it was before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask_branches.rehearsal import catalog
from flask_branches.rehearsal.observed import Index, Rewrite, Validation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine.interfaces import DBAPICursor

    from flask_branches.rehearsal.catalog import Catalog, Relation, Rule

_MOST = 0.5
_CHECKED = {"c", "f", "n"}
"""Rules that are held against every row; those of a key come with an index, whose making reads the table."""


@dataclass
class Changes:
    """What one statement, or several, have done."""

    effects: list[str] = field(default_factory=list)
    """In words, for whoever reads the statement."""
    rewrites: list[Rewrite] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)

    def add(self, others: Changes) -> None:
        """Take in what another statement has done."""
        self.effects += others.effects
        self.rewrites += others.rewrites
        self.indexes += others.indexes
        self.validations += others.validations


class Looks:
    """Compares a database with what it was at the look before.

    Args:
        cursor: of any session, to begin with.
        hidden: the table that is Alembic's own, and nobody's business.
    """

    def __init__(self, cursor: DBAPICursor, hidden: str) -> None:
        self._hidden = hidden
        self.before = self._last = catalog.read(cursor, hidden)
        self._rules = catalog.rules(cursor)
        self.sizes = catalog.sizes(cursor)
        self._parents = catalog.parents(cursor)
        self.known: dict[int, Relation] = dict(self.before.by_oid)
        """Every relation that was ever seen, as it was called first."""
        self.taken_over: dict[int, str] = {}
        """What was not there before and has come into use, and the revision that has made it."""

    def table_of(self, oid: int) -> int:
        """The table that a relation is part of, gone as it may be."""
        found = self.known.get(oid)
        above = found and (found.index_of or found.toast_of)
        return self.table_of(above) if above else oid

    def above(self, table: int) -> tuple[str, ...]:
        """The tables that one was part of before: as a partition, or by inheritance."""
        found: dict[int, None] = {}
        wanted = [table]
        while wanted:
            more = [each for each in self._parents.get(wanted.pop(), ()) if each not in found]
            found |= dict.fromkeys(more)
            wanted += more
        return tuple(self.known[each].name for each in found)

    def is_of_toast(self, index: Relation, there: Catalog | None = None) -> bool:
        """Whether an index is one of what is kept out of line."""
        above = (self.known if there is None else there.by_oid).get(index.index_of or 0)
        return above is not None and above.letter == "t"

    def resume(self, cursor: DBAPICursor) -> None:
        """Take what there is now for what was there before."""
        self._last, self._rules = catalog.read(cursor, self._hidden), catalog.rules(cursor)

    def take_over(self, cursor: DBAPICursor, revision: str) -> None:
        """Note what is in use from now on: a copy that has been given a table's name, and new indexes of tables.

        Args:
            cursor: of a session that sees it.
            revision: the one that has ended.
        """
        names = {each.name for each in self.before.by_oid.values()}
        new = {oid: each for oid, each in self._last.by_oid.items() if oid not in self.before.by_oid}
        tables = {oid for oid, each in new.items() if each.name in names and not each.is_index}
        tables |= self.before.by_oid.keys()
        for oid, each in new.items():
            if self._last.table_of(oid) in tables:
                self.before.by_oid[oid] = self.known[oid] = each
                self.sizes[oid] = _size(cursor, each)
                self.taken_over[oid] = revision

    def look(self, cursor: DBAPICursor, *, concurrently: bool = False) -> Changes:
        """What has changed since the look before.

        Args:
            cursor: of the session that makes the changes, while its transaction is open.
            concurrently: whether indexes that are new were built without keeping writers out.
        """
        now, rules = catalog.read(cursor, self._hidden), catalog.rules(cursor)
        changes = Changes()
        rewritten = set()
        for old, new in self._rewritten(now):
            rewritten.add(new.oid)
            changes.rewrites.append(self._rewrite(cursor, old, new))
        changes.rewrites = [each for each in changes.rewrites if self._stands_alone(each, rewritten)]
        changes.indexes += self._built(cursor, now, concurrently=concurrently)
        changes.validations += self._validated(now, rules, rewritten)
        changes.effects += [*_effects(changes), *self._reads(now, rewritten)]
        self.known = dict(now.by_oid) | self.known
        self._last, self._rules = now, rules
        return changes

    def _rewritten(self, now: Catalog) -> Iterator[tuple[Relation, Relation]]:
        for oid, new in now.by_oid.items():
            old = self._last.by_oid.get(oid)
            if old is not None and oid in self.before.by_oid and old.file != new.file and new.letter in {"r", "m", "i"}:
                yield old, new

    def _rewrite(self, cursor: DBAPICursor, old: Relation, new: Relation) -> Rewrite:
        before = self.sizes.get(new.oid, 0)
        after = self.sizes[new.oid] = _size(cursor, new)
        truncated = new.letter == "r" and before > 0 and self._is_truncated(cursor, old, new)
        table = now_name(self.before, self.before.table_of(new.oid))
        return Rewrite(self.known[new.oid].name, new.kind, table, truncated, before, after)

    def _is_truncated(self, cursor: DBAPICursor, old: Relation, new: Relation) -> bool:
        """A rewrite keeps the rows. Where rows came after, they alone are in the table that was truncated before."""
        if not _number(cursor, "SELECT pg_relation_size(%s)", new.oid):
            return True
        inserted = new.inserted - old.inserted
        if inserted <= 0:
            return False
        return _number(cursor, f"SELECT count(*) FROM ONLY {new.name}") <= inserted  # noqa: S608  the server has quoted it

    def _stands_alone(self, rewrite: Rewrite, rewritten: set[int]) -> bool:
        """Whether it is more than an index, or another table's storage, that goes where its table goes."""
        names = {self.known[oid].name for oid in rewritten}
        return rewrite.object == rewrite.table or rewrite.table not in names

    def _built(self, cursor: DBAPICursor, now: Catalog, *, concurrently: bool) -> Iterator[Index]:
        # A change of type that an index need not notice makes it again, with the file that it had: nothing is built.
        files = {each.file for each in self._last.by_oid.values()}
        for oid, new in now.by_oid.items():
            table = now.table_of(oid)
            if new.letter == "i" and oid not in self._last.by_oid and table in self.before.by_oid:
                if new.file in files or self.is_of_toast(new, now):
                    continue
                name = now_name(self.before, table)
                yield Index(new.name, name, new.is_unique, new.is_valid, concurrently, _size(cursor, new))

    def _validated(self, now: Catalog, rules: dict[int, dict[str, Rule]], rewritten: set[int]) -> Iterator[Validation]:
        attached = {each.oid for each in now.by_oid.values() if each.is_partition and not self._was_partition(each.oid)}
        for oid, new in now.by_oid.items():
            old = self._last.by_oid.get(oid)
            if old is None or oid not in self.before.by_oid or oid in rewritten or not _is_read(old, new):
                continue
            before = self._rules.get(oid, {})
            name, rows = self.known[oid].name, new.read - old.read
            for key, rule in rules.get(oid, {}).items():
                if rule.kind in _CHECKED and rule.valid and not (key in before and before[key].valid):
                    yield Validation(name, rule.text, rows)
            if new.is_partition and attached:  # the default partition is read too, when there is another beside it
                yield Validation(name, "the bounds of the partition", rows)

    def _was_partition(self, oid: int) -> bool:
        old = self._last.by_oid.get(oid)
        return old is not None and old.is_partition

    def _reads(self, now: Catalog, rewritten: set[int]) -> Iterator[str]:
        for oid, new in now.by_oid.items():
            old = self._last.by_oid.get(oid)
            if old is not None and new.letter in {"r", "m"} and oid not in rewritten and _is_read(old, new):
                rows = new.read - old.read
                yield f"reads {rows:,} {'row' if rows == 1 else 'rows'} of {self.known[oid].name}"


def _is_read(old: Relation, new: Relation) -> bool:
    """Whether a table was read from end to end: others, who are counted too, look up rows of it."""
    return new.read - old.read > old.rows * _MOST


def now_name(names: Catalog, oid: int) -> str:
    """What a relation was called."""
    found = names.by_oid.get(oid)
    return found.name if found else str(oid)


def _size(cursor: DBAPICursor, relation: Relation) -> int:
    function = "pg_relation_size" if relation.is_index else "pg_table_size"
    return _number(cursor, f"SELECT {function}(%s)", relation.oid)


def _number(cursor: DBAPICursor, statement: str, *values: int) -> int:
    cursor.execute(statement, values or None)  # without any a % in a name is none of theirs
    ((found,),) = cursor.fetchall()
    return int(found)


def _effects(changes: Changes) -> Iterator[str]:
    for rewrite in changes.rewrites:
        yield f"{'truncates' if rewrite.truncated else 'rewrites'} {rewrite.object}"
    for index in changes.indexes:
        yield f"builds {index.name} on {index.table}"
