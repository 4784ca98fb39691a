"""The pool that an engine has for the time of a test."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa
from sqlalchemy.pool.base import _ConnectionRecord

from flask_branches.isolation.connection import Virtual

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from flask_branches.isolation.shared import Shared


class VirtualPool(sa.NullPool):
    """Makes a virtual connection each time; whoever disposes of the engine disposes of nothing."""

    def __init__(self, engine: Engine, shared: Shared) -> None:
        # Of its listeners the engine's own are handed over; those of a class, such as Engine, are found there anyway.
        super().__init__(self._never, dialect=engine.dialect, _dispatch=engine.pool.dispatch)
        self._shared = shared
        self._out: set[ConnectionPoolEntry] = set()

    def recreate(self) -> VirtualPool:
        """Stay what it is."""
        return self

    def checkedout(self) -> int:
        """How many connections the application has in use."""
        return len(self._out)

    def checkedin(self) -> int:
        """How many are kept: none."""
        return 0

    def size(self) -> int:
        """How many it would keep."""
        return 0

    def overflow(self) -> int:
        """How many are more than that."""
        return self.checkedout()

    def status(self) -> str:
        """What there is to say."""
        return f"Pool of a test's one transaction. Current Checked out connections: {self.checkedout()}"

    def made(self) -> Virtual:
        """One more connection."""
        return Virtual(self._shared)

    @staticmethod
    def _never() -> DBAPIConnection:
        raise NotImplementedError  # a Pool wants a creator; `_Record` makes its connection itself, and calls none

    def _do_get(self) -> ConnectionPoolEntry:
        record = _Record(self, self._shared)
        self._out.add(record)
        return record

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self._out.discard(record)
        record.close()


class _Record(_ConnectionRecord):
    """A connection's place in the pool; the one behind them all has met the listeners of a new connection."""

    def __init__(self, pool: VirtualPool, shared: Shared) -> None:
        super().__init__(pool, connect=False)
        self._made = pool.made
        self._shared = shared

    def get_connection(self) -> DBAPIConnection:
        if self.dbapi_connection is None:
            self.dbapi_connection = cast("DBAPIConnection", self._made())  # it stands in for a driver's
            self.starttime, self.fresh = time.time(), True
            # What a listener of the event connect has noted there.
            self.info.update(self._shared.info)
        return self.dbapi_connection

    def close(self) -> None:
        connection, self.dbapi_connection = self.dbapi_connection, None
        if connection is not None:
            connection.close()
