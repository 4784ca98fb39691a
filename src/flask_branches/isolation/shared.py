"""Many connections of an application on one of the database's, inside one transaction that is rolled back in the end.

The one transaction always has a savepoint at what the application has committed so far. What stands after it is read by
whoever reads, and was written by at most one connection: its commit moves the savepoint, its rollback returns to it. So
nobody sees what another has not committed, and nobody undoes what another has.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from flask_branches.errors import IsolationError
from flask_branches.isolation.statements import Effect, meaning

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.pool import Pool, PoolProxiedConnection

    from flask_branches.isolation.connection import Virtual

REMEDY = 'Mark the test with @pytest.mark.branches(isolation="branch"), which gives it a branch of its own.'

_SAVEPOINT = "flask_branches"
_IN_ERROR = 3  # libpq's PQTRANS_INERROR
_IDLE = 0  # libpq's PQTRANS_IDLE
_ACTIVE_TRANSACTION = "25001"

# Asked first, since most databases have none, and every test's transaction has to ask anew.
_SOME_DEFERRED = "SELECT EXISTS (SELECT FROM pg_constraint WHERE condeferred)"
_INITIALLY_DEFERRED = """
    SELECT coalesce(string_agg(format('%I.%I', n.nspname, c.conname), ', '), '')
    FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.condeferred
