"""A lock that a reader or a writer takes, really waited for on a table that was seen blocked."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from flask_branches.rehearsal.clock import Clock

    What = Literal["reads", "writes"]

_MODES: dict[What, str] = {"reads": "ACCESS SHARE", "writes": "ROW EXCLUSIVE"}
_NO_TABLE = "42P01"
_PATIENCE = 10
"""How many seconds the last probe may take to end, after the migrations have ended."""


@dataclass(frozen=True)
class Waited:
    """What a probe has met."""

    table: int
    what: What
    began: float
    ended: float


class Prober:
    """Waits for one lock at a time, in a session that holds no other: so it is part of no deadlock.

    Args:
        connection: in autocommit, to the database that is migrated.
        clock: the migrations' own.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        # By the driver's own cursor: SQLAlchemy would tell the watch of it.
        self._cursor: Any = connection.connection.cursor()
        self._clock = clock
        self._wanted: queue.Queue[tuple[int, str, What] | None] = queue.Queue()
        self._met: set[tuple[int, What]] = set()
        self._busy = False
        self.waited: list[Waited] = []
        self._thread = threading.Thread(target=self._work, name="rehearsal-probe", daemon=True)
        self._thread.start()

    def offer(self, table: int, name: str, what: What) -> None:
        """Probe a table, unless that was done, or another one is being probed.

        Args:
            table: its number.
            name: quoted, as the server gives it.
            what: whose lock is waited for.
        """
        if not self._busy and (table, what) not in self._met:
            self._busy = True
            self._met.add((table, what))
            self._wanted.put((table, name, what))

    def stop(self) -> None:
        """Let the last probe end."""
        self._wanted.put(None)
        self._thread.join(_PATIENCE)

    def _work(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            table, name, what = wanted
            began = self._clock.now()
            if self._wait(f"BEGIN; LOCK TABLE ONLY {name} IN {_MODES[what]} MODE; ROLLBACK"):
                self.waited.append(Waited(table, what, began, self._clock.now()))
            self._busy = False

    def _wait(self, statement: str) -> bool:
        """Whether the lock was waited for: also where its table was renamed or dropped meanwhile."""
        try:
            self._cursor.execute(statement)
        except errors_of(self._cursor) as error:
            with suppress(*errors_of(self._cursor)):  # the branch is gone
                self._cursor.execute("ROLLBACK")
            return (getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)) == _NO_TABLE
        return True


def errors_of(cursor: Any) -> tuple[type[Exception]]:  # noqa: ANN401  the DB-API has no types
    """What a cursor's driver raises: nobody has wrapped that."""
    return (import_module(type(cursor).__module__.partition(".")[0]).Error,)
