"""Servers that run while somebody needs them: started once, stopped in order, and started again after a kill."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.emulator.clusters.support import (
    LINUX,
    OWNER,
    ask,
    client,
    conninfo,
    copy,
    is_alive,
    new,
    place,
    play,
    processes,
    server_pid,
    until,
)
from tests.emulator.processes import children

from neon_emulator.engine import ClusterMissing, ServerLost

if TYPE_CHECKING:
    from neon_emulator.clusters.clusters import Clusters

linux_only = pytest.mark.skipif(not LINUX, reason="only Linux says what other processes do")


def test_those_who_come_at_once_share_one_start() -> None:
    """Ten at the same time get the same socket of one server."""

    async def story(clusters: Clusters) -> None:
        branch = await copy(clusters, (await new(clusters)).cluster)
        sockets = await asyncio.gather(*(clusters.acquire(branch) for _ in range(10)))
        assert set(sockets) == {clusters.running(branch)}
        log = (place(clusters, branch) / "log").read_text()
        assert log.count("ready to accept connections") == 1

    play(story)


def test_a_server_runs_on_for_a_while_after_the_last_release() -> None:
    """Released, it runs on for the seconds that were named; needed again in time, it is not stopped at all."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        pid = server_pid(clusters, made.cluster)
        await clusters.release(made.cluster, linger=60)
        assert clusters.running(made.cluster)
        await clusters.acquire(made.cluster)
        assert server_pid(clusters, made.cluster) == pid
        await clusters.release(made.cluster, linger=0.01)
        await until(lambda: clusters.running(made.cluster) is None)
        assert not (place(clusters, made.cluster) / "data" / "postmaster.pid").exists()

    play(story)


def test_a_release_without_linger_ends_sessions_with_57p01() -> None:
    """The last release with no linger stops the server now, and tells its clients why."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        async with await psycopg.AsyncConnection.connect(conninfo(clusters, made.cluster)) as session:
            await clusters.release(made.cluster, linger=0)
            assert clusters.running(made.cluster) is None
            with pytest.raises(psycopg.errors.AdminShutdown) as caught:
                await session.execute("SELECT 1")
            assert caught.value.sqlstate == "57P01"

    play(story)


def test_sessions_end_while_others_hold_the_server() -> None:
    """A release with no linger of a server that others hold ends the sessions, and the server runs on."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        async with client(clusters, made.cluster) as session:
            pid = server_pid(clusters, made.cluster)
            await clusters.release(made.cluster, linger=0)
            with pytest.raises(psycopg.errors.AdminShutdown):
                await session.execute("SELECT 1")
            assert server_pid(clusters, made.cluster) == pid

    play(story)


def test_the_sessions_of_one_role_end() -> None:
    """Sessions of other roles, and of the superuser, go on."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE ROLE app LOGIN")
        options = [{"user": "app"}, {"user": OWNER}, {"user": "cloud_admin"}]
        async with (
            client(clusters, made.cluster, **options[0]) as app,
            client(clusters, made.cluster, **options[1]) as owner,
            client(clusters, made.cluster, **options[2]) as admin,
        ):
            await clusters.end_sessions(made.cluster, "app")
            with pytest.raises(psycopg.errors.AdminShutdown):
                await app.execute("SELECT 1")
            await owner.execute("SELECT 1")
            await clusters.end_sessions(made.cluster)
            with pytest.raises(psycopg.errors.AdminShutdown):
                await owner.execute("SELECT 1")
            await admin.execute("SELECT 1")

    play(story)


def test_a_server_is_busy_while_a_client_is_in_a_transaction() -> None:
    """Idle connections and the superuser's sessions do not count; a stopped cluster is not busy."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with client(clusters, made.cluster) as session, client(clusters, made.cluster, user="cloud_admin") as own:
            await own.execute("BEGIN")
            assert await clusters.busy(made.cluster) is False
            await session.execute("BEGIN")
            assert await clusters.busy(made.cluster) is True
            await session.execute("ROLLBACK")
            assert await clusters.busy(made.cluster) is False
            query = asyncio.create_task(session.execute("SELECT pg_sleep(60)"))
            await until(lambda: clusters.busy(made.cluster))
            await clusters.end_sessions(made.cluster)
            with pytest.raises(psycopg.errors.AdminShutdown):
                await query
        await clusters.release(await _held(clusters, made.cluster), linger=0)
        await until(lambda: clusters.running(made.cluster) is None)
        assert await clusters.busy(made.cluster) is False
        with pytest.raises(ServerLost, match="does not run"):  # which is not the same as no password
            await clusters.verifier(made.cluster, OWNER)

    play(story)


def test_our_own_session_is_opened_again_when_it_was_ended() -> None:
    """A server whose superuser sessions were all ended answers the next question."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with client(clusters, made.cluster, user="cloud_admin") as own:
            before = await clusters.verifier(made.cluster, OWNER)
            await own.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'cloud_admin' "
                "AND pid <> pg_backend_pid()"
            )
            assert await clusters.verifier(made.cluster, OWNER) == before

    play(story)


def test_a_cluster_that_there_is_not() -> None:
    """Its id is in the error; to release it is no mistake, since it may have been deleted meanwhile."""

    async def story(clusters: Clusters) -> None:
        for attempt in (
            clusters.acquire("none"),
            clusters.busy("none"),
            clusters.catalog("none"),
            copy(clusters, "none"),
        ):
            with pytest.raises(ClusterMissing, match="There is no cluster none"):
                await attempt
        await clusters.release("none")
        assert clusters.running("none") is None

    play(story)


@linux_only
def test_an_idle_branch_takes_little_memory() -> None:
    """The proportional set size of all processes of an idle branch is at most 30 MB, even after a scan of a table."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await ask(clusters, made.cluster, "CREATE TABLE bulk AS SELECT repeat('x', 900) FROM generate_series(1, 30000)")
        branch = await copy(clusters, made.cluster)
        async with client(clusters, branch) as session:
            await session.execute("SELECT count(*) FROM bulk")
            backend = session.info.backend_pid
        await clusters.acquire(branch)
        await until(lambda: not is_alive(backend))
        assert 1 < _proportional_megabytes(server_pid(clusters, branch)) <= 30

    play(story)


def test_closing_leaves_all_at_rest() -> None:
    """An orderly end stops every server, held or not; each answers without a start the next time."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        branch = await copy(clusters, made.cluster)
        await clusters.acquire(branch)
        await clusters.close(immediate=False)
        assert processes(clusters._workshop.folder) == []
        for cluster in (made.cluster, branch):
            assert (place(clusters, cluster) / "catalog.json").exists()

    play(story)


async def _held(clusters: Clusters, cluster: str) -> str:
    await clusters.acquire(cluster)
    return cluster


def _proportional_megabytes(server: int) -> float:
    family = {pid: _proportional_kilobytes(pid) for pid in [server, *children(server)]}
    print(family)
    return sum(family.values()) / 1024


def _proportional_kilobytes(pid: int) -> int:
    """The proportional set size of a process; nothing where it has ended meanwhile."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
