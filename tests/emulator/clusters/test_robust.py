"""One cluster's trouble is its own: the others run, are looked after, and are stopped as ever."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.emulator.clusters.support import LINUX, ask, copy, folder, new, place, play, server_pid, until

from neon_emulator.clusters import clusters as clusters_module
from neon_emulator.clusters.postgres import Postgres
from neon_emulator.engine import ClusterFailed, KnownCluster

if TYPE_CHECKING:
    from neon_emulator.clusters.cluster import Cluster
    from neon_emulator.clusters.clusters import Clusters


def test_a_past_that_cannot_be_kept_does_not_end_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done every few seconds goes on for all clusters, although it fails for one in a way nobody foresaw."""
    monkeypatch.setattr(clusters_module, "_TEND_SECONDS", 0.01)

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        tended: list[str] = []

        async def fail(cluster: Cluster) -> None:
            tended.append(cluster.id)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(clusters._tender, "tend", fail)
        await until(lambda: len(tended) > 1)

    play(story)


def test_a_server_that_cannot_be_stopped_does_not_keep_others_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end every other server is stopped in order, and what was deleted is gone."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        branch = await copy(clusters, made.cluster)
        for each in (made.cluster, branch):
            await clusters.acquire(each)
        stuck = clusters._workshop.find(made.cluster)

        async def fail(**_: bool) -> None:
            raise ClusterFailed("its processes do not end")

        with monkeypatch.context() as patch:
            patch.setattr(stuck, "close", fail)
            await clusters.close(immediate=False)
        assert (place(clusters, branch) / "catalog.json").exists()
        assert clusters.running(branch) is None

    play(story)


def test_a_failed_end_of_sessions_does_not_keep_a_server_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that nobody holds any more is stopped, although its sessions could not be ended first."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        found = clusters._workshop.find(made.cluster)

        async def fail(_: object = None) -> None:
            raise ClusterFailed("it does not answer")

        with monkeypatch.context() as patch:
            patch.setattr(found.superuser, "end_sessions", fail)
            patch.setattr(Postgres, "ends_soon", _no)
            async with found.copied():
                with pytest.raises(ClusterFailed, match="it does not answer"):
                    await clusters.release(made.cluster, linger=0)
        await until(lambda: clusters.running(made.cluster) is None)

    play(story)


async def _no(_: Postgres) -> bool:
    return False


def test_a_server_that_is_needed_again_while_it_is_given_back_runs_on() -> None:
    """Who gives it back is done, and not cancelled, although its stop is; who needs it has it."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        first = server_pid(clusters, made.cluster)
        giving_back = asyncio.create_task(clusters.release(made.cluster, linger=0))
        await asyncio.sleep(0)
        await clusters.acquire(made.cluster)
        await giving_back
        assert clusters.running(made.cluster) is not None
        assert server_pid(clusters, made.cluster) == first
        await clusters.release(made.cluster, linger=0)
        assert clusters.running(made.cluster) is None

    play(story)


def test_a_cluster_that_is_deleted_twice_gives_its_socket_back_once() -> None:
    """The socket's number is not taken from whoever has it since: no two clusters have the same."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        doomed = clusters._workshop.find(made.cluster)
        await clusters.delete(made.cluster)
        first = await new(clusters)
        await clusters._workshop.delete(doomed)
        second = await new(clusters)
        assert await clusters.acquire(first.cluster) != await clusters.acquire(second.cluster)

    play(story)


def test_a_file_that_is_no_clusters_is_deleted_at_the_start() -> None:
    """Something else among the folders, as some systems leave it, does not keep the emulator from starting."""

    async def before(clusters: Clusters) -> None:
        (clusters._workshop.folder / ".DS_Store").write_text("x")

    async def after(clusters: Clusters) -> None:
        assert list(clusters._workshop.folder.iterdir()) == []

    with folder() as home:
        play(before, home)
        play(after, home)


def test_data_of_another_version_are_refused_at_the_start() -> None:
    """The error names both versions and what to do, before anybody connects."""
    known: list[str] = []

    async def before(clusters: Clusters) -> None:
        known.append((await new(clusters)).cluster)
        (place(clusters, known[0]) / "data" / "PG_VERSION").write_text("14\n")

    async def after(_: Clusters) -> None:
        raise AssertionError("it must not start")

    with folder() as home:
        play(before, home)
        with pytest.raises(ClusterFailed, match=r"was made by Postgres 14, and .* set POSTGRES_BIN .* Postgres 14"):
            play(after, home, [KnownCluster(known[0], history=True)])


@pytest.mark.skipif(not LINUX, reason="only Linux says what other processes do")
def test_a_stuck_session_of_ours_does_not_keep_a_killed_server_from_starting() -> None:
    """The emulator's own question to a backend that has outlived its server is ended with that backend."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        await clusters.acquire(made.cluster)
        superuser = clusters._workshop.find(made.cluster).superuser
        [(backend,)] = await superuser.ask("SELECT pg_backend_pid()")
        os.kill(backend, signal.SIGSTOP)
        asked = asyncio.create_task(superuser.ask("SELECT 1"))
        await asyncio.sleep(0)
        os.kill(server_pid(clusters, made.cluster), signal.SIGKILL)
        async with asyncio.timeout(30):
            await until(lambda: clusters.running(made.cluster) is None)
            assert await ask(clusters, made.cluster, "SELECT 1") == [1]
            with pytest.raises(ClusterFailed):
                await asked

    play(story)
