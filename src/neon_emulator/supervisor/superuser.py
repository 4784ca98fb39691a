"""The supervisor's own superuser session in a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from neon_emulator.engine import ClusterFailed

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
            try:
                try:
                    return await self._try(query, values)
                except psycopg.OperationalError:
                    if self._connection is not None and not self._connection.closed:
                        raise
                return await self._try(query, values)
            except psycopg.Error as error:
                raise ClusterFailed(f"A cluster's server failed: {error}") from error

    async def close(self) -> None:
        """End the session."""
        async with self._turn:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def _try(self, query: str, values: Values) -> list[Row]:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._conninfo)
        cursor = await self._connection.execute(query.encode(), values or None)
        return await cursor.fetchall() if cursor.description else []


async def connect(conninfo: str) -> psycopg.AsyncConnection[Row]:
    """A new session that commits every statement."""
    return await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
