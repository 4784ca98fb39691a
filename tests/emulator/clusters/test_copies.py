"""Copies of clusters at their head: whole, independent, and made while the original takes writes."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.emulator.clusters.support import (
    OTHER_VERIFIER,
    OWNER,
    VERIFIER,
    ask,
    client,
    copy,
    new,
    place,
    play,
    trouble,
    until,
)

from neon_emulator.engine import Point

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from neon_emulator.clusters.clusters import Clusters

_ACCOUNTS = """
CREATE TABLE account (id int PRIMARY KEY, money int);
INSERT INTO account VALUES (1, 1000), (2, 1000);
CREATE TABLE transfer (id serial PRIMARY KEY, at pg_lsn)
"""
_TRANSFER = """
WITH pay AS (UPDATE account SET money = money - 1 WHERE id = 1),
     get AS (UPDATE account SET money = money + 1 WHERE id = 2)
INSERT INTO transfer (at) VALUES (pg_current_wal_insert_lsn())
"""
_SUM = "SELECT sum(money) FROM account"


@asynccontextmanager
async def _transfers(clusters: Clusters, cluster: str) -> AsyncIterator[None]:
    """Transfers between two accounts, without pause; the first has been made when the block begins."""
    begun, ending = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with client(clusters, cluster) as session:
            while not ending.is_set():
                await session.execute(_TRANSFER)
                begun.set()

    await ask(clusters, cluster, _ACCOUNTS)
    task = asyncio.create_task(work())
    try:
        await until(lambda: begun.is_set() or task.done())
        yield
        assert not task.done()
    finally:
        ending.set()
        await task


async def _some_point(clusters: Clusters, cluster: str, choice: random.Random) -> Point | None:
    """The head, or a point since the transfers began."""
    kept = await clusters.window(cluster)
    kind = choice.choice(("head", "time", "lsn"))
    if kind == "head":
        return None
    if kind == "time":
        return Point(time=kept.start_time + choice.random() * (datetime.now(UTC) - kept.start_time))
    [positions] = await ask(clusters, cluster, "SELECT array_agg(at::text) FROM transfer")
    return Point(lsn=choice.choice(positions))


@pytest.mark.slow
def test_twenty_branches_at_random_points_of_a_busy_parent_are_consistent() -> None:
    """Whatever the point, the two accounts' sum is right, and the branch starts without a word of trouble."""
    seed = random.randrange(1 << 32)  # noqa: S311 - no secret
    print("seed", seed)
    choice = random.Random(seed)  # noqa: S311 - the same again for the same seed

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with _transfers(clusters, made.cluster):
            kinds = []
            for _ in range(20):
                await asyncio.sleep(choice.random() / 10)
                point = await _some_point(clusters, made.cluster, choice)
                kinds.append(point)
                branch = await clusters.branch(made.cluster, at=point, verifiers={}, history=False)
                # One transaction has made the accounts: before it there is no table.
                tables = "SELECT count(*) FROM pg_class WHERE relname = 'account'"
                if await ask(clusters, branch.cluster, tables) == [1]:
                    assert await ask(clusters, branch.cluster, _SUM) == [2000]
                assert trouble(clusters, branch.cluster) == []
                await clusters.delete(branch.cluster)
            assert len(set(kinds)) > 1

    play(story)


def test_a_branch_and_its_parent_do_not_touch_each_other() -> None:
    """A branch begins with its parent's rows; from then on each has its own."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE TABLE note (text text)")
        await ask(clusters, made.cluster, "INSERT INTO note VALUES ('both')")
        branch = await copy(clusters, made.cluster)
        await ask(clusters, made.cluster, "INSERT INTO note VALUES ('parent')")
        await ask(clusters, branch, "INSERT INTO note VALUES ('branch')")
        assert await ask(clusters, made.cluster, "SELECT text FROM note") == ["both", "parent"]
        assert await ask(clusters, branch, "SELECT text FROM note") == ["both", "branch"]

    play(story)


def test_an_open_transaction_of_the_parent_is_not_in_a_branch() -> None:
    """What is not committed when the branch is made never comes in."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE TABLE note (text text)")
        async with client(clusters, made.cluster) as session:
            await session.execute("BEGIN")
            await session.execute("INSERT INTO note VALUES ('open')")
            branch = await copy(clusters, made.cluster)
            await session.execute("COMMIT")
        assert await ask(clusters, branch, "SELECT text FROM note") == []

    play(story)


