"""Many connections of an application on one of the database's, inside one transaction that is rolled back in the end.

The one transaction always has a savepoint at what the application has committed so far. What stands after it is read by
whoever reads, and was written by at most one connection: its commit moves the savepoint, its rollback returns to it. So
nobody sees what another has not committed, and nobody undoes what another has.
"""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flask_branches.errors import IsolationError
from flask_branches.isolation import settings
from flask_branches.isolation.constraints import Constraints
from flask_branches.isolation.held import SAVEPOINT, Held
from flask_branches.isolation.statements import Effect, Meaning, meaning

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

    from flask_branches.isolation.connection import Virtual
    from flask_branches.isolation.streams import Stream

REMEDY = 'Mark the test with @pytest.mark.branches(isolation="branch"), which gives it a branch of its own.'

_MOVED = (f"RELEASE SAVEPOINT {SAVEPOINT}", f"SAVEPOINT {SAVEPOINT}")
_ACTIVE_TRANSACTION = "25001"
_NOT_IN_A_TRANSACTION = re.compile(r"\b(within|inside) a transaction")  # as SQLite says it


class Shared:
    """The database's one connection, opened when the first of the application's needs it."""

    def __init__(self, engine: Engine, first: list[str], others: list[Shared]) -> None:
        """Take note.

        Args:
            engine: whose pool the connection is borrowed from.
            first: statements that every connection is to see the effect of.
            others: those of the same database with another user, driver or option, of which one can be in use.
        """
        self.lock = threading.RLock()
        self.violations: list[IsolationError] = []
        self._held = Held(engine)
        self._database = engine.url.database
        self._first = first
        self._others = others
        self._constraints = Constraints(self._held.answer)
        self._writer: Virtual | None = None
        self._failed: Virtual | None = None
        self._latest: Virtual | None = None
        self._streams: dict[Stream, Virtual] = {}
        self._gone: list[Stream] = []
        self._is_unchanged = True
        self._lost: IsolationError | None = None
        self._ended = False

    @property
    def is_open(self) -> bool:
        """Whether it has been opened, and not yet given back."""
        return self._held.is_open

    @property
    def way(self) -> str:
        """How it connects."""
        return self._held.way

    def opened(self) -> Any:
        """The driver's own connection, in a transaction; opened now where it was not."""
        with self.lock:
            if self._ended:
                raise self.violation("A connection was used after its test")
            if self._lost is not None:
                raise self._lost
            if not self._held.is_open:
                self._begin()
            return self._held.driver

    @property
    def info(self) -> dict[Any, Any]:
        """What listeners have noted about the database's connection."""
        return self._held.info

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        """The driver's; one that has nothing to run in says so with its statement, as the driver's errors come."""
        with self.lock:
            if self._lost is None or self._ended:
                self.opened()
            return self._held.driver.cursor(*arguments, **named)

    def setting(self, name: str) -> object:
        """What the application has set, or left as it was, on its connections."""
        self.opened()
        return self._held.setting(name)

    def violation(self, what: str) -> IsolationError:
        """An error to raise; noted, since an application may catch whatever it is."""
        error = IsolationError(f"{what}. Rolling back cannot isolate that. {REMEDY}")
        self.violations.append(error)
        return error

    def run(self, virtual: Virtual, statement: object, execute: Callable[[Any], Any]) -> Any:
        """Run one connection's statement, where that changes nothing for the others."""
        with self.lock:
            self.opened()  # it may have ended since the cursor was made
            self._look_at_the_transaction("Something has ended the test's transaction")
            text = statement if isinstance(statement, str) else self._text(statement)
            same = settings.already_so(text, self._held.answer) if self._held.is_sqlite else None
            if same is None and self._is_unchanged and settings.comes_before(text) and self._held.can_be_apart():
                return self._held.apart(self._first, lambda: execute(statement))
            meant = self._meaning(same or text)
            if meant.effect is Effect.FORBIDDEN or (meant.effect is Effect.BEGIN and not self._held.is_sqlite):
                raise self.violation(f"{_shown(statement)} {meant.why}")
            if meant.effect is Effect.BEGIN:
                virtual.has_begun = True
                return None  # an application that begins SQLite's transactions itself
            if meant.effect > Effect.READ and not virtual.has_begun and self._held.never_begins(text):
                raise self.violation(f"{_shown(statement)} is committed at once, since isolation_level is None")
            self._admit(virtual)
            if meant.effect is Effect.SCHEMA:
                self._constraints.forget()
            return self._run(virtual, text, meant.effect, lambda: execute(same or statement))

    def declare(self, virtual: Virtual, stream: Stream, execute: Callable[[], Any]) -> None:
        """Open a server's cursor; where nobody has changes, before the savepoint that others return to."""
        with self.lock:
            self._streams[stream] = virtual  # also one that fails is the driver's to close
            execute()
            if self._writer is None:
                self._held.execute(*_MOVED)

    def close_stream(self, stream: Stream) -> None:
        """Close a server's cursor, if it is still there: a driver that does not ask would break the transaction."""
        with self.lock:
            if stream.lost:
                return
            stream.lose()
            is_declared = self._streams.pop(stream, None) is not None and self._lost is None
            if is_declared and (self._held.is_in_error() or self._held.answer(stream.question)):
                stream.real.close()
            else:
                self._gone.append(stream)

    def commit(self, virtual: Virtual) -> None:
        """Make what a connection has written the state that the next ones return to."""
        with self.lock:
            if self._lost is not None:
                raise self._lost
            self._notice_failure()
            if virtual.aborted or self._failed is virtual:
                self.rollback(virtual)  # as Postgres does where a statement of the transaction has failed
            elif self._writer is virtual:
                self._keep(virtual)
                self._writer = None
            self._close_streams(virtual)

    def rollback(self, virtual: Virtual) -> None:
        """Return to what was committed; a connection that has only read has nothing to undo."""
        with self.lock:
            virtual.aborted = False
            if self._lost is not None:
                return
            self._notice_failure()
            if virtual in (self._writer, self._failed):
                self._return()
            self._close_streams(virtual)

    def end(self) -> None:
        """Roll everything back, and give the connection back to the pool that it is from."""
        with self.lock:
            self._ended = True
            self._writer = self._failed = self._latest = None
            try:
                self._close_drivers_streams()
            finally:
                self._held.end()

    def _text(self, statement: object) -> str:
        """The text of a statement that is no text: bytes, or one of psycopg's composed ones."""
        if isinstance(statement, bytes):
            return statement.decode(errors="replace")
        as_string = getattr(statement, "as_string", None)
        return str(as_string(self.opened())) if as_string is not None else str(statement)

    def _begin(self) -> None:
        for other in self._others:
            if other.is_open:
                mine, its = self.way, other.way
                ways = f"as {its}, and as {mine}" if mine != its else f"as {its} with other options"
                raise self.violation(
                    f"The database {self._database!r} is in use {ways}: neither would see what the other commits"
                )
        trouble = self._held.begin(self._first)
        if trouble is not None:
            raise self.violation(trouble)
        if self._held.is_sqlite:
            self._constraints.begin_sqlite(self._held.driver)

    def _meaning(self, text: str) -> Meaning:
        meant = meaning(text, functions_write=not self._held.is_sqlite)
        if meant.effect is Effect.READ and "\\" in text and self._held.reads_backslashes():
            return Meaning(Effect.WRITE)
        return meant

    def _admit(self, virtual: Virtual) -> None:
        """Let a connection go on if no other's changes would show."""
        if self._failed is not None and self._failed is not virtual:
            # The other's transaction is lost whatever comes; it learns of it with its next statement.
            self._failed.aborted = True
            self._return()
        if self._writer is not None and self._writer is not virtual:
            raise self.violation(
                "A connection is used while another one has changes that are not committed, which it would see: "
                "commit them first, if that is what was meant"
            )
        if virtual.aborted:
            raise virtual.aborted_error()

    def _run(self, virtual: Virtual, text: str, effect: Effect, execute: Callable[[], Any]) -> Any:
        self._latest = virtual
        # A setting that is there already, as a listener sets it for each connection, is no change.
        is_first = effect is Effect.WRITE and (self._writer, self._failed) == (None, None)
        question = settings.question_of(text) if is_first and not self._held.is_sqlite else None
        before = self._held.answer(question) if question else None
        if effect > Effect.READ:
            self._writer, self._is_unchanged = virtual, False
        result = self._watched(virtual, text, execute)
        if question and self._held.answer(question) == before:
            self._writer = None
        return result

    def _watched(self, virtual: Virtual, text: str, execute: Callable[[], Any]) -> Any:
        try:
            result = execute()
        except Exception as error:  # each driver has its own kinds; all of them are raised again
            state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
            self._look_at_the_transaction(f"{_shown(text)} has rolled back the test's whole transaction")
            if state == _ACTIVE_TRANSACTION or (self._held.is_sqlite and _NOT_IN_A_TRANSACTION.search(str(error))):
                raise self.violation(f"{_shown(text)} cannot run in a transaction") from error
            raise
        if self._failed is virtual and not self._held.is_in_error():
            self._failed = None  # it has returned to a savepoint of its own
        self._look_at_the_transaction(f"{_shown(text)} has ended the test's transaction, and what it had changed stays")
        return result

    def _look_at_the_transaction(self, what: str) -> None:
        if self._held.has_ended():
            # Whatever ran from here on would be stored for good.
            self._lost = self.violation(f"{what}; nothing more is run in it")
            raise self._lost
        self._notice_failure()

    def _notice_failure(self) -> None:
        """Take note of what has failed where nobody looked, as a copy does while rows are handed to it."""
        if self._failed is None and self._held.is_open and self._held.is_in_error():
            self._failed = self._latest

    def _return(self) -> None:
        self._held.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
        self._writer = self._failed = None

    def _keep(self, virtual: Virtual) -> None:
        """Move the savepoint, after what a real commit looks at before anything is called committed."""
        if self._held.is_sqlite:
            self._constraints.check_sqlite(self._held.driver)
            self._held.execute(*_MOVED)
            return
        looked = self._constraints.postgres()
        try:
            # One message: where a constraint fails, the savepoint is where it was.
            self._held.execute(*looked, *_MOVED)
        except Exception:  # whatever it is, nothing may be kept of what failed; it is raised again
            self.rollback(virtual)
            raise

    def _close_streams(self, virtual: Virtual) -> None:
        for stream, whose in list(self._streams.items()):
            if whose is virtual and not stream.outlives:
                self.close_stream(stream)

    def _close_drivers_streams(self) -> None:
        streams, self._streams, self._gone = [*self._streams, *self._gone], {}, []
        if streams and self._held.is_open:
            self._held.driver.rollback()  # after which a driver only takes note
            for stream in streams:
                stream.lose()
                with suppress(self._held.error):  # psycopg2 does not close what it knows to be gone
                    stream.real.close()


def _shown(statement: object) -> str:
    words = str(statement).split()
    return " ".join(words[:3]) if words else "The statement"
