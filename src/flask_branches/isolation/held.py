"""The database's one connection, held in a transaction that is never committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_branches import ours
from flask_branches.isolation import levels

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import PoolProxiedConnection

SAVEPOINT = "flask_branches"

_IN_ERROR = 3  # libpq's PQTRANS_INERROR
_IDLE = 0  # libpq's PQTRANS_IDLE


class Held:
    """A connection of an engine's own pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = engine.pool  # the engine has another one for the time of the test
        self._borrowed: PoolProxiedConnection | None = None
        self._level: Any = None
        self.is_sqlite = engine.dialect.name == "sqlite"

    @property
    def is_open(self) -> bool:
        """Whether it has begun."""
        return self._borrowed is not None

    @property
    def driver(self) -> Any:
        """The driver's own connection."""
        assert self._borrowed is not None  # noqa: S101  for mypy: `Shared.opened` begins it first
        return self._borrowed.driver_connection

    @property
    def info(self) -> dict[Any, Any]:
        """What listeners have noted about it."""
        return self._borrowed.info if self._borrowed is not None else {}

    @property
    def error(self) -> type[Exception]:
        """What whatever the driver refuses is one of."""
        error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        return error

    @property
    def way(self) -> str:
        """How it connects."""
        url = self._engine.url
        return f"{url.username or 'nobody named'} over {url.drivername}"

    def begin(self, first: list[str]) -> str | None:
        """Begin the transaction, or say why many connections cannot share it.

        Args:
            first: statements that the savepoint stands behind.
        """
        with ours.connecting():
            borrowed = self._borrowed = self._pool.connect()
        try:
            trouble = levels.trouble(self._engine, self.driver, borrowed.info, self.answer)
            if trouble is None:
                self._begin()
                self.execute(*first, f"SAVEPOINT {SAVEPOINT}")
                return None
        except BaseException:
            self.end()
            raise
        self.end()
        return trouble

    def apart(self, first: list[str], execute: Callable[[], Any]) -> Any:
        """Run a statement before SQLite's transaction, which has changed nothing so far."""
        self._end(self.driver)
        try:
            return execute()
        finally:
            self._begin()
            self.execute(*first, f"SAVEPOINT {SAVEPOINT}")

    def can_be_apart(self) -> bool:
        """Whether SQLite's driver would begin no transaction for a PRAGMA."""
        return self.is_sqlite and getattr(self.driver, "autocommit", None) is not False

    def never_begins(self, text: str) -> bool:
        """Whether SQLite's driver has been told to begin no transaction, for whatever is part of one."""
        return self.is_sqlite and self._level is None and text.lstrip()[:6].upper() != "PRAGMA"

    def setting(self, name: str) -> object:
        """What the application has set, or left as it was, on its connections."""
        return self._level if self.is_sqlite and name == "isolation_level" else getattr(self.driver, name)

    def execute(self, *statements: str) -> None:
        """Run statements, on Postgres as one message."""
        if self.is_sqlite:
            for statement in statements:
                self.driver.execute(statement)
            return
        cursor = self.driver.cursor()
        try:
            cursor.execute("; ".join(statements))
        finally:
            cursor.close()

    def answer(self, query: str) -> Any:
        """What a query answers first; None for no row."""
        cursor = self.driver.cursor()
        try:
            cursor.execute(query)
            row = cursor.fetchone()
            return None if row is None else row[0]
        finally:
            cursor.close()

    def has_ended(self) -> bool:
        """Whether there is no transaction any more."""
        return not self.driver.in_transaction if self.is_sqlite else self._status() == _IDLE

    def is_in_error(self) -> bool:
        """Whether a statement has failed, and with it all of them, as Postgres has it."""
        return not self.is_sqlite and self._status() == _IN_ERROR

    def reads_backslashes(self) -> bool:
        """Whether a backslash escapes a quote in any text, as Postgres had it long ago."""
        return not self.is_sqlite and self.driver.info.parameter_status("standard_conforming_strings") == "off"

    def end(self) -> None:
        """Roll back, and give it back to the pool that it is from."""
        borrowed, self._borrowed = self._borrowed, None
        if borrowed is None:
            return
        try:
            if self.is_sqlite:
                self._end(borrowed.driver_connection)
        finally:
            borrowed.close()  # which rolls back

    def _begin(self) -> None:
        if not self.is_sqlite:
            return  # the driver does; what a listener has set for a new connection stands in the same transaction
        # The driver begins late, and not at all for a savepoint; where its autocommit is False it has begun.
        self._level, self.driver.isolation_level = self.driver.isolation_level, None
        if not self.driver.in_transaction:
            self.driver.execute("BEGIN")

    def _end(self, real: Any) -> None:
        if getattr(real, "autocommit", None) is False:
            real.rollback()
        elif real.in_transaction:
            real.execute("ROLLBACK")
        real.isolation_level = self._level

    def _status(self) -> int:
        return int(self.driver.info.transaction_status)
