"""Deferred constraints, which a commit looks at before anything is called committed."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Asked first, since most databases have none, and every test's transaction has to ask anew.
_SOME_DEFERRED = "SELECT EXISTS (SELECT FROM pg_constraint WHERE condeferred)"
_INITIALLY_DEFERRED = """
    SELECT coalesce(string_agg(format('%I.%I', n.nspname, c.conname), ', '), '')
    FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.condeferred
"""
_DEFERRED_IN_SQLITE = "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%DEFERRABLE INITIALLY DEFERRED%'"


class Constraints:
    """What is initially deferred, until a statement changes the schema."""

    def __init__(self, ask: Callable[[str], Any]) -> None:
        self._ask = ask
        self._deferred: str | None = None
        self._before: frozenset[Any] = frozenset()

    def forget(self) -> None:
        """Ask anew: the schema has changed."""
        self._deferred = None

    def postgres(self) -> tuple[str, ...]:
        """Statements that look at them now, and defer them again."""
        if self._deferred is None:
            self._deferred = self._ask(_INITIALLY_DEFERRED) if self._ask(_SOME_DEFERRED) else ""
        again = [f"SET CONSTRAINTS {self._deferred} DEFERRED"] if self._deferred else []
        return ("SET CONSTRAINTS ALL IMMEDIATE", *again)

    def begin_sqlite(self, driver: sqlite3.Connection) -> None:
        """Take note of what is violated before anything is changed, which no commit complains of."""
        self._before = self._violated(driver)

    def check_sqlite(self, driver: sqlite3.Connection) -> None:
        """Look at them.

        Raises:
            sqlite3.IntegrityError: as a commit does.
        """
        if self._violated(driver) - self._before:
            raise sqlite3.IntegrityError("FOREIGN KEY constraint failed")

    def _violated(self, driver: sqlite3.Connection) -> frozenset[Any]:
        if self._deferred is None:
            self._deferred = "yes" if self._ask(_DEFERRED_IN_SQLITE) else ""
        if not self._deferred or not self._ask("PRAGMA foreign_keys"):
            return frozenset()
        return frozenset(tuple(row) for row in driver.execute("PRAGMA foreign_key_check"))
