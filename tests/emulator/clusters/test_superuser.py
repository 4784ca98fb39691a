"""The supervisor's own session in a server: what it makes of errors, and of a server that does not answer."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.emulator.clusters.support import OWNER, VERIFIER, new, play

from neon_emulator.clusters import superuser
from neon_emulator.engine import ClusterFailed, ServerLost

if TYPE_CHECKING:
    from neon_emulator.clusters.clusters import Clusters


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (psycopg.OperationalError, True),
        (psycopg.errors.AdminShutdown, True),
        (psycopg.errors.CannotConnectNow, True),
        (psycopg.errors.ConnectionException, True),
        (psycopg.errors.DiskFull, False),
        (psycopg.errors.TooManyConnections, False),
        (psycopg.errors.InsufficientPrivilege, False),
    ],
)
def test_what_counts_as_lost(error: type[psycopg.Error], lost: bool) -> None:
    """Only a server that has ended, or cannot be reached, is a reason to try again."""
    with pytest.raises(ClusterFailed, match="It failed: why") as told, superuser.told("It failed"):
        raise error("why")
    assert isinstance(told.value, ServerLost) is lost


@pytest.mark.parametrize(
    ("until", "valid"), [("2020-01-01", False), ("2999-01-01", True), ("infinity", True), ("-infinity", False)]
)
def test_a_password_is_valid_until_its_time(until: str, valid: bool) -> None:
    """One that Postgres would refuse as too old is refused."""

    async def story(clusters: Clusters) -> None:
        cluster = (await new(clusters)).cluster
        await clusters.acquire(cluster)
        await clusters._find(cluster).superuser.ask(f"ALTER ROLE {OWNER} VALID UNTIL '{until}'")
        assert await clusters.verifier(cluster, OWNER) == (VERIFIER if valid else None)
        await clusters.release(cluster)

    play(story)


def test_a_server_that_answers_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is given up is closed: nobody would, and it would be the server's for as long."""

    async def story(clusters: Clusters) -> None:
        cluster = (await new(clusters)).cluster
        await clusters.acquire(cluster)
        session = clusters._find(cluster).superuser
        await session.ask("SELECT 1")
        given_up = session._connection
        with monkeypatch.context() as patch:
            patch.setattr(superuser, "_PATIENCE", 0.2)
            with pytest.raises(ServerLost, match="has not answered"):
                await session.ask("SELECT pg_sleep(600)")
        assert given_up is not None
        assert given_up.closed
        assert await session.ask("SELECT 1") == [(1,)]
        await clusters.release(cluster)

    play(story)


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that hangs is given up after a while, and another one answers."""

    async def story(clusters: Clusters) -> None:
        cluster = (await new(clusters)).cluster
        await clusters.acquire(cluster)
        session = clusters._find(cluster).superuser
        [(pid,)] = await session.ask("SELECT pg_backend_pid()")
        monkeypatch.setattr(superuser, "_PATIENCE", 0.2)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(ServerLost, match="has not answered"):
            await session.ask("SELECT 1")
        os.kill(pid, signal.SIGCONT)
        monkeypatch.undo()
        assert await session.ask("SELECT 1") == [(1,)]
        await clusters.release(cluster)

    play(story)
