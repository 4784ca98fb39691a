"""The supervisor's own superuser session in a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from neon_emulator.clusters import catalog
from neon_emulator.engine import ClusterFailed, ServerLost, is_lost

if TYPE_CHECKING:
    from collections.abc import Iterator


_BUSY = """
SELECT EXISTS (SELECT FROM pg_stat_activity
  WHERE backend_type = 'client backend' AND usename <> 'cloud_admin' AND state IS DISTINCT FROM 'idle')
"""
_END_SESSIONS = """
SELECT CASE WHEN %(wait)s THEN pg_terminate_backend(pid, 5000) ELSE pg_terminate_backend(pid) END FROM pg_stat_activity
  WHERE backend_type = 'client backend' AND usename <> 'cloud_admin'
  AND (%(role)s::text IS NULL OR usename = %(role)s)
"""
_VERIFIER = """
SELECT rolpassword FROM pg_authid
  WHERE rolname = %s AND rolcanlogin AND (rolvaliduntil IS NULL OR rolvaliduntil >= now())
"""

_PATIENCE = 60.0

Row = tuple[Any, ...]
Values = Sequence[object] | Mapping[str, object]


class Superuser:
    """A session that is opened when first needed and again when it was ended; one statement at a time."""

    def __init__(self, conninfo: str) -> None:
        """Take down where the server is."""
        self._conninfo = conninfo
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._turn = asyncio.Lock()

    async def ask(self, query: str, values: Values = ()) -> list[Row]:
        """Run a statement that may be run twice, and return its rows.

        Raises:
            ClusterFailed: where it fails; the text is the server's.
        """
        async with self._turn:
            with told("A cluster's server failed"):
                try:
                    async with asyncio.timeout(_PATIENCE):
                        return await self._twice(query, values)
                except TimeoutError:
                    await self._leave()
                    raise ServerLost(f"A cluster's server has not answered for {_PATIENCE:.0f} s.") from None

    async def look(self) -> catalog.Rest:
        """What the cluster holds now."""
        return await catalog.read(self.ask)

    async def verifier(self, role: str) -> str | None:
        """The verifier of a role that may log in, and whose password is valid now; None for any other."""
        rows = await self.ask(_VERIFIER, [role])
        return rows[0][0] if rows else None

    async def sees_work(self) -> bool:
        """Whether a client is in a transaction."""
        return bool((await self.ask(_BUSY))[0][0])

    async def end_sessions(self, role: str | None = None) -> None:
        """End the clients' sessions, of one role or of all."""
        for wait in (False, True):  # all are told first, and only then each is waited for
            await self.ask(_END_SESSIONS, {"role": role, "wait": wait})

    async def close(self) -> None:
        """End the session."""
        async with self._turn:
            await self._leave()

    async def _leave(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _twice(self, query: str, values: Values) -> list[Row]:
        try:
            return await self._try(query, values)
        except psycopg.OperationalError:
            if self._connection is not None and not self._connection.closed:
                raise
        return await self._try(query, values)

    async def _try(self, query: str, values: Values) -> list[Row]:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._conninfo)
        cursor = await self._connection.execute(query.encode(), values or None)
        return await cursor.fetchall() if cursor.description else []


@contextmanager
def told(what: str) -> Iterator[None]:
    """Tell of Postgres's errors in the engine's words.

    Args:
        what: what has failed.

    Raises:
        ServerLost: where the server has ended.
        ClusterFailed: for any other error of Postgres.
    """
    try:
        yield
    except psycopg.Error as error:
        kind = ServerLost if is_lost(error) else ClusterFailed
        raise kind(f"{what}: {error}") from error


async def connect(conninfo: str) -> psycopg.AsyncConnection[Row]:
    """A new session that commits every statement."""
    return await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
