"""The pending migrations run once on a branch, watched and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches.backends.postgres_errors import said, sqlstate
from flask_branches.branch import in_short
from flask_branches.errors import BranchesError
from flask_branches.rehearsal import hiding
from flask_branches.rehearsal.clock import Clock
from flask_branches.rehearsal.limiting import Overdue, end_statement, within
from flask_branches.rehearsal.looking import Looks
from flask_branches.rehearsal.measuring import Meter, pid_of
from flask_branches.rehearsal.observing import Activity, Observer
from flask_branches.rehearsal.probing import Prober
from flask_branches.rehearsal.report import Failure
from flask_branches.rehearsal.watching import Watch

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from flask_branches.rehearsal.course import Course
    from flask_branches.rehearsal.grounds import Grounds
    from flask_branches.rehearsal.limiting import Deadline
    from flask_branches.rehearsal.migrations import Migrations
    from flask_branches.rehearsal.runs import Run


_LOOK = 5
"""Seconds that the look at what has come of a run has at least, also where the run has used up all of them."""


class Performance:
    """One run of what is pending.

    Args:
        migrations: what is run.
        grounds: where.
        deadline: when all is to have ended.
        counts: whether rows are counted.
        undo: whether the revisions are to be undone later.
    """

    def __init__(
        self, migrations: Migrations, grounds: Grounds, *, deadline: Deadline, counts: bool, undo: bool
    ) -> None:
        self.clock = Clock()
        self.meters: dict[str | None, Meter] = {}
        self.failure: Failure | None = None
        self.took = 0.0
        self.server = ""
        self._interrupted = False
        self._connections: list[Connection] = []
        """Those that measure."""
        self.migrations = migrations
        self.grounds = grounds
        self._deadline = deadline
        self._counts = counts
        self._undo = undo
        self.watch = Watch(migrations, self.clock, self._observe, self._measure)

    def run(self, to: str) -> None:
        """Run them; what goes wrong is in :attr:`failure` afterwards."""
        with self.watch.listening():
            began = None
            try:
                with self._deadline.within(self._interrupt):
                    self._measure_first()
                    began = self.clock.now()
                    self.migrations.upgrade(to, self.watch)
                    self.failure = self._cut_short()
                if self.failure is None:
                    with within(max(self._deadline.left, _LOOK), self._cancel):
                        self.failure = self._undone()
            except (Exception, Overdue) as error:  # noqa: BLE001  migrations are others' code, and may raise anything
                self.failure = self._failed(error)
            if began is not None:
                self.took = self.clock.now() - began

    def _measure_first(self) -> None:
        connections = {key: self.grounds.connect(key) for key in self.grounds.keys}
        self.server = server_of(connections[None])
        self._connections += connections.values()
        for key, connection in connections.items():
            self.meters[key] = Meter(connection, self.migrations.version_table, counts=self._counts)
            if self._undo:
                self.meters[key].digest()

    def _observe(self, course: Course) -> None:
        if course.connection.dialect.name != "postgresql":
            return
        looking, probing = (self.grounds.connect(course.key) for _ in range(2))
        observing = [pid_of(each.connection.dbapi_connection) for each in (looking, probing)]
        self.meters[course.key].begin(pid_of(course.driver), observing)
        cursor = looking.connection.cursor()
        looks = Looks(cursor, self.migrations.version_table)
        activity = Activity()
        prober = Prober(probing, self.clock)
        observer = Observer(
            looking,
            pid_of(course.driver),
            activity=activity,
            clock=self.clock,
            before=looks.before,
            prober=prober,
            deadline=self.clock.now() + self._deadline.left * 1_000,
        )
        course.observe(looks, activity, observer)

    def _measure(self, course: Course, _run: Run) -> None:
        self.meters[course.key].measure(course)

    def _interrupt(self) -> None:
        """End what is done by all sessions that are known here; the observer knows those of the migration's own."""
        self._interrupted = True
        for connection in (*(course.connection for course in self.watch.courses), *self._connections):
            end_statement(connection)

    def _cancel(self) -> None:
        """End what all sessions do, those of ``env.py`` that nobody here has seen too."""
        self._interrupted = True
        self.grounds.cancel()

    def _undone(self) -> Failure | None:
        """That what was run without an error has come to nothing all the same."""
        for course in self.watch.courses:
            course.settle()
        current = self.migrations.current()
        for course in self.watch.courses:
            if course.runs and course.runs[-1].id not in current.get(course.key, ()):
                at = ", ".join(current.get(course.key, ())) or "no revision"
                return Failure(
                    f"It ran without an error, and was rolled back in the end: the database is at {at}. Who commits by "
                    "himself ends the transaction that Alembic commits: use op.get_context().autocommit_block(). An "
                    "env.py without context.begin_transaction() commits nothing.",
                    course.runs[-1].id,
                    done=tuple(each for each in self._done() if each != course.runs[-1].id),
                )
        return None

    def _done(self) -> tuple[str, ...]:
        """The revisions that were committed."""
        runs = [(course, run) for course in self.watch.courses for run in course.runs]
        return tuple(dict.fromkeys(run.id for course, run in runs if not run.failed and _is_done(course, run)))

    def _failed(self, error: BaseException) -> Failure:
        courses = self.watch.courses
        for course in courses:
            course.settle()
        failed = list(dict.fromkeys(run.id for course in courses for run in course.runs if run.failed))
        statement = next((course.failing for course in courses if course.failing), None)
        # Where the commit of several was refused, nothing tells which of them is at fault.
        return Failure(self._reason(error), failed[0] if len(failed) == 1 else None, statement, self._done())

    def _cut_short(self) -> Failure | None:
        """That something was ended which had no end, and the migration went on all the same."""
        for course in self.watch.courses:
            course.settle()
        if (why := self._why_ended()) is None:
            return None
        revision = next((each.cancelled for each in self._observers if each.cancelled), None)
        return Failure(why, revision, done=tuple(each for each in self._done() if each != revision))

    @property
    def _observers(self) -> list[Observer]:
        return [course.observer for course in self.watch.courses if course.observer is not None]

    def _why_ended(self) -> str | None:
        if self._interrupted or any(each.overdue for each in self._observers):
            return (
                f"It had not ended after {in_short(self._deadline.span)}, and was cancelled: see what it waits for, or "
                "give it longer with --timeout."
            )
        if any(each.stuck for each in self._observers):
            return (
                "It would have waited for itself for ever: a connection that it has opened on its own waits for a lock "
                "that its transaction holds. Use op.get_bind() in place of an engine or a session."
            )
        return None

    def _reason(self, error: BaseException) -> str:
        self._interrupted |= isinstance(error, Overdue)
        if (why := self._why_ended()) is not None:
            return why
        if isinstance(error, BranchesError):
            return str(error)
        if isinstance(error, sa.exc.DBAPIError) and (
            error.connection_invalidated or (sqlstate(error) is None and any(each.lost for each in self._observers))
        ):
            return f"The connection to the branch was lost ({said(error)}): see whether somebody has deleted it."
        return hiding.reason(error)


def server_of(connection: Connection) -> str:
    """What a database is, with its version."""
    if connection.dialect.name == "sqlite":
        return f"SQLite {connection.exec_driver_sql('SELECT sqlite_version()').scalar_one()}"
    return f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar_one()}"


def _is_done(course: Course, run: Run) -> bool:
    """Whether what a revision did was committed."""
    mine = [each for each in course.transactions if run.id in each.revisions]
    return mine[-1].committed if mine else run.at_once
