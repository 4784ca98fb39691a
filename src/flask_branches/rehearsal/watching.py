"""The run of migrations, watched: SQLAlchemy tells of every statement and every transaction of this process."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from flask_branches import ours
from flask_branches.errors import NotSupported
from flask_branches.rehearsal.course import Course
from flask_branches.rehearsal.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alembic.runtime.migration import MigrationContext, RevisionStep
    from sqlalchemy.engine import Connection, ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
    from sqlalchemy.pool import ConnectionPoolEntry

    from flask_branches.rehearsal.clock import Clock
    from flask_branches.rehearsal.migrations import Migrations

    Measure = Callable[[Course, Run], None]

_OURS = "flask_branches_ours"
"""Notes with a connection that it was this package that took it from its pool."""


class Watch:
    """Watches one run of the migrations, on every database that it goes to.

    Args:
        migrations: what is run.
        clock: which stands while a revision is measured.
        observe: begins to look at a database, where there is a way to.
        measure: called when a revision has ended, and its transaction if it has one of its own.
    """

    def __init__(
        self, migrations: Migrations, clock: Clock, observe: Callable[[Course], None], measure: Measure
    ) -> None:
        self.courses: list[Course] = []
        self._migrations = migrations
        self._clock = clock
        self._observe = observe
        self._measure = measure
        self._by_connection: dict[int, Course] = {}
        self._contexts: dict[Course, MigrationContext] = {}
        self._current: Course | None = None
        self._own: dict[int, tuple[float, int | None]] = {}
        self._quiet = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to every connection of this process, for the time of a block."""
        heard: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "handle_error": self._refused,
            "begin": self._began,
            "commit": functools.partial(self._closing, committing=True),
            "rollback": functools.partial(self._closing, committing=False),
        }
        for name, function in heard.items():
            sa.event.listen(sa.engine.Engine, name, function)
        sa.event.listen(sa.pool.Pool, "checkout", self._opened)
        try:
            yield
        finally:
            sa.event.remove(sa.pool.Pool, "checkout", self._opened)
            for name, function in heard.items():
                sa.event.remove(sa.engine.Engine, name, function)
            for course in self.courses:
                course.settle()
                if course.observer is not None:
                    course.observer.stop()

    def before(self, step: RevisionStep, context: MigrationContext) -> None:
        """A revision is to be run: its own code is told from what Alembic does around it."""
        course = self._course(context)
        course.settle()
        code = step.migration_fn
        revision = step.revision

        @functools.wraps(code)
        def watched(**options: Any) -> None:
            down = tuple(revision._normalized_down_revisions)  # noqa: SLF001  down_revision is one of three types
            course.begin(Run(revision.revision, down, revision.doc or "", self._clock.now()))
            self._current = course
            try:
                code(**options)
            except BaseException:
                course.end(failed=True)
                raise
            finally:
                self._current = None
            course.end()

        step.migration_fn = watched

    def after(self, _step: RevisionStep, context: MigrationContext) -> None:
        """It has run."""
        course = self._course(context)
        course.settle()
        course.leave()
        self._quiet = True
        try:
            with self._clock.paused():
                self._measure(course, course.runs[-1])
                course.resume()
        finally:
            self._quiet = False

    def _course(self, context: MigrationContext) -> Course:
        connection = cast("Connection", context.connection)
        known = self._by_connection.get(id(connection))
        # An env.py may go on with the same connection, as to another tenant's schema.
        if known is None or (self._contexts[known] is not context and not known.goes_on):
            known = Course(self._migrations.key_of(context), connection, self._clock)
            if connection.dialect.name == "postgresql" and not hasattr(known.driver, "info"):
                raise NotSupported(
                    f"The driver {connection.dialect.driver!r} cannot be watched: use psycopg, or psycopg2."
                )
            self._by_connection[id(connection)], self._contexts[known] = known, context
            self._end_others(known)
            self.courses.append(known)
            with self._clock.paused():
                self._observe(known)
        return known

    def _end_others(self, new: Course) -> None:
        """Let nobody look on at a session for a course that is over: what it locks from now on is the new one's."""
        for course in self.courses:
            if course.observer is not None and course.observer.pid == _pid_of(new.driver):
                course.settle()
                course.observer.stop()

    def _before(self, connection: Connection, cursor: DBAPICursor, statement: str, *_: object) -> None:
        if self._quiet:
            return
        course = self._by_connection.get(id(connection))
        if course is not None:
            course.before(statement)
        elif self._current is not None and not connection.info.get(_OURS):
            pid = _pid_of(cursor.connection)
            began = self._clock.now()
            self._own[id(connection)] = (began, pid)
            self._tell_own(pid, began)

    def _after(self, connection: Connection, cursor: DBAPICursor, statement: str, *_: object) -> None:
        if self._quiet:
            return
        course = self._by_connection.get(id(connection))
        if course is not None:
            course.after(statement, cursor.rowcount)
        elif self._current is not None and id(connection) in self._own:
            began, pid = self._own.pop(id(connection))
            self._tell_own(pid, 0)
            self._current.own(statement, began, cursor.rowcount)

    def _refused(self, context: ExceptionContext) -> None:
        if self._quiet:
            return
        course = self._by_connection.get(id(context.connection))
        if course is not None:
            course.refused(context.statement)
        elif self._current is not None and context.statement is not None and id(context.connection) in self._own:
            _, pid = self._own.pop(id(context.connection))
            self._tell_own(pid, 0)
            self._current.refused_own(context.statement)

    def _opened(self, driver: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        """The migration takes a connection of its own; what it does by the driver's cursor nobody is told of."""
        # A test run looks after its branches meanwhile, in a thread of its own.
        entry.info[_OURS] = ours.are_connecting()
        if self._current is not None and not self._quiet and not entry.info[_OURS]:
            self._current.opened()
            self._tell_own(_pid_of(driver), self._clock.now())

    def _tell_own(self, pid: int | None, since: float) -> None:
        """Tell the observer of a session that the migration has opened: since when a statement runs there, or 0."""
        activity = self._current.activity if self._current is not None else None
        if activity is not None and pid is not None:
            activity.own[pid] = since

    def _began(self, connection: Connection) -> None:
        course = self._by_connection.get(id(connection))
        if course is not None:
            course.settle()

    def _closing(self, connection: Connection, *, committing: bool) -> None:
        course = self._by_connection.get(id(connection))
        if course is not None and not self._quiet:
            course.closing(committing=committing)


def _pid_of(driver: DBAPIConnection) -> int | None:
    info = getattr(driver, "info", None)
    return None if info is None else int(info.backend_pid)
