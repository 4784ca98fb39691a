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
    from collections.abc import Callable, Iterator

    from sqlalchemy.pool import Pool, PoolProxiedConnection

REMEDY = 'Mark the test with @pytest.mark.branches(isolation="branch"), which gives it a branch of its own.'

_SAVEPOINT = "flask_branches"
_IN_ERROR = 3  # libpq's PQTRANS_INERROR
_IDLE = 0  # libpq's PQTRANS_IDLE
_ACTIVE_TRANSACTION = "25001"

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

    @property
    def real(self) -> Any:  # noqa: ANN401  the driver's connection
        """The driver's own connection, in a transaction."""
        with self.lock:
            if self._borrowed is None:
                self._begin()
            assert self._borrowed is not None  # noqa: S101  _begin has set it
            return self._borrowed.driver_connection

    def violation(self, what: str) -> IsolationError:
        """An error to raise; noted, since an application may catch whatever it is."""
        error = IsolationError(f"{what}: a test that is rolled back cannot have that. {REMEDY}")
        self.violations.append(error)
        return error

    def run(self, virtual: Virtual, statement: object, execute: Callable[[], Any]) -> Any:  # noqa: ANN401
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
                self._fire_deferred(virtual)
                self._execute(f"RELEASE SAVEPOINT {_SAVEPOINT}", f"SAVEPOINT {_SAVEPOINT}")
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
                "A connection has changes that are not committed, and another one is used, which would see them (commit "
                "first, if that is what was meant)"
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

    def _fire_deferred(self, virtual: Virtual) -> None:
        """What a real commit looks at, before anything is called committed."""
        if self._is_sqlite:
            self._check_deferred_keys()
            return
        if self._deferred is None:
            cursor = self.real.cursor()
            cursor.execute(_INITIALLY_DEFERRED)
            self._deferred = str(cursor.fetchone()[0])
            cursor.close()
        try:
            self._execute("SET CONSTRAINTS ALL IMMEDIATE")
            if self._deferred:
                self._execute(f"SET CONSTRAINTS {self._deferred} DEFERRED")
        except Exception:
            self.rollback(virtual)
            raise

    def _check_deferred_keys(self) -> None:
        real = self.real
        if self._deferred is None:
            self._deferred = "yes" if real.execute(_DEFERRED_IN_SQLITE).fetchone()[0] else ""
        if self._deferred and real.execute("PRAGMA foreign_keys").fetchone()[0]:
            for _ in real.execute("PRAGMA foreign_key_check"):
                raise sqlite3.IntegrityError("FOREIGN KEY constraint failed")


