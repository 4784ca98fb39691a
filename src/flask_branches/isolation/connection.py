"""What an application gets in place of its driver's connection: what would go round the others is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from flask_branches.isolation.cursor import VirtualCursor
from flask_branches.isolation.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_branches.isolation.shared import Shared

_SETTING = frozenset({"autocommit", "isolation_level", "read_only", "readonly", "deferrable"})

# What ends the transaction, or changes something where nobody has looked at it.
_REFUSED = frozenset({"backup", "blobopen", "deserialize", "lobject", "notifies", "pgconn", "reset"})


class Virtual:
    """What the application gets as its driver's connection."""

    _OWN = frozenset({"aborted", "has_begun", "_shared"})

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.aborted = False
        self.has_begun = False
        shared.opened()  # an error belongs to whoever connects

    def cursor(self, *arguments: Any, **named: Any) -> VirtualCursor:
        """The driver's cursor, watched."""
        real = self._shared.cursor(*arguments, **named)
        return Stream(real, self) if getattr(real, "name", None) else VirtualCursor(real, self)

    def commit(self) -> None:
        """Commit, as far as the rest of the test can tell."""
        self.has_begun = False
        self._shared.commit(self)

    def rollback(self) -> None:
        """Undo what this connection has not committed."""
        self.has_begun = False
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

    def run(self, statement: object, execute: Callable[[Any], Any]) -> Any:
        """Run a statement of one of its cursors."""
        return self._shared.run(self, statement, execute)

    def declare(self, stream: Stream, execute: Callable[[], Any]) -> None:
        """Run the statement of a server's cursor."""
        self._shared.declare(self, stream, execute)

    def close_stream(self, stream: Stream) -> None:
        """Close a server's cursor."""
        self._shared.close_stream(stream)

    def aborted_error(self) -> Exception:
        """What Postgres answers in a transaction that has failed."""
        return self._error(
            "InFailedSqlTransaction", "current transaction is aborted, commands ignored until end of transaction block"
        )

    def lost_error(self, name: str) -> Exception:
        """What Postgres answers for a cursor of a transaction that has ended; the next one has failed with that."""
        self.aborted = True
        return self._error("InvalidCursorName", f'cursor "{name}" does not exist')

    def _error(self, name: str, text: str) -> Exception:
        module = type(self._shared.opened()).__module__.partition(".")[0]
        errors: Any = __import__(f"{module}.errors", fromlist=[name])
        error: Exception = getattr(errors, name)(text)
        return error

    def _refuse(self, *_arguments: Any, **_named: Any) -> Any:
        raise self._shared.violation("The driver's own way to begin or end a transaction was used")

    executescript = transaction = pipeline = tpc_begin = tpc_prepare = tpc_commit = tpc_rollback = _refuse
    set_session = set_autocommit = set_isolation_level = set_read_only = set_deferrable = _refuse

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_exception: object) -> None:
        """As sqlite3 and psycopg2 do: commit, or roll back on an error."""
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def __getattr__(self, name: str) -> Any:
        if name in _REFUSED:
            raise self._shared.violation(f"The driver's own {name} was used")
        return self._shared.setting(name)

    def __setattr__(self, name: str, value: object) -> None:
        """Pass on what is the driver's, but for what would change how transactions run."""
        if name in self._OWN:
            object.__setattr__(self, name, value)
        elif name in _SETTING:
            if value != self._shared.setting(name):
                raise self._shared.violation(f"A connection's {name} was set to {value!r}")
        else:
            setattr(self._shared.opened(), name, value)
