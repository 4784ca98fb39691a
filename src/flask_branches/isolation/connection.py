"""What an application gets in place of its driver's connection and cursor: every statement is looked at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask_branches.isolation.shared import Shared


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

    def run(self, statement: object, execute: Callable[[], Any]) -> Any:
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

    executescript = transaction = pipeline = tpc_begin = tpc_prepare = tpc_commit = tpc_rollback = _refuse
    set_session = set_isolation_level = _refuse

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_exception: object) -> None:
        """As sqlite3 and psycopg2 do: commit, or roll back on an error."""
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def __getattr__(self, name: str) -> Any:
        return self._shared.setting(name)

    def __setattr__(self, name: str, value: object) -> None:
        """Pass on what is the driver's, but for what would change how transactions run."""
        if name in self._OWN:
            object.__setattr__(self, name, value)
        elif name in {"autocommit", "isolation_level", "read_only", "deferrable"}:
            if value != self._shared.setting(name):
                raise self._shared.violation(f"A connection's {name} was set to {value!r}")
        else:
            setattr(self._shared.real, name, value)


class VirtualCursor:
    """The driver's cursor, whose statements are looked at before they run."""

    __slots__ = ("_real", "_virtual")

    def __init__(self, real: Any, virtual: Virtual) -> None:
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
        virtual: Virtual = self._virtual
        return virtual

    def __iter__(self) -> Iterator[Any]:
        return iter(self._real)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Pass on what is the driver's."""
        setattr(self._real, name, value)
