"""A cluster whose clients have taken every session that there is for them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.emulator.clusters.support import ask, client, conninfo, copy, new, play

from neon_emulator.engine import Point

if TYPE_CHECKING:
    from neon_emulator.clusters.clusters import Clusters


@pytest.mark.slow
@pytest.mark.parametrize("past", [False, True], ids=["head", "past"])
def test_a_crowded_parent_has_children(past: bool) -> None:
    """Thirty branches at once are made of a parent that refuses every further client."""

    async def story(clusters: Clusters) -> None:
        parent = (await new(clusters)).cluster
        await ask(clusters, parent, "CREATE TABLE note AS SELECT 1 AS n")
        async with client(clusters, parent) as first, AsyncExitStack() as crowd:
            [(now,)] = await (await first.execute("SELECT clock_timestamp()")).fetchall()
            with pytest.raises(psycopg.OperationalError, match="remaining connection slots are reserved"):
                await _come(conninfo(clusters, parent), crowd)
            at = Point(time=now) if past else None
            made = await asyncio.gather(*(copy(clusters, parent, at=at) for _ in range(30)))
            assert await ask(clusters, made[-1], "SELECT n FROM note") == [1]

    play(story)


async def _come(address: str, crowd: AsyncExitStack) -> None:
    """Connect until nobody is let in any more."""
    while True:
        await crowd.enter_async_context(await psycopg.AsyncConnection.connect(address))
