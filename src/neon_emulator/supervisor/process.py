"""The supervisor as a process: it does what comes down the link, and ends when the link does."""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import make_conninfo

import local_postgres
from local_postgres import folders
from local_postgres.account import owner_of
from neon_emulator import wire
from neon_emulator.clusters.clusters import Clusters
from neon_emulator.engine import ClusterFailed, EngineError
from neon_emulator.front import certificate
from neon_emulator.front.certificate import CertificateBroken
from neon_emulator.front.direct import new_event_loop
from neon_emulator.front.front import PortTaken
from neon_emulator.supervisor.endpoints import Endpoints

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from neon_emulator.engine import EndpointSpec, EndpointStatus, KnownCluster

_LINE = 1 << 26  # a schema may be long
_SUSPEND_SECONDS = 0.25
_PATIENCE = "-c lock_timeout=30s"  # a client's transaction that is open for ever must not hold up the API
_FILES = 10_240  # macOS refuses a larger number


class Supervisor:
    """Does the engine's calls."""

    def __init__(self, clusters: Clusters, endpoints: Endpoints) -> None:
        """Take over what does the work."""
        self._clusters = clusters
        self._endpoints = endpoints
        self._held: dict[str, str] = {}
        self._calls: Mapping[str, Callable[..., Awaitable[Any]]] = {
            "adopt": self._adopt,
            "branch_cluster": clusters.branch,
            "catalog": clusters.catalog,
            "close_endpoint": endpoints.close,
            "delete_cluster": clusters.delete,
            "dump_schema": clusters.dump_schema,
            "endpoints": self._statuses,
            "new_cluster": clusters.new,
            "open_endpoint": endpoints.open,
            "prune_history": clusters.prune_history,
            "schema_cluster": clusters.schema_only,
            "set_clock": endpoints.set_clock,
            "start_endpoint": endpoints.start,
            "suspend_endpoint": endpoints.suspend,
            "update_endpoint": endpoints.update,
            "window": clusters.window,
            wire.HOLD: self._hold,
            wire.LET_GO: self._let_go,
        }

    async def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do one call, and say what came of it."""
        call = wire.CALLS[request["call"]]
        try:
            result = await self._calls[request["call"]](**call.load(request["arguments"]))
        except EngineError as error:
            return {"id": request["id"], "error": wire.dump_error(error)}
        except (PortTaken, local_postgres.LocalPostgresError) as error:
            return {"id": request["id"], "error": wire.dump_error(ClusterFailed(str(error)))}
        except Exception as error:  # noqa: BLE001 - one call must not end all others; the log has the whole
            traceback.print_exc()
            return {"id": request["id"], "error": wire.dump_error(ClusterFailed(f"{type(error).__name__}: {error}"))}
        return {"id": request["id"], "result": call.result.dump_python(result, mode="json")}

    async def _adopt(self, clusters: Sequence[KnownCluster], endpoints: Sequence[EndpointSpec]) -> None:
        await self._clusters.adopt(clusters)
        for spec in endpoints:
            await self._endpoints.open(spec)

    async def _statuses(self) -> dict[str, EndpointStatus]:
        return self._endpoints.statuses()

    async def _hold(self, cluster: str, database: str, token: str) -> str:
        await self._clusters.acquire(cluster)
        self._held[token] = cluster
        return make_conninfo(self._clusters.conninfo(cluster, database), options=_PATIENCE)

    async def _let_go(self, token: str) -> None:
        if (cluster := self._held.pop(token, None)) is not None:
            await self._clusters.release(cluster)


async def _serve(supervisor: Supervisor, link: socket.socket) -> None:
    """Answer every request in a task of its own, until the other side is gone."""
    reader, writer = await asyncio.open_connection(sock=link, limit=_LINE)
    tasks: set[asyncio.Task[None]] = set()

    async def one(line: bytes) -> None:
        writer.write(wire.line(await supervisor.answer(wire.parse(line))))
        await writer.drain()

    try:
        while line := await reader.readline():
            task = asyncio.create_task(one(line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except ConnectionError:
        pass  # killed while it was writing: the end as well
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _suspend_forever(endpoints: Endpoints) -> None:
    while True:
        await asyncio.sleep(_SUSPEND_SECONDS)
        await endpoints.suspend_idle()


async def _run(options: argparse.Namespace) -> None:
    home: Path = options.home
    account = owner_of(home)
    clusters = Clusters(home, local_postgres.find_binaries(account), account, history_bytes=options.history_bytes)
    endpoints = Endpoints(clusters, certificate.load_or_make(home / "certificate.pem"))
    watching: set[asyncio.Task[None]] = set()

    def lost(cluster: str) -> None:
        task = asyncio.create_task(endpoints.lost(cluster))
        watching.add(task)
        task.add_done_callback(watching.discard)

    clusters.on_exit = lost
    work = asyncio.create_task(_serve(Supervisor(clusters, endpoints), socket.socket(fileno=options.link)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    suspending = asyncio.create_task(_suspend_forever(endpoints))
    done, _ = await asyncio.wait({work, suspending}, return_when=asyncio.FIRST_COMPLETED)
    suspending.cancel()
    try:
        await endpoints.close_all()
    finally:
        await clusters.close(immediate=options.throwaway)
        if options.throwaway:
            folders.discard(home)
    with suppress(asyncio.CancelledError):
        for task in done:
            task.result()


def main() -> None:
    """Run the supervisor of a folder; the command that the API process starts."""
    parser = argparse.ArgumentParser(prog="neon_emulator.supervisor", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the folder of the data")
    parser.add_argument("--link", type=int, required=True, help="the file descriptor of the link")
    parser.add_argument("--history-bytes", type=int, required=True, help="how much of a root branch's past is kept")
    parser.add_argument("--throwaway", action="store_true", help="delete the folder in the end")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _raise_limit()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_run(parser.parse_args()))
    except (CertificateBroken, local_postgres.LocalPostgresError) as error:
        sys.exit(str(error))  # the log's last line, which the API process tells


def _raise_limit() -> None:
    """Open as many files as this process may: each endpoint needs one, each session two."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(most, _FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
