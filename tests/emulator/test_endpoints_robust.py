"""Endpoints, when one of them is in trouble: the others are suspended and woken as ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.emulator.clusters.support import OWNER, VERIFIER, copy, new, play

from local_postgres.errors import FolderError
from neon_emulator.engine import ClusterFailed, EndpointSpec
from neon_emulator.front.certificate import load_or_make
from neon_emulator.front.front import Refused
from neon_emulator.supervisor.endpoints import Endpoints
from neon_emulator.supervisor.process import Supervisor

if TYPE_CHECKING:
    from neon_emulator.clusters.clusters import Clusters


def _endpoints(clusters: Clusters) -> Endpoints:
    return Endpoints(clusters, load_or_make(clusters._workshop.folder.parent / "certificate.pem"))


def _states(endpoints: Endpoints) -> dict[str, str]:
    return {name: status.state for name, status in endpoints.statuses().items()}


def test_a_server_in_trouble_does_not_keep_others_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that cannot be suspended now is left for later; all others are suspended."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        branch = await copy(clusters, made.cluster)
        endpoints = _endpoints(clusters)
        for name, cluster in (("troubled", made.cluster), ("idle", branch)):
            await endpoints.open(EndpointSpec(name, cluster, suspend_after=60))
            await endpoints.start(name)

        async def busy(cluster: str) -> bool:
            if cluster == made.cluster:
                raise ClusterFailed("too many clients already")
            return False

        with monkeypatch.context() as patch:
            patch.setattr(clusters, "busy", busy)
            await endpoints.set_clock(100)
            assert _states(endpoints) == {"troubled": "active", "idle": "idle"}
        await endpoints.set_clock(200)
        assert _states(endpoints) == {"troubled": "idle", "idle": "idle"}
        await endpoints.close_all()

    play(story)


def test_an_endpoint_whose_cluster_was_deleted_ends_nothing() -> None:
    """It is suspended, as far as there is anything to suspend, and can be closed."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        endpoints = _endpoints(clusters)
        await endpoints.open(EndpointSpec("left", made.cluster, suspend_after=60))
        await endpoints.start("left")
        await clusters.delete(made.cluster)
        await endpoints.set_clock(100)
        await endpoints.close("left")
        assert endpoints.statuses() == {}

    play(story)


def test_a_password_is_asked_of_a_server_that_has_ended() -> None:
    """It is neither a wrong password nor a mistake of the emulator's, but a reason to try again."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        endpoints = _endpoints(clusters)
        await endpoints.open(EndpointSpec("main", made.cluster))
        await endpoints.start("main")
        assert await endpoints.verifier("main", OWNER) == VERIFIER
        await clusters._workshop.find(made.cluster).close(immediate=True)
        for name in ("main", "deleted"):
            with pytest.raises(Refused, match=f"The compute of {name} cannot say") as refused:
                await endpoints.verifier(name, OWNER)
            assert refused.value.sqlstate == "57P03"
        await endpoints.close_all()

    play(story)


def test_endpoints_may_come_while_a_lost_server_is_dealt_with() -> None:
    """All that led to a server that was killed are put to sleep, although another is opened meanwhile."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        endpoints = _endpoints(clusters)
        for name in ("first", "second"):
            await endpoints.open(EndpointSpec(name, made.cluster))
            await endpoints.start(name)
        held = endpoints._known["first"].changing
        await held.acquire()
        await clusters._workshop.find(made.cluster).close(immediate=True)
        losing = asyncio.create_task(endpoints.lost(made.cluster))
        await asyncio.sleep(0)
        await endpoints.open(EndpointSpec("third", made.cluster))
        held.release()
        await losing
        assert set(_states(endpoints).values()) == {"idle"}
        await endpoints.close_all()

    play(story)


def test_an_endpoint_moves_although_its_old_server_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next connection leads to the new data: what it would write to the old would be deleted with that."""

    async def story(clusters: Clusters) -> None:
        old, new_one = (await new(clusters)).cluster, (await new(clusters)).cluster
        endpoints = _endpoints(clusters)
        await endpoints.open(EndpointSpec("moved", old))
        await endpoints.start("moved")
        with monkeypatch.context() as patch:
            patch.setattr(clusters, "release", _fail)
            with pytest.raises(ClusterFailed, match="no space left"):
                await endpoints.update(EndpointSpec("moved", new_one))
        await endpoints.start("moved")
        assert clusters.running(new_one) is not None
        assert endpoints.awake("moved") == clusters.running(new_one)
        await endpoints.close_all()

    play(story)


async def _fail(*_: object, **__: object) -> None:
    raise ClusterFailed("no space left")


def test_a_move_of_the_clock_waits_for_an_endpoint_that_is_changing() -> None:
    """What has been idle for too long is asleep when the clock's move is answered, whatever held it up."""

    async def story(clusters: Clusters) -> None:
        endpoints = _endpoints(clusters)
        await endpoints.open(EndpointSpec("idle", (await new(clusters)).cluster, suspend_after=60))
        await endpoints.start("idle")
        changing = endpoints._known["idle"].changing
        await changing.acquire()
        moving = asyncio.create_task(endpoints.set_clock(100))
        await asyncio.sleep(0)
        await endpoints.suspend_idle()
        assert _states(endpoints) == {"idle": "active"}
        changing.release()
        await moving
        assert _states(endpoints) == {"idle": "idle"}
        await endpoints.close_all()

    play(story)


def test_a_hold_is_given_back_once_and_only_by_its_name() -> None:
    """Whoever gives back a hold that an earlier supervisor gave does not take that of somebody else."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        supervisor = Supervisor(clusters, _endpoints(clusters))

        async def ask(call: str, **arguments: str) -> None:
            answer = await supervisor.answer({"id": 1, "call": call, "arguments": arguments})
            assert "error" not in answer

        await ask("hold", cluster=made.cluster, database="postgres", token="a")
        found = clusters._workshop.find(made.cluster)
        for token, holds in (("b", 1), ("a", 0), ("a", 0)):
            await ask("let_go", token=token)
            assert found._holds == holds

    play(story)


def test_a_session_of_the_api_does_not_wait_without_end() -> None:
    """Behind a client's open transaction, a change by the API fails after a while instead of holding up its branch."""

    async def story(clusters: Clusters) -> None:
        made = await new(clusters)
        supervisor = Supervisor(clusters, _endpoints(clusters))
        arguments = {"cluster": made.cluster, "database": "postgres", "token": "a"}
        answer = await supervisor.answer({"id": 1, "call": "hold", "arguments": arguments})
        async with await psycopg.AsyncConnection.connect(answer["result"]) as session:
            assert await (await session.execute("SHOW lock_timeout")).fetchone() == ("30s",)

    play(story)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), FolderError("a folder is gone")])
def test_a_compute_that_cannot_be_started_says_why(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keeps its server from starting, its client is told as Postgres tells it, to try again later."""

    async def fail(_: str) -> None:
        raise error

    async def story(clusters: Clusters) -> None:
        endpoints = _endpoints(clusters)
        await endpoints.open(EndpointSpec("full", "none"))
        monkeypatch.setattr(clusters, "acquire", fail)
        with pytest.raises(Refused) as refused:
            await endpoints.wake("full")
        assert (refused.value.sqlstate, str(error) in refused.value.message) == ("57P03", True)
        await endpoints.close_all()

    play(story)
