"""What a copy is said to hold: its roles and databases, as of its very end, while those of the parent change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.clusters.support import DATABASE, OWNER, ask, client, new, play

from neon_emulator.clusters import copies

if TYPE_CHECKING:
    from neon_emulator.clusters.clusters import Clusters


def test_databases_may_come_and_go_while_copies_are_made() -> None:
    """A branch holds what its catalog says, even of a parent whose databases change under the copy."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        ending = asyncio.Event()

        async def churn() -> None:
            async with client(clusters, made.cluster) as session:
                while not ending.is_set():
                    await session.execute("CREATE DATABASE brief")
                    await session.execute("DROP DATABASE brief")

        task = asyncio.create_task(churn())
        for _ in range(4):
            branch = await clusters.branch(made.cluster, at=None, verifiers={}, history=False)
            names = [each.name for each in branch.catalog.databases]
            found = await ask(clusters, branch.cluster, "SELECT datname FROM pg_database WHERE datallowconn")
            assert set(found) - {"postgres", "template1"} == set(names)
        ending.set()
        await task

    play(story)


def test_no_role_and_no_database_comes_while_a_copy_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a branch is said to hold is what the parent held at its point: nothing can come and go in between."""
    stop, refused = copies._stop, []

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "ALTER SYSTEM SET autovacuum = off", user="cloud_admin")
        await ask(clusters, made.cluster, "SELECT pg_reload_conf()", user="cloud_admin")

        async def stop_late(session: psycopg.AsyncConnection[Any]) -> Any:
            async with client(clusters, made.cluster) as other:
                await other.execute("SET lock_timeout = '50ms'")
                for statement in (b"CREATE ROLE late", b"CREATE DATABASE late"):
                    with pytest.raises(psycopg.errors.LockNotAvailable):
                        await other.execute(statement)
                    refused.append(statement)
            return await stop(session)

        monkeypatch.setattr(copies, "_stop", stop_late)
        branch = await clusters.branch(made.cluster)
        assert len(refused) == 2
        assert clusters.running(branch.cluster) is None
        assert [each.name for each in branch.catalog.databases] == [DATABASE]

    play(story)


def test_a_role_that_is_just_being_made_is_not_waited_for() -> None:
    """A client's open transaction that makes a role holds no copy up, and the copy does not have the role."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with client(clusters, made.cluster) as session, session.transaction(force_rollback=True):
            await session.execute("CREATE ROLE late")
            branch = await clusters.branch(made.cluster)
            assert [each.name for each in branch.catalog.roles] == [OWNER]

    play(story)
