"""What is measured of a database between one revision and the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask_branches import schema
from flask_branches.rehearsal import catalog, rows, sessions, states
from flask_branches.rehearsal.apart import apart
from flask_branches.rehearsal.states import Mark, State, Thing
from flask_branches.rehearsal.telling import Measured

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from flask_branches.rehearsal.catalog import Catalog
    from flask_branches.rehearsal.course import Course
    from flask_branches.rehearsal.states import Key

_KNOWS_ITS_WAL = 18
"""From this version on a backend is told how much of the log is its own."""
_PARTITIONED = "p"
_COLUMNS = (
    "SELECT attrelid, attnum, quote_ident(attname) FROM pg_attribute"
    " WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped"
)
_PAGES = "SELECT name, rootpage FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
_LABELS = "SELECT oid::bigint, enumlabel FROM pg_enum"


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
        self.uncounted: dict[str, None] = {}
        """The tables that the database refused to count."""
        # Where nobody counts what is done to rows, no mark changes with them.
        has_marks = connection.dialect.name == "postgresql" and self._setting("track_counts") == "on"
        self._sessions = sessions.look(connection) if has_marks else None
        self._own: set[int] = set()
        self.states = [self._state(connection, {})]
        self.contents: list[dict[str, rows.Content | None]] = []
        """What tables hold at each of these moments, as far as it can be read in reasonable time."""
        self.measured: dict[Course, list[Measured]] = {}
        """What was seen of each revision; there are several courses where ``env.py`` comes here several times."""

    def begin(self, pid: int, observing: Iterable[int]) -> None:
        """Remember whose part of the log is to be told.

        Args:
            pid: the migrating session's number.
            observing: the numbers of those that look at it.
        """
        self._pid = pid
        self._own |= {pid_of(self.connection.connection.dbapi_connection), *observing}
        self.states[-1] = replace(self.states[-1], log=self._log(), own_log=self._own_log())

    def digest(self) -> None:
        """Remember what tables hold, to see what the way back does not bring back."""
        tables = rows.columns(self.connection, self._hidden)
        self.contents = [rows.digest(self.connection, tables, keep=self._hidden)]

    def measure(self, course: Course) -> None:
        """Measure what the revision that has just ended has left.

        Where its transaction goes on, its own session alone can see that; what is locked for it is left out.
        """
        inside = course.in_transaction
        if not inside:
            _tell(course)
        before = self.states[-1] if self._is_alone(course) else None
        if not inside:
            self._note(course, self.connection, before)
            return
        observer = course.observer
        held = observer.aside() if observer is not None else set()
        with apart(course.connection, inside=True):
            self._note(course, course.connection, before, inside=True)
            if observer is not None:
                observer.ignore(observer.aside() - held)

    def _is_alone(self, course: Course) -> bool:
        """Whether nobody else can have written to rows: whatever is no session of ours tells of that when it likes."""
        if self._sessions is None:
            return False
        before, self._sessions = self._sessions, sessions.look(self.connection)
        alone = sessions.are_alone(self._own | {pid_of(course.driver)}, before, self._sessions)
        run = course.runs[-1]
        run.others = not alone and not run.own
        return alone

    def written(self, at: int) -> set[str]:
        """The tables that the revision after a moment may have written to."""
        before, now = self.contents[at], self.contents[at + 1]
        held = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
        if not self.states[at + 1].is_told:
            held |= {name for name, each in now.items() if each is None}
        then, there = self.states[at].things, self.states[at + 1].things
        changed = [key for key, each in there.items() if each.mark and (key not in then or then[key].mark != each.mark)]
        return held | {things[key].name for key in changed for things in (then, there) if key in things}

    def _note(self, course: Course, connection: Connection, known: State | None, *, inside: bool = False) -> None:
        """Note down what there is now.

        Args:
            course: whose revision has left it so.
            connection: by which it is seen.
            known: what there was before, where marks tell whether that has changed.
            inside: whether it is the migration's own, in its transaction.
        """
        before = self.states[-1]
        now = self._state(connection, known.things if known else {}, inside=inside)
        self.states.append(replace(now, is_told=known is not None))
        growth = tuple(sorted(states.growth(before, now), key=lambda each: each.object))
        counts = tuple(sorted(states.rows(before, now), key=lambda each: each.table))
        if self.contents:
            pairs = self._unchanged(known.things if known else {}, now.things)
            renamed = states.are_renamed(before, now)
            same = {each.name for old, each in pairs if old.columns == each.columns and not renamed}
            self._digest_again(connection, same, inside=inside)
        self.measured.setdefault(course, []).append(Measured(states.wal(before, now), growth, counts))

    def _digest_again(self, connection: Connection, same: Collection[str], *, inside: bool) -> None:
        """Read what the latest revision has written to; the rest is as it was."""
        tables = set(rows.columns(connection, self._hidden))
        kept = {name: held for name, held in self.contents[-1].items() if name in same and name in tables}
        read = rows.digest(connection, tables - kept.keys(), keep=self._hidden, inside=inside)
        self.contents.append(kept | read)

    def _state(self, connection: Connection, before: Mapping[Key, Thing], *, inside: bool = False) -> State:
        things = (_of_postgres if connection.dialect.name == "postgresql" else _of_sqlite)(connection, self._hidden)
        if self._counts:
            # One that was a partition until now has never been counted by itself.
            known = {now.name: old.rows for old, now in self._unchanged(before, things) if old.rows is not None}
            counted = rows.count(connection, keep=self._hidden, known=known, inside=inside)
            self.uncounted |= {name: None for name, each in counted.items() if each is None}
            things = {
                key: states.followed(before.get(key), replace(each, rows=counted.get(each.name)))
                for key, each in things.items()
            }
            if connection.dialect.name == "postgresql" and not inside:
                connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")  # what was read is not the migration's
        own_log = None if inside else self._own_log()
        return State(schema.dump(connection), things, self._log(), own_log, _labels(connection))

    def _unchanged(self, before: Mapping[Key, Thing], now: Mapping[Key, Thing]) -> Iterator[tuple[Thing, Thing]]:
        """The tables whose rows are as they were, then and now."""
        for key, each in now.items():
            if each.mark is not None and key in before and before[key].mark == each.mark:
                yield before[key], each

    def _log(self) -> int:
        if self._pid is None:
            return 0
        return self._number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")

    def _own_log(self) -> int | None:
        if self._pid is None or version_of(self.connection) < _KNOWS_ITS_WAL:
            return None
        return self._number(f"SELECT wal_bytes::bigint FROM pg_stat_get_backend_wal({self._pid})")  # noqa: S608  a number

    def _setting(self, name: str) -> str:
        return str(self.connection.exec_driver_sql(f"SHOW {name}").scalar_one())

    def _number(self, query: str) -> int:
        return int(self.connection.exec_driver_sql(query).scalar_one())


def version_of(connection: Connection) -> int:
    """The major version of a server."""
    return int((connection.dialect.server_version_info or (0,))[0])


def pid_of(driver: Any) -> int:  # noqa: ANN401  the DB-API has no types
    """The number of a driver's session."""
    return int(driver.info.backend_pid)


