"""Servers that are killed, that do not start, and whose leavings are in the way."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.emulator.clusters.notes import grow
from tests.emulator.clusters.support import (
    LINUX,
    ask,
    client,
    copy,
    is_alive,
    new,
    place,
    play,
    server_pid,
    shared_memory,
    until,
)

from neon_emulator.clusters import postgres
from neon_emulator.engine import ClusterFailed

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

    from neon_emulator.clusters.clusters import Clusters
    from neon_emulator.clusters.postgres import Place

linux_only = pytest.mark.skipif(not LINUX, reason="only Linux says what other processes do")


def test_a_killed_server_is_noticed_and_starts_again_with_its_data() -> None:
    """Who waits for it is told its id; holds remain; what was committed is there."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        ended: list[str] = []
        clusters.on_exit = ended.append
        await ask(clusters, made.cluster, "CREATE TABLE note AS SELECT 1 AS a")
        await clusters.acquire(made.cluster)
        os.kill(server_pid(clusters, made.cluster), signal.SIGKILL)
        await until(lambda: bool(ended))
        assert ended == [made.cluster]
        assert clusters.running(made.cluster) is None
        assert await ask(clusters, made.cluster, "SELECT a FROM note") == [1]
        await clusters.release(made.cluster, linger=0)
        await until(lambda: clusters.running(made.cluster) is None)
        assert ended == [made.cluster]

    play(story)


def test_a_server_that_is_killed_while_it_is_asked_is_not_busy() -> None:
    """Neither is it a mistake to end the sessions of a server that has just been killed, nor to ask for its work."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        await clusters.acquire(made.cluster)
        os.kill(server_pid(clusters, made.cluster), signal.SIGKILL)
        assert clusters.running(made.cluster)
        assert await clusters.busy(made.cluster) is False
        await clusters.release(made.cluster, linger=0)
        await clusters.end_sessions(made.cluster)

    play(story)


def test_a_server_that_is_killed_while_it_starts_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle of a recovery is nobody's mistake: the recovery is begun anew."""

    async def story(clusters: Clusters) -> None:
        cluster = (await new(clusters)).cluster
        await grow(clusters, cluster, 60)
        await clusters.acquire(cluster)
        os.kill(server_pid(clusters, cluster), signal.SIGKILL)
        await until(lambda: clusters.running(cluster) is None)
        launched = _killed_in_its_recovery(monkeypatch)
        await clusters.acquire(cluster)
        assert len(launched) == 2
        assert launched[1] == server_pid(clusters, cluster)
        assert await ask(clusters, cluster, "SELECT count(*) FROM bulk") == [60_000]
        await clusters.release(cluster)
        await clusters.release(cluster)

    play(story)


def _killed_in_its_recovery(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kill the next server that is launched as soon as it recovers; the pids of all that are launched from now on."""
    launched: list[int] = []
    launch = postgres._launch

    async def noted(where: Place, options: Sequence[str]) -> Process:
        process = await launch(where, options)
        launched.append(process.pid)
        if len(launched) == 1:
            # Before anybody waits for it to be ready: even one that has recovered by now is killed while it starts.
            await until(lambda: "redo starts at" in where.log.read_text())
            os.kill(process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(postgres, "_launch", noted)
    return launched


@linux_only
@pytest.mark.parametrize("end", ["delete", "close"])
def test_a_killed_server_leaves_no_shared_memory(end: str) -> None:
    """What Postgres keeps to find a running server by is freed with the folder, and when the emulator ends."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        pid_file = place(clusters, made.cluster) / "data" / "postmaster.pid"
        memory = pid_file.read_text().splitlines()[6].split()
        os.kill(server_pid(clusters, made.cluster), signal.SIGKILL)
        await until(lambda: clusters.running(made.cluster) is None)
        assert memory in shared_memory()
        await (clusters.delete(made.cluster) if end == "delete" else clusters.close(immediate=True))
        assert memory not in shared_memory()

    play(story)


@linux_only
def test_a_busy_backend_of_a_killed_server_does_not_keep_the_next_from_starting() -> None:
    """A backend that is computing notices late that its server is gone: it is ended."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        async with client(clusters, made.cluster) as session:
            pid = session.info.backend_pid
            loop = "DO $$BEGIN LOOP PERFORM 1; END LOOP; END$$"
            query = asyncio.create_task(session.execute(loop))
            await until(lambda: clusters.busy(made.cluster))
            os.kill(pid, signal.SIGSTOP)  # so that it cannot notice at all
            os.kill(server_pid(clusters, made.cluster), signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                await query
        assert await ask(clusters, made.cluster, "SELECT 1") == [1]
        assert not is_alive(pid)

    play(story)


def test_a_pid_file_that_names_another_process_does_not_matter() -> None:
    """After a crash of the machine, the pid of the dead server may be anybody's."""

    async def story(clusters: Clusters) -> None:
        branch = await copy(clusters, (await new(clusters)).cluster)
        await clusters.acquire(branch)
        stale = place(clusters, branch) / "data" / "postmaster.pid"
        lines = stale.read_text().splitlines(keepends=True)
        os.kill(int(lines[0]), signal.SIGKILL)
        await until(lambda: clusters.running(branch) is None)
        stale.write_text("".join([f"{os.getpid()}\n", *lines[1:]]))
        assert await ask(clusters, branch, "SELECT 1") == [1]

    play(story)


def test_a_server_that_does_not_start_says_why() -> None:
    """The error ends with Postgres's own words, the hold is given back, and a repaired one starts."""

    async def story(clusters: Clusters) -> None:
        branch = await copy(clusters, (await new(clusters)).cluster)
        broken = place(clusters, branch) / "data" / "postgresql.conf"
        before = broken.read_text()
        broken.write_text("nonsense = 1\n")
        with pytest.raises(ClusterFailed, match='unrecognized configuration parameter "nonsense"'):
            await clusters.acquire(branch)
        assert clusters.running(branch) is None
        broken.write_text(before)
        assert await ask(clusters, branch, "SELECT 1") == [1]
        assert clusters._workshop.find(branch)._holds == 0

    play(story)


def test_who_gives_up_waiting_for_a_start_leaves_no_server() -> None:
    """A cancelled start ends the server process, and the next start is a new one."""

    async def story(clusters: Clusters) -> None:
        branch = await copy(clusters, (await new(clusters)).cluster)
        start = asyncio.create_task(clusters.acquire(branch))
        await until((place(clusters, branch) / "server.lock").exists)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert clusters.running(branch) is None
        assert await ask(clusters, branch, "SELECT 1") == [1]

    play(story)
