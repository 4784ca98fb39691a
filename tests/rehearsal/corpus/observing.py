"""What a migration does, seen by somebody who knows nothing of rehearsals: to check the corpus by the server itself."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from tests.rehearsal.corpus.case import MODES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection
    from tests.rehearsal.corpus.case import Case

_OBJECTS = """
SELECT c.oid, CASE WHEN c.relkind = 't' THEN format('toast of %I.%I', m.nspname, o.relname)
    ELSE format('%I.%I', n.nspname, c.relname) END, c.relkind, pg_relation_filenode(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class o ON o.reltoastrelid = c.oid LEFT JOIN pg_namespace m ON m.oid = o.relnamespace
WHERE n.nspname = 'public' OR c.relkind = 't' AND m.nspname = 'public'
"""
_HELD = "SELECT DISTINCT relation, mode FROM pg_locks WHERE pid = %s AND locktype = 'relation' AND granted"
_READ = "SELECT relid, seq_tup_read FROM pg_stat_xact_user_tables WHERE seq_tup_read > 0"
# To plan is to lock, the indexes too.
_READING = "EXPLAIN SELECT * FROM "
_WRITING = "EXPLAIN DELETE FROM "
_COUNT = "SELECT count(*) FROM "
_COUNTED = "SELECT oid FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
_BUILT = "SELECT indexrelid, indrelid FROM pg_index WHERE indisvalid"


@dataclass
class Seen:
    """What was seen, by the names that the objects had before."""

    locks: dict[str, str] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    rewrites: set[str] = field(default_factory=set)
    builds: set[str] = field(default_factory=set)
    read: dict[str, int] = field(default_factory=dict)
    """How many rows were read one after the other."""
    rows: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)


class Observer:
    """Looks from sessions of its own at the one that migrates."""

    def __init__(self, url: str) -> None:
        """Take note of what is there."""
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        self._where = self._engine.dialect.create_connect_args(self._engine.url)[1]
        self.seen = Seen()
        with self._session() as session:
            self._before = self._objects(session)
            self._indexes = dict(session.execute(_BUILT).fetchall())
            self._rows = self._counted(session)
        self._tables = {oid: name for oid, (name, kind, _) in self._before.items() if kind in "rmp"}
        views = {name for name, kind, _ in self._before.values() if kind == "m"}
        self._reading = [(name, _READING + name) for name in self._tables.values()]
        self._writing = [(name, (_READING if name in views else _WRITING) + name) for name in self._tables.values()]

    def watch(self, case: Case) -> Seen:
        """Run its migration, and look at every statement's end, at every commit and, meanwhile, all the time."""
        with self._engine.connect() as connection:
            pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            connection.rollback()
            with self._session() as session, self._sampled(pid):

                @sa.event.listens_for(connection, "after_cursor_execute")
                def after(*_: object) -> None:
                    self._look(session, pid)
                    self._feel(session)

                @sa.event.listens_for(connection, "commit")
                def commit(connection: Connection) -> None:
                    self._note_reads(connection)

                context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
                with context.begin_transaction(_per_migration=True), Operations.context(context):
                    space: dict[str, Any] = {}
                    exec(case.module("one", None), space)  # noqa: S102  as Alembic would, of a text of our own
                    space["upgrade"]()
        self._compare()
        return self.seen

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(**self._where, autocommit=True) as session:
            yield session

    @contextmanager
    def _sampled(self, pid: int) -> Iterator[None]:
        over = threading.Event()

        def sample() -> None:
            with self._session() as session:
                while not over.is_set():
                    self._look(session, pid)
                    self._feel(session)

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, session: psycopg.Connection[Any], pid: int) -> None:
        for oid, mode in session.execute(_HELD, [pid]).fetchall():
            if oid in self._before:
                name, words = self._before[oid][0], _words(mode)
                known = self.seen.locks.get(name, MODES[0])
                self.seen.locks[name] = max(known, words, key=MODES.index)

    def _feel(self, session: psycopg.Connection[Any]) -> None:
        """Come as a reader and as a writer, who plan what they do, and leave when they have to wait."""
        session.execute("SET lock_timeout = '2ms'")
        for comings, felt in ((self._reading, self.seen.reads), (self._writing, self.seen.writes)):
            for name, statement in comings:
                with suppress(psycopg.errors.UndefinedTable):  # the migration has dropped or renamed it
                    try:
                        session.execute(statement.encode())
                    except psycopg.errors.LockNotAvailable:
                        felt.add(name)

    def _note_reads(self, connection: Connection) -> None:
        for oid, count in connection.execute(sa.text(_READ)):
            if oid in self._tables:
                self.seen.read[self._tables[oid]] = count

    def _compare(self) -> None:
        with self._session() as session:
            after = self._objects(session)
            built = dict(session.execute(_BUILT).fetchall())
            rows = self._counted(session)
        for oid, (name, kind, file) in self._before.items():
            if kind != "t" and oid in after and after[oid][2] != file and not self._goes_along(oid, after):
                self.seen.rewrites.add(name)
        files = {file for _, _, file in self._before.values()}
        self.seen.builds = {
            after[oid][0]
            for oid, table in built.items()
            if oid not in self._indexes and table in self._tables and oid in after and after[oid][2] not in files
        }
        for oid in {*self._rows, *rows}:
            became_partition = oid in self._rows and oid in after and oid not in rows
            if rows.get(oid) != self._rows.get(oid) and not became_partition:
                name = (self._before.get(oid) or after[oid])[0]
                self.seen.rows[name] = (self._rows.get(oid), rows.get(oid))

    def _goes_along(self, oid: int, after: dict[int, tuple[str, str, int]]) -> bool:
        """Whether it is the index of a table that has another file itself."""
        table = self._indexes.get(oid)
        return table in after and after[table][2] != self._before[table][2]

    @staticmethod
    def _objects(session: psycopg.Connection[Any]) -> dict[int, tuple[str, str, int]]:
        return {oid: (name, kind, file) for oid, name, kind, file in session.execute(_OBJECTS)}

    def _counted(self, session: psycopg.Connection[Any]) -> dict[int, int]:
        """A partition's rows are those of what it is part of."""
        names = {oid: name for oid, (name, _, _) in self._objects(session).items()}
        counted = {}
        for (oid,) in session.execute(_COUNTED).fetchall():
            if oid in names:
                found = session.execute((_COUNT + names[oid]).encode()).fetchone()
                counted[oid] = found[0] if found else 0
        return counted


def _words(mode: str) -> str:
    """As its documentation calls what pg_locks calls ``AccessExclusiveLock``."""
    return next(each for each in MODES if each.title().replace(" ", "") + "Lock" == mode)