def _tell(course: Course) -> None:
    """Let the migrating session tell at once what it has done to rows; by itself it does that each second."""
    if course.observer is None:
        return
    with course.driver.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
    if not course.driver.autocommit:
        course.driver.rollback()  # of no more than this: no transaction was open


def _of_postgres(connection: Connection, hidden: str) -> dict[Key, Thing]:
    cursor: Any = connection.connection.cursor()
    try:
        there, sizes, parents = catalog.read(cursor, hidden), catalog.sizes(cursor), catalog.parents(cursor)
        cursor.execute(_COLUMNS)
        columns: dict[int, dict[Key, str]] = {}
        for oid, number, name in cursor.fetchall():
            columns.setdefault(oid, {})[number] = name
    finally:
        cursor.close()
    marks = _marks(there, parents)
    return {
        oid: Thing(each.name, each.kind, sizes.get(oid), None, columns.get(oid, {}), marks.get(oid), each.name)
        for oid, each in there.by_oid.items()
        if (oid in sizes or each.letter == _PARTITIONED) and not each.name.startswith("pg_toast.")
    }


def _labels(connection: Connection) -> dict[int, str]:
    is_postgres = connection.dialect.name == "postgresql"
    return dict(map(tuple, connection.exec_driver_sql(_LABELS))) if is_postgres else {}


def _marks(there: Catalog, parents: Mapping[int, Sequence[int]]) -> dict[int, tuple[Mark, ...]]:
    """By table; the rows of a partitioned one are in its partitions, and what changes those changes it."""
    found: dict[int, tuple[Mark, ...]] = {}
    for oid, each in sorted(there.by_oid.items()):
        if each.letter not in {"r", _PARTITIONED}:
            continue
        mark = Mark(each.name, each.file, each.inserted, each.updated, each.deleted)
        top = oid
        while top in there.by_oid and there.by_oid[top].is_partition and parents.get(top):
            top = parents[top][0]
        found[top] = (*found.get(top, ()), mark)
        if top != oid:
            found[oid] = (mark,)
    return found


def _of_sqlite(connection: Connection, hidden: str) -> dict[Key, Thing]:
    quote = connection.dialect.identifier_preparer.quote
    pages = {quote(name): page for name, page in connection.exec_driver_sql(_PAGES)}
    return {
        table: Thing(
            table,
            "table",
            columns={name: name for name in names},
            # The page of a table that was dropped is another one's soon.
            again=(pages[table], *sorted(names)) if table in pages else None,
        )
        for table, names in rows.columns(connection, hidden).items()
    }