def test_a_branch_of_a_busy_parent_begins_where_its_answer_says() -> None:
    """All that was committed before the position is in the branch, and nothing of what began after it."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with _transfers(clusters, made.cluster):
            for _ in range(3):
                branch = await clusters.branch(made.cluster, at=None, verifiers={}, history=False)
                late = "SELECT count(*) FROM transfer WHERE at >= %s"
                assert await ask(clusters, branch.cluster, late, branch.lsn) == [0]
                [last] = await ask(clusters, branch.cluster, "SELECT max(id) FROM transfer")
                missing = "SELECT count(*) FROM transfer WHERE at < %s AND id > %s"
                [open_then] = await ask(clusters, made.cluster, missing, branch.lsn, last)
                assert open_then <= 1
                assert branch.time <= datetime.now(UTC)

    play(story)


def test_a_copy_of_a_copy_that_never_ran_is_whole() -> None:
    """A branch of a branch has all rows, wherever the chain was started for the first time."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE TABLE note AS SELECT generate_series(1, 1000)")
        first = await clusters.branch(made.cluster, at=None, verifiers={}, history=False)
        second = await clusters.branch(first.cluster, at=None, verifiers={}, history=False)
        assert (second.lsn, second.catalog) == (first.lsn, first.catalog)
        assert clusters.running(first.cluster) is None
        assert await ask(clusters, second.cluster, "SELECT count(*) FROM note") == [1000]
        assert await ask(clusters, first.cluster, "SELECT count(*) FROM note") == [1000]

    play(story)


def test_a_stopped_parent_is_copied_as_it_lies_and_starts_wait_for_it() -> None:
    """A parent at rest is not started for a branch; who needs it meanwhile gets it when the copy is made."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE TABLE note AS SELECT generate_series(1, 1000)")
        await clusters.acquire(made.cluster)
        await clusters.release(made.cluster, linger=0)
        branch = await copy(clusters, made.cluster)
        assert clusters.running(made.cluster) is None
        copies = [asyncio.create_task(copy(clusters, made.cluster)) for _ in range(3)]
        await asyncio.sleep(0)  # they are on their way
        await clusters.acquire(made.cluster)
        for each in [branch, *await asyncio.gather(*copies)]:
            assert await ask(clusters, each, "SELECT count(*) FROM note") == [1000]
            assert trouble(clusters, each) == []

    play(story)


def test_passwords_of_a_branch_are_those_that_were_handed_over() -> None:
    """Roles of whom no password is named keep theirs; a name that is no role's is left out."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        kept = await copy(clusters, made.cluster)
        changed = await copy(clusters, made.cluster, verifiers={OWNER: OTHER_VERIFIER, "missing": VERIFIER})
        for cluster, verifier in ((kept, VERIFIER), (changed, OTHER_VERIFIER), (made.cluster, VERIFIER)):
            await clusters.acquire(cluster)
            assert await clusters.verifier(cluster, OWNER) == verifier

    play(story)


def test_log_that_the_parent_is_done_with_stays_until_the_copy_has_it() -> None:
    """A parent that switches log files and makes checkpoints all the time has whole branches."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE TABLE note AS SELECT generate_series(1, 1000)")
        ending = asyncio.Event()

        async def churn() -> None:
            async with client(clusters, made.cluster, user="cloud_admin") as session:
                while not ending.is_set():
                    await session.execute("UPDATE note SET generate_series = generate_series + 1")
                    await session.execute("SELECT pg_switch_wal()")
                    await session.execute("CHECKPOINT")

        task = asyncio.create_task(churn())
        for _ in range(4):
            branch = await copy(clusters, made.cluster)
            assert await ask(clusters, branch, "SELECT count(*) FROM note") == [1000]
            assert trouble(clusters, branch) == []
        ending.set()
        await task

    play(story)


@pytest.mark.slow
def test_twenty_branches_of_one_parent_at_once() -> None:
    """Copies of one parent do not wait for each other's clients, and all are whole."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with _transfers(clusters, made.cluster):
            branches = await asyncio.gather(*(copy(clusters, made.cluster) for _ in range(20)))
            assert len(set(branches)) == 20
            for branch in branches:
                assert await ask(clusters, branch, _SUM) == [2000]
                await clusters.release(await _held(clusters, branch), linger=0)

    play(story)


async def _held(clusters: Clusters, cluster: str) -> str:
    """Hold a cluster, so that its release can stop it."""
    await clusters.acquire(cluster)
    assert place(clusters, cluster).exists()
    return cluster