class Virtual:
    """What the application gets as its driver's connection."""

    _OWN = frozenset({"aborted", "_shared"})

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.aborted = False
        shared.real  # noqa: B018  opened now: an error belongs to whoever connects

    def cursor(self, *arguments: Any, **named: Any) -> VirtualCursor:
        """The driver's cursor, watched."""
        return VirtualCursor(self._shared.real.cursor(*arguments, **named), self)

    def commit(self) -> None:
        """Commit, as far as the rest of the test can tell."""
        self._shared.commit(self)

    def rollback(self) -> None:
        """Undo what this connection has not committed."""
        self._shared.rollback(self)

    def close(self) -> None:
        """Roll back; the database's connection stays."""
        self._shared.rollback(self)

    def execute(self, *arguments: Any, **named: Any) -> VirtualCursor:
        """The short cut that sqlite3 and psycopg have."""
        return self.cursor().execute(*arguments, **named)

    def executemany(self, *arguments: Any, **named: Any) -> VirtualCursor:
        """The short cut that sqlite3 has."""
        return self.cursor().executemany(*arguments, **named)

    def run(self, statement: object, execute: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Run a statement of one of its cursors."""
        return self._shared.run(self, statement, execute)

    def aborted_error(self) -> Exception:
        """What Postgres answers in a transaction that has failed."""
        module = type(self._shared.real).__module__.partition(".")[0]
        errors: Any = __import__(f"{module}.errors", fromlist=["InFailedSqlTransaction"])
        error: Exception = errors.InFailedSqlTransaction(
            "current transaction is aborted, commands ignored until end of transaction block"
        )
        return error

    def _refuse(self, *_arguments: Any, **_named: Any) -> Any:
        raise self._shared.violation("The driver's own way to begin or end a transaction was used")

    executescript = transaction = pipeline = tpc_begin = tpc_prepare = tpc_commit = tpc_rollback = set_session = _refuse

    def __enter__(self) -> Virtual:
        return self

    def __exit__(self, kind: object, *_exception: object) -> None:
        """As sqlite3 and psycopg2 do: commit, or roll back on an error."""
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the driver's
        return getattr(self._shared.real, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Pass on what is the driver's, but for what would change how transactions run."""
        if name in self._OWN:
            object.__setattr__(self, name, value)
        elif name in {"autocommit", "isolation_level", "read_only", "deferrable"}:
            if value != getattr(self._shared.real, name):
                raise self._shared.violation(f"A connection's {name} was set to {value!r}")
        else:
            setattr(self._shared.real, name, value)


class VirtualCursor:
    """The driver's cursor, whose statements are looked at before they run."""

    __slots__ = ("_real", "_virtual")

    def __init__(self, real: Any, virtual: Virtual) -> None:  # noqa: ANN401  the driver's
        object.__setattr__(self, "_real", real)
        object.__setattr__(self, "_virtual", virtual)

    def execute(self, statement: object, *arguments: Any, **named: Any) -> VirtualCursor:
        """Run a statement."""
        self._virtual.run(statement, lambda: self._real.execute(statement, *arguments, **named))
        return self

    def executemany(self, statement: object, *arguments: Any, **named: Any) -> VirtualCursor:
        """Run a statement many times."""
        self._virtual.run(statement, lambda: self._real.executemany(statement, *arguments, **named))
        return self

    def copy(self, statement: object, *arguments: Any, **named: Any) -> Any:
        """Copy rows, as psycopg does."""
        return self._virtual.run(statement, lambda: self._real.copy(statement, *arguments, **named))

    def stream(self, statement: object, *arguments: Any, **named: Any) -> Any:
        """Stream rows, as psycopg does."""
        return self._virtual.run(statement, lambda: self._real.stream(statement, *arguments, **named))

    def copy_expert(self, statement: object, *arguments: Any, **named: Any) -> Any:
        """Copy rows, as psycopg2 does."""
        return self._virtual.run(statement, lambda: self._real.copy_expert(statement, *arguments, **named))

    def copy_from(self, *arguments: Any, **named: Any) -> Any:
        """Store rows, as psycopg2 does."""
        return self._virtual.run("COPY FROM", lambda: self._real.copy_from(*arguments, **named))

    def callproc(self, *arguments: Any, **named: Any) -> Any:
        """Call a function, which may change anything."""
        return self._virtual.run("CALL", lambda: self._real.callproc(*arguments, **named))

    def executescript(self, *_arguments: Any) -> Any:
        """Refuse sqlite3's script, which commits before it begins."""
        return self._virtual.executescript()

    @property
    def connection(self) -> Virtual:
        """Where it is from."""
        return self._virtual

    def __iter__(self) -> Iterator[Any]:
        return iter(self._real)

    def __enter__(self) -> VirtualCursor:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._real.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the driver's
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Pass on what is the driver's."""
        setattr(self._real, name, value)


def _text(statement: object, virtual: Virtual) -> str:
    """The text of a statement that is no text: bytes, or one of psycopg's composed ones."""
    if isinstance(statement, bytes):
        return statement.decode(errors="replace")
    as_string = getattr(statement, "as_string", None)
    return str(as_string(virtual._shared.real)) if as_string is not None else str(statement)  # noqa: SLF001


def _shown(statement: object) -> str:
    words = str(statement).split()
    return " ".join(words[:3]) if words else "The statement"
