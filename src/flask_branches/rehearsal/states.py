"""A database at one moment, and in what two moments differ."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from flask_branches.rehearsal.observed import Growth, Rows, Wal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask_branches.rehearsal.rows import Counted

Key = int | str
"""What a table is known by: a number that no rename changes, and where there is none its name."""


class Mark(NamedTuple):
    """What Postgres counts of a table's rows, of each partition by itself; the counts only grow."""

    name: str
    file: int | None
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class Thing:
    """A table or an index at one moment."""

    name: str
    kind: str
    size: int | None = None
    """Bytes; None where the database does not say."""
    rows: Counted | None = None
    columns: Mapping[Key, str] = field(default_factory=dict)
    mark: tuple[Mark, ...] | None = None
    """Another one whenever its rows have changed; None where nobody tells."""
    again: object = None
    """What tells that a thing with another key is this one: that of a table that was copied, or renamed on SQLite."""


@dataclass(frozen=True)
class State:
    """A database at one moment."""

    schema: str
    things: Mapping[Key, Thing]
    log: int
    """Where the server's log is."""
    own_log: int | None
    """How much of it the migrating session has written; None where nobody tells."""
    labels: Mapping[int, str] = field(default_factory=dict)
    """What the values of enums are called: a row that nobody writes to has another text where one is renamed."""
    is_told: bool = False
    """Whether marks tell of all that was written since the moment before."""


def followed(before: Thing | None, now: Thing) -> Thing:
    """A table whose rows are estimated, by what has come and gone since they were known: a DELETE shrinks no file."""
    if before is None or before.rows is None or now.rows is None or now.rows.exact:
        return now
    then, there = ({each.file: each.inserted - each.deleted for each in of.mark or ()} for of in (before, now))
    if not there or then.keys() != there.keys():
        return now
    number = before.rows.rows + sum(there.values()) - sum(then.values())
    return replace(now, rows=replace(now.rows, rows=max(number, 0)))


def wal(before: State, now: State) -> Wal | None:
    """How much of the log was written, by the session's own part where both moments have it.

    Inside a transaction nobody is told.
    """
    if before.own_log is not None and now.own_log is not None:
        return Wal(now.own_log - before.own_log, of_server=False)
    return Wal(now.log - before.log, of_server=True) if before.log and now.log else None


def are_renamed(before: State, now: State) -> bool:
    """Whether a value of an enum has another name."""
    return any(now.labels.get(value, label) != label for value, label in before.labels.items())


def growth(before: State, now: State) -> Iterator[Growth]:
    """What has another size."""
    for old, new in _pairs(before, now):
        there = new or old
        size, became = (each.size if each is not None else None for each in (old, new))
        if there is not None and size != became:
            yield Growth(there.name, there.kind, size, became)


def rows(before: State, now: State) -> Iterator[Rows]:
    """Which tables have more rows or fewer, or fewer columns of some."""
    for old, new in _pairs(before, now):
        there = new or old
        if there is None:
            continue
        counted = [each.rows for each in (old, new) if each is not None and each.rows is not None]
        if old and new and (old.rows is None) != (new.rows is None):
            continue  # it has become a partition, or is none any more: its rows are another table's
        had, has = (each.rows.rows if each is not None and each.rows is not None else None for each in (old, new))
        gone = _gone(old, new) if had and old is not None and new is not None else ()
        if had != has or gone:
            yield Rows((old or there).name, had, has, all(each.exact for each in counted), gone)


def _pairs(before: State, now: State) -> Iterator[tuple[Thing | None, Thing | None]]:
    """Each thing at both moments."""
    gone = {key: each for key, each in before.things.items() if key not in now.things}
    by_other = {each.again: key for key, each in gone.items() if each.again is not None}
    for key, new in now.things.items():
        if key not in before.things and new.again in by_other:
            yield _by_name(gone.pop(by_other.pop(new.again))), _by_name(new)
        else:
            yield before.things.get(key), new
    yield from ((old, None) for old in gone.values())


def _by_name(thing: Thing) -> Thing:
    """One whose columns have other numbers than before."""
    return replace(thing, columns={name: name for name in thing.columns.values()})


def _gone(old: Thing, new: Thing) -> tuple[str, ...]:
    """Columns that are not there any more; where a name is all there is, as many new ones may be the same, renamed."""
    gone = [name for key, name in old.columns.items() if key not in new.columns]
    if any(isinstance(key, str) for key in old.columns) and len(new.columns) >= len(old.columns):
        return ()
    return tuple(sorted(gone))
