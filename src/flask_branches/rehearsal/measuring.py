"""What is measured of a database between one revision and the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flask_branches import schema
from flask_branches.rehearsal import catalog, rows
from flask_branches.rehearsal.observed import Growth, Rows, Wal
from flask_branches.rehearsal.telling import Measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.engine import Connection

    from flask_branches.rehearsal.catalog import Relation
    from flask_branches.rehearsal.course import Course
    from flask_branches.rehearsal.rows import Counted

_KNOWS_ITS_WAL = 18
"""From this version on a backend is told how much of the log is its own."""
_COLUMNS = (
    "SELECT attrelid, attnum, quote_ident(attname) FROM pg_attribute"
    " WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped"
)


Key = int | str
"""What a table is known by: a number that no rename changes, and where there is none its name."""


@dataclass(frozen=True)
class Thing:
    """A table or an index at one moment."""

    name: str
    kind: str
    size: int | None = None
    """Bytes; None where the database does not say."""
    rows: Counted | None = None
    columns: Mapping[Key, str] = field(default_factory=dict)
    mark: tuple[object, ...] | None = None
    """Another one whenever its rows have changed; None where nobody tells."""


@dataclass(frozen=True)
class State:
    """A database at one moment."""

    schema: str
    things: Mapping[Key, Thing]
    log: int
    """Where the server's log is."""
    own_log: int | None
    """How much of it the migrating session has written; None where nobody tells."""


class Meter:
    """Measures one database, after each revision.

    Args:
        connection: a session in autocommit of its own.
        hidden: the table that is Alembic's own.
        counts: whether rows are counted.
    """

    def __init__(self, connection: Connection, hidden: str, *, counts: bool) -> None:
        self.connection = connection
        self._hidden = hidden
        self._counts = counts
        self._pid: int | None = None
        self.states = [self._state(connection)]
        self.contents: list[dict[str, rows.Content | None]] = []
        """What tables hold at each of these moments, as far as it can be read in reasonable time."""
        self.measured: list[Measured] = []

    def begin(self, pid: int) -> None:
        """Remember whose part of the log is to be told.

        Args:
            pid: the migrating session's number.
        """
        self._pid = pid
        self.states[0] = replace(self.states[0], log=self._log(), own_log=self._own_log())

    def digest(self) -> None:
        """Remember what tables hold, to see what the way back does not bring back."""
        self.contents = [rows.digest(self.connection, rows.columns(self.connection))]

    def measure(self, course: Course) -> None:
        """Measure what the revision that has just ended has left.

        Where its transaction goes on, its own session alone can see that; what is locked for it is left out.
        """
        if not course.in_transaction:
            self._note(self.connection, self._state(self.connection))
            return
        observer = course.observer
        before = observer.aside() if observer is not None else set()
        self._note(course.connection, self._state(course.connection, inside=True))
        if observer is not None:
            observer.ignore(observer.aside() - before)

    def _note(self, connection: Connection, now: State) -> None:
        before = self.states[-1]
        self.states.append(now)
        growth = tuple(sorted(_growth(before, now), key=lambda each: each.object))
        counts = tuple(sorted(_rows(before, now), key=lambda each: each.table))
        if self.contents:
            self._digest_again(connection, before, now)
        self.measured.append(Measured(_wal(before, now), growth, counts))

    def _digest_again(self, connection: Connection, before: State, now: State) -> None:
        """Read what the latest revision has written to; the rest is as it was."""
        same = {
            each.name
            for key, each in now.things.items()
            if each.mark is not None and key in before.things and before.things[key].mark == each.mark
        }
        tables = set(rows.columns(connection))
        kept = {name: held for name, held in self.contents[-1].items() if name in same & tables}
        self.contents.append(kept | rows.digest(connection, tables - kept.keys()))

    def _state(self, connection: Connection, *, inside: bool = False) -> State:
        counted = rows.count(connection) if self._counts else {}
        things = _of_postgres if connection.dialect.name == "postgresql" else _of_sqlite
        if counted and connection.dialect.name == "postgresql" and not inside:
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")  # what was read here is not the migration's
        return State(
            schema.dump(connection),
            things(connection, counted, self._hidden),
            self._log(),
            None if inside else self._own_log(),
        )

    def _log(self) -> int:
        if self._pid is None:
            return 0
        return self._number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")

    def _own_log(self) -> int | None:
        if self._pid is None or version_of(self.connection) < _KNOWS_ITS_WAL:
            return None
        return self._number(f"SELECT wal_bytes::bigint FROM pg_stat_get_backend_wal({self._pid})")  # noqa: S608  a number

    def _number(self, query: str) -> int:
        return int(self.connection.exec_driver_sql(query).scalar_one())


def _wal(before: State, now: State) -> Wal | None:
    """By the session's own part where both moments have it; inside a transaction nobody is told."""
    if before.own_log is not None and now.own_log is not None:
        return Wal(now.own_log - before.own_log, of_server=False)
    return Wal(now.log - before.log, of_server=True) if before.log and now.log else None


def version_of(connection: Connection) -> int:
    """The major version of a server."""
    return int((connection.dialect.server_version_info or (0,))[0])


def pid_of(driver: Any) -> int:  # noqa: ANN401  the DB-API has no types
    """The number of a driver's session."""
    return int(driver.info.backend_pid)


def _of_postgres(connection: Connection, counted: Mapping[str, Counted], hidden: str) -> dict[Key, Thing]:
    cursor: Any = connection.connection.cursor()
    try:
        there, sizes = catalog.read(cursor, hidden), catalog.sizes(cursor)
        cursor.execute(_COLUMNS)
        columns: dict[int, dict[Key, str]] = {}
        for oid, number, name in cursor.fetchall():
            columns.setdefault(oid, {})[number] = name
    finally:
        cursor.close()
    return {
        oid: Thing(each.name, each.kind, sizes.get(oid), counted.get(each.name), columns.get(oid, {}), _mark(each))
        for oid, each in there.by_oid.items()
        if (oid in sizes or each.name in counted) and not each.name.startswith("pg_toast.")
    }


def _mark(relation: Relation) -> tuple[object, ...] | None:
    """The rows of a partitioned table are in others."""
    if relation.letter != "r":
        return None
    return (relation.name, relation.file, relation.inserted, relation.updated, relation.deleted)


def _of_sqlite(connection: Connection, counted: Mapping[str, Counted], hidden: str) -> dict[Key, Thing]:
    return {
        table: Thing(table, "table", None, counted.get(table), {name: name for name in names})
        for table, names in rows.columns(connection).items()
        if table != hidden
    }


def _growth(before: State, now: State) -> Iterator[Growth]:
    for key in before.things.keys() | now.things.keys():
        old, new = before.things.get(key), now.things.get(key)
        there = new or old
        size, became = (each.size if each is not None else None for each in (old, new))
        if there is not None and size != became:
            yield Growth(there.name, there.kind, size, became)


def _rows(before: State, now: State) -> Iterator[Rows]:
    for key in before.things.keys() | now.things.keys():
        old, new = before.things.get(key), now.things.get(key)
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


def _gone(old: Thing, new: Thing) -> tuple[str, ...]:
    """Columns that are not there any more; where a name is all there is, as many new ones may be the same, renamed."""
    gone = [name for key, name in old.columns.items() if key not in new.columns]
    if any(isinstance(key, str) for key in old.columns) and len(new.columns) >= len(old.columns):
        return ()
    return tuple(sorted(gone))