"""
_DEFERRED_IN_SQLITE = "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%DEFERRABLE INITIALLY DEFERRED%'"


class Shared:
    """The database's one connection, opened when the first of the application's needs it."""

    def __init__(self, pool: Pool, kind: str, first: list[str]) -> None:
        """Take note.

        Args:
            pool: the engine's own, which the connection is borrowed from.
            kind: ``"sqlite"`` or ``"postgresql"``.
            first: statements that every connection is to see the effect of.
        """
        self.lock = threading.RLock()
        self.violations: list[IsolationError] = []
        self._pool = pool
        self._is_sqlite = kind == "sqlite"
        self._first = first
        self._borrowed: PoolProxiedConnection | None = None
        self._level: Any = None
        self._writer: Virtual | None = None
        self._failed: Virtual | None = None
        self._deferred: str | None = None
        self._ended = False

    @property
    def real(self) -> Any:
        """The driver's own connection, in a transaction."""
        with self.lock:
            if self._ended:
                raise self.violation("A connection was used after its test")
            if self._borrowed is None:
                self._begin()
            assert self._borrowed is not None  # noqa: S101  _begin has set it
            return self._borrowed.driver_connection

    def setting(self, name: str) -> object:
        """What the application has set, or left as it was, on its connections."""
        return self._level if self._is_sqlite and name == "isolation_level" else getattr(self.real, name)

    def violation(self, what: str) -> IsolationError:
        """An error to raise; noted, since an application may catch whatever it is."""
        error = IsolationError(f"{what}. Rolling back cannot isolate that. {REMEDY}")
        self.violations.append(error)
        return error

    def run(self, virtual: Virtual, statement: object, execute: Callable[[], Any]) -> Any:
        """Run one connection's statement, where that changes nothing for the others."""
        with self.lock:
            meant = meaning(statement if isinstance(statement, str) else _text(statement, virtual))
            if meant.effect is Effect.FORBIDDEN or (meant.effect is Effect.BEGIN and not self._is_sqlite):
                raise self.violation(f"{_shown(statement)} {meant.why}")
            if meant.effect is Effect.BEGIN:
                return None  # an application that begins SQLite's transactions itself
            self._admit(virtual)
            if meant.effect > Effect.READ:
                self._writer = virtual
            if meant.effect is Effect.SCHEMA:
                self._deferred = None
            try:
                return execute()
            except Exception as error:
                self._note(virtual, error, statement)
                raise
            finally:
                self._look_at_the_transaction(virtual, statement)

    def commit(self, virtual: Virtual) -> None:
        """Make what a connection has written the state that the next ones return to."""
        with self.lock:
            if virtual.aborted or self._failed is virtual:
                self.rollback(virtual)  # as Postgres does where a statement of the transaction has failed
            elif self._writer is virtual:
                self._keep(virtual)
                self._writer = None

    def rollback(self, virtual: Virtual) -> None:
        """Return to what was committed; a connection that has only read has nothing to undo."""
        with self.lock:
            virtual.aborted = False
            if virtual in (self._writer, self._failed):
                self._return()

    def end(self) -> None:
        """Roll everything back, and give the connection back to the pool that it is from."""
        with self.lock:
            borrowed, self._borrowed = self._borrowed, None
            self._writer = self._failed = None
            self._ended = True
            if borrowed is None:
                return
            real: Any = borrowed.driver_connection
            if self._is_sqlite:
                if real.in_transaction:
                    real.execute("ROLLBACK")
                real.isolation_level = self._level
            borrowed.close()  # which rolls back

    def _begin(self) -> None:
        borrowed = self._borrowed = self._pool.connect()
        real: Any = borrowed.driver_connection
        if self._is_sqlite:
            # The driver begins late, and not at all for a savepoint.
            self._level, real.isolation_level = real.isolation_level, None
            self._execute("BEGIN")
        else:
            real.rollback()
        self._execute(*self._first, f"SAVEPOINT {_SAVEPOINT}")

    def _execute(self, *statements: str) -> None:
        real = self.real
        if self._is_sqlite:
            for statement in statements:
                real.execute(statement)
            return
        cursor = real.cursor()
        try:
            cursor.execute("; ".join(statements))
        finally:
            cursor.close()

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

    def _return(self) -> None:
        self._execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        self._writer = self._failed = None

    def _note(self, virtual: Virtual, error: Exception, statement: object) -> None:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if state == _ACTIVE_TRANSACTION or "within a transaction" in str(error):
            if not self._is_sqlite:
                self._failed = virtual
            raise self.violation(f"{_shown(statement)} cannot run in a transaction") from error

    def _look_at_the_transaction(self, virtual: Virtual, statement: object) -> None:
        real = self.real
        if self._is_sqlite:
            ended = not real.in_transaction
        else:
            status = int(real.info.transaction_status)
            ended = status == _IDLE
            if status == _IN_ERROR:
                self._failed = virtual
            elif self._failed is virtual:
                self._failed = None  # it has returned to a savepoint of its own
        if ended:
            raise self.violation(f"{_shown(statement)} has ended the test's transaction, and its changes stay")

    def _keep(self, virtual: Virtual) -> None:
        """Move the savepoint, after what a real commit looks at before anything is called committed."""
        moved = (f"RELEASE SAVEPOINT {_SAVEPOINT}", f"SAVEPOINT {_SAVEPOINT}")
        if self._is_sqlite:
            self._check_deferred_keys()
            self._execute(*moved)
            return
        names = self._initially_deferred()
        again = [f"SET CONSTRAINTS {names} DEFERRED"] if names else []
        try:
            # One message: where a constraint fails, the savepoint is where it was.
            self._execute("SET CONSTRAINTS ALL IMMEDIATE", *again, *moved)
        except Exception:
            self.rollback(virtual)
            raise

    def _initially_deferred(self) -> str:
        if self._deferred is None:
            self._deferred = self._answer(_INITIALLY_DEFERRED) if self._answer(_SOME_DEFERRED) else ""
        return self._deferred

    def _answer(self, query: str) -> Any:
        cursor = self.real.cursor()
        try:
            cursor.execute(query)
            return cursor.fetchone()[0]
        finally:
            cursor.close()

    def _check_deferred_keys(self) -> None:
        real = self.real
        if self._deferred is None:
            self._deferred = "yes" if real.execute(_DEFERRED_IN_SQLITE).fetchone()[0] else ""
        if self._deferred and real.execute("PRAGMA foreign_keys").fetchone()[0]:
            for _ in real.execute("PRAGMA foreign_key_check"):
                raise sqlite3.IntegrityError("FOREIGN KEY constraint failed")


def _text(statement: object, virtual: Virtual) -> str:
    """The text of a statement that is no text: bytes, or one of psycopg's composed ones."""
    if isinstance(statement, bytes):
        return statement.decode(errors="replace")
    as_string = getattr(statement, "as_string", None)
    return str(as_string(virtual._shared.real)) if as_string is not None else str(statement)  # noqa: SLF001


def _shown(statement: object) -> str:
    words = str(statement).split()
    return " ".join(words[:3]) if words else "The statement"
