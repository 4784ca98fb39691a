"""What one database goes through while its migrations run: statements, transactions, locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask_branches.rehearsal.observed import Span, Transaction
from flask_branches.rehearsal.runs import Open
from flask_branches.rehearsal.statements import BACK_TO, ENDS, Reader, Tally, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from flask_branches.rehearsal.clock import Clock
    from flask_branches.rehearsal.looking import Changes, Looks
    from flask_branches.rehearsal.observing import Activity, Observer
    from flask_branches.rehearsal.runs import Run

_IDLE = 0  # libpq's PQTRANS_IDLE
_IN_ERROR = 3  # its PQTRANS_INERROR
_CONCURRENTLY = "concurrently"
_LOOKED_AT = 50
"""Rows that are committed in batches are looked at no more often than this, in milliseconds."""


class Course:
    """What one database goes through.

    Args:
        key: its bind key.
        connection: the one that migrates.
        clock: the migrations' own.
    """

    def __init__(self, key: str | None, connection: Connection, clock: Clock) -> None:
        self.key = key
        self.connection = connection
        self.runs: list[Run] = []
        self.transactions: list[Transaction] = []
        self.observer: Observer | None = None
        self.looks: Looks | None = None
        self.activity: Activity | None = None
        self.failing: str | None = None
        """The statement that the database has refused."""
        self._clock = clock
        self._run: Run | None = None
        self._noted: Run | None = None
        """The one that Alembic is noting down."""
        self._read = Reader().read
        self._open: Open | None = None
        self._number = 0
        self._closing = False
        self._began_to_close: float | None = None
        self._committing = False
        self._began = 0.0
        self._dirty = False
        self._looked = 0.0
        self._concurrently = False
        """Whether what was refused since the latest look may have left an index, built so."""

    @property
    def driver(self) -> Any:  # noqa: ANN401  the DB-API has no types
        """The driver's connection, which SQLAlchemy tells nothing of what is asked by it."""
        return self.connection.connection.dbapi_connection

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        if self.looks is None:
            return bool(getattr(self.driver, "in_transaction", False))
        return self._status != _IDLE

    @property
    def _status(self) -> int:
        return int(self.driver.info.transaction_status)

    def observe(self, looks: Looks, activity: Activity, observer: Observer) -> None:
        """Look at what happens on Postgres."""
        self.looks, self.activity, self.observer = looks, activity, observer

    def begin(self, run: Run) -> None:
        """A revision's own code is to run."""
        self.runs.append(run)
        self._run = self._noted = run
        self.failing = None
        if self.activity is not None:
            self.activity.revision, self.activity.since = run.id, run.began

    def end(self, *, failed: bool = False) -> None:
        """It has run, or raised an error."""
        run = cast("Run", self._run)
        run.failed = failed
        if not failed:
            self._dirty = True  # nobody tells of what was done by the driver's own cursor, or by a refused statement
            self._look_at_rows()
        run.ended = self._clock.now()
        self._run = None

    def leave(self) -> None:
        """The revision has been noted down too; what comes now is no part of it."""
        self._noted = None

    @property
    def goes_on(self) -> bool:
        """Whether a transaction is open that has run a revision."""
        return self._open is not None and bool(self._open.revisions)

    def before(self, text: str) -> None:
        """A statement is to be sent."""
        self.settle()
        if self._dirty and self._run is not None and self._read(text)[1]:
            self._look_at_rows()  # what was done until now is not the statement's
        self._began = now = self._clock.now()
        if self.activity is not None:
            self.activity.since, self.activity.running = now, True

    def after(self, text: str, rows: int) -> None:
        """It was answered.

        Args:
            text: with placeholders.
            rows: how many the driver has counted; -1 for none.
        """
        ended = self._clock.now()
        if self.activity is not None:
            self.activity.running = False
        self.failing = None
        key, of_schema = self._read(text)
        number = self._count(self._began)
        if self._run is not None:
            tally = self._tally(self._run, key, text, number, self._began, own=False)
            tally.add(self._began, ended, rows)
            self._dirty = True
            if of_schema:
                self._look_after(tally, text)
        if of_schema and self._open is not None:
            self._see_the_end(text)

    def _see_the_end(self, text: str) -> None:
        """Whether a statement has ended the transaction, which SQLAlchemy does not know of."""
        ends = ENDS.search(text)
        if self.looks is None:  # SQLite's driver commits around what changes the schema
            over = ends is not None and ends.start() == 0 and not self.in_transaction
        else:
            over = not self.in_transaction or (ends is not None and ends["chain"] is not None)
        if over:
            self._over(committed=ends is None or ends["how"].upper() in {"COMMIT", "END"})

    def own(self, text: str, began: float, rows: int) -> None:
        """A statement was answered to a connection that the migration has opened itself."""
        self.opened()
        if self._run is not None:
            tally = self._tally(self._run, self._read(text)[0], text, None, began, own=True)
            tally.add(began, self._clock.now(), rows)

    def opened(self) -> None:
        """The migration has opened a connection of its own."""
        if self._run is not None:
            self._run.own = True

    def refused(self, text: str | None) -> None:
        """The database has refused a statement."""
        if self.activity is not None:
            self.activity.running = False
        if text is None:
            self._refused_commit()
        elif self._run is not None:
            self._count(self._began)
            self.failing = shortened(text)
            self._concurrently |= not self.in_transaction and _CONCURRENTLY in text.lower()

    def refused_own(self, text: str) -> None:
        """The database has refused a statement on a connection that the migration has opened itself."""
        if self._run is not None:
            self.failing = shortened(text)

    def _refused_commit(self) -> None:
        """A constraint that is looked at in the end: what belongs to the transaction has come to nothing."""
        if self._closing and self._committing and self._open is not None:
            self._committing, self.failing = False, "COMMIT"
            for run in self.runs:
                run.failed |= run.id in self._open.revisions

    def closing(self, *, committing: bool) -> None:
        """The transaction is to end; the next that happens here happens after that."""
        if self._run is not None and self._dirty and self._clock.now() - self._looked > _LOOKED_AT:
            self._look_at_rows()
        self._closing, self._committing = True, committing
        self._began_to_close = now = self._clock.now()
        if self.activity is not None:
            self.activity.since, self.activity.running = now, True

    def settle(self) -> None:
        """Something happens here: what was closing is closed."""
        if self._closing:
            self._closing = False
            self._over(committed=self._committing)
            self._committing = False

    def _over(self, *, committed: bool) -> None:
        if self.activity is not None and self.observer is not None:
            self.activity.running = False
            self.observer.release()
        ended = self._ended()
        if self._open is not None:
            span = Span(self._open.began, ended)
            revisions = tuple(self._open.revisions)
            if revisions:
                self.transactions.append(
                    Transaction(self._open.number, span, revisions, committed, self._open.statements)
                )
            self._open = None

    def _ended(self) -> float:
        """When the transaction has ended: as soon as its locks were seen to be gone, where that was before now."""
        now = self._clock.now()
        if self.observer is None or self._began_to_close is None:
            return now
        gone, began, self._began_to_close = self.observer.tracker.empty_since, self._began_to_close, None
        return gone if began <= gone <= now else now

    def _count(self, began: float) -> int | None:
        """Count a statement of the transaction that is open, or begins with it."""
        run = self._noted  # what Alembic notes down after a revision's own code is part of it
        if getattr(self.driver, "autocommit", False) is True:
            if run is not None:
                run.at_once = True
            return None
        if self._open is None:
            self._number += 1
            self._open = Open(self._number, began)
        if run is not None:
            self._open.statements += 1
            self._open.revisions[run.id] = None
            run.transactions[self._open.number] = None
        return self._open.number

    @staticmethod
    def _tally(run: Run, key: str, text: str, number: int | None, began: float, *, own: bool) -> Tally:
        tally = run.statements.get((key, own))
        if tally is None:
            tally = run.statements[key, own] = Tally(shortened(text), began, number, own)
        return tally

    def _look_after(self, tally: Tally, text: str) -> None:
        if self.observer is None or self.looks is None:
            return
        if BACK_TO.match(text):
            self.resume()  # what was seen to be done since the savepoint was seen; that it is undone is no change
            return
        in_transaction = self.in_transaction
        concurrently = not in_transaction and _CONCURRENTLY in text.lower()
        # A hundred statements, looked at one by one, would seem to hold their locks for that much longer.
        with self._clock.paused():
            self.observer.glance(settled=True)
            changes = self._look(concurrently=concurrently)
        tally.effects.update(dict.fromkeys(changes.effects))
        cast("Run", self._run).changes.add(changes)

    def _look_at_rows(self) -> None:
        if self.looks is None or self.observer is None or self._status == _IN_ERROR:
            return
        if self._dirty:
            with self._clock.paused():
                if self.in_transaction:  # which may be shorter than the time between two glances
                    self.observer.glance(settled=True)
                cast("Run", self._run).changes.add(self._look(concurrently=self._concurrently))

    def _look(self, *, concurrently: bool = False) -> Changes:
        looks, observer = cast("Looks", self.looks), cast("Observer", self.observer)
        self._dirty, self._concurrently, self._looked = False, False, self._clock.now()
        if not self.in_transaction and self.driver.autocommit is not True:
            # To ask would begin a transaction, in which the migration's next statement may not be able to run.
            return cast("Changes", observer.ask(lambda cursor: looks.look(cursor, concurrently=concurrently)))
        with self.driver.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
            return looks.look(cursor, concurrently=concurrently)

    def resume(self) -> None:
        """What others have done meanwhile, to measure, is none of the next revision's."""
        if self.looks is None or self.observer is None:
            return
        self._ask(self.looks.resume)
        if self._run is None:
            looks, revision = self.looks, self.runs[-1].id
            self._ask(lambda cursor: looks.take_over(cursor, revision))

    def _ask(self, look: Callable[[Any], None]) -> None:
        if self.in_transaction:
            with self.driver.cursor() as cursor:
                look(cursor)
        else:
            cast("Observer", self.observer).ask(look)
