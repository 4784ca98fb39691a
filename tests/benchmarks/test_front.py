"""What the emulator's front costs: sessions through it, encrypted and not, beside those on the server's own socket."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.running import Client, Emulator, clean_environment
from tests.ports import free_port

import local_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Measure = Callable[..., dict[str, float]]

pytestmark = pytest.mark.benchmark

_ROUNDS = 9
_TRIPS = 2000
_CONNECTIONS = 20
_MEGABYTES = 100
_DIRECT = ("socket", "TCP")
_THROUGH = ("plain", "tls")

_FRONT = """
import asyncio, pathlib, sys
import psycopg
from neon_emulator.front import certificate
from neon_emulator.front.direct import new_event_loop
from neon_emulator.front.front import Backend, Front

class Computes:
    async def wake(self, endpoint):
        return Backend(socket)

    def awake(self, endpoint):
        return socket

    async def verifier(self, endpoint, role):
        return verifier

async def serve():
    front = Front(Computes(), certificate.load_or_make(pathlib.Path(sys.argv[1])))
    print(await front.open("ep-bench", None), flush=True)
    await asyncio.to_thread(sys.stdin.read)

socket, verifier = pathlib.Path(sys.argv[2]), sys.argv[3]
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(serve())
"""
_ASKING = """
import os, httpx2

key = {"Authorization": "Bearer " + os.environ["NEON_API_KEY"]}
with httpx2.Client(base_url=os.environ["NEON_API_HOST"], headers=key, trust_env=False) as http:
    while True:
        http.get("projects").raise_for_status()
"""


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Connection strings: of the server's own socket and port, and through a front in a process of its own."""
    from neon_emulator.front import scram

    port = free_port()
    settings = {"listen_addresses": "127.0.0.1", "port": str(port)}
    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True, settings=settings) as lease:
        address, verifier = lease.cluster.address, scram.build_verifier("secret")
        with psycopg.connect(address.conninfo(), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE app SUPERUSER LOGIN PASSWORD '{verifier}'".encode())
        path = f"{address.host}/.s.PGSQL.{address.port}"
        app: dict[str, Any] = {"host": "127.0.0.1", "user": "app", "password": "secret", "dbname": "postgres"}
        with _front(tmp_path_factory.mktemp("front") / "certificate.pem", path, verifier) as through:
            yield {
                "socket": psycopg.conninfo.make_conninfo(address.conninfo(), user="app"),
                "TCP": psycopg.conninfo.make_conninfo(**app, port=port, sslmode="disable"),
                "plain": psycopg.conninfo.make_conninfo(**app, port=through, sslmode="disable"),
                "tls": psycopg.conninfo.make_conninfo(
                    **app, port=through, sslmode="require", channel_binding="require"
                ),
            }


@contextmanager
def _front(certificate: Path, path: str, verifier: str) -> Iterator[int]:
    command = [sys.executable, "-c", _FRONT, str(certificate), path, verifier]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as front:
        assert front.stdout is not None
        yield int(front.stdout.readline())


@contextmanager
def _opened(sides: dict[str, str]) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    sessions = {name: psycopg.connect(conninfo, autocommit=True) for name, conninfo in sides.items()}
    yield sessions
    for session in sessions.values():
        session.close()


@pytest.fixture(params=["alone", "beside a busy API"])
def company(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What else goes on: nothing, or an emulator that is asked all the time."""
    if request.param == "alone":
        yield request.param
        return
    emulator = Emulator(tmp_path / "data").start()
    with emulator.client().http as http:
        Client(http).project()
    environment = clean_environment() | emulator.exported
    with subprocess.Popen([sys.executable, "-c", _ASKING], env=environment) as asking:
        yield request.param
        assert asking.poll() is None
        asking.kill()
    emulator.stop()


def test_round_trips_through_the_front(sides: dict[str, str], medians: Measure, ratio: Any, company: str) -> None:
    """The least query there is, over and over: what the front adds is all that differs."""

    def trips(session: psycopg.Connection[Any]) -> Callable[[], float]:
        def run() -> float:
            began = time.perf_counter()
            for _ in range(_TRIPS):
                session.pgconn.exec_(b"SELECT 1")
            return time.perf_counter() - began

        return run

    with _opened(sides) as sessions:
        took = medians(_ROUNDS, **{name: trips(session) for name, session in sessions.items()})

    for direct, through in itertools.product(_DIRECT, _THROUGH):
        what = f"front, {company}: round trips ({through}) to direct ones by {direct}"
        ratio(what, _TRIPS / took[direct], _TRIPS / took[through], "per second")


def test_connections_through_the_front(sides: dict[str, str], medians: Measure, ratio: Any) -> None:
    """A session from its beginning to its end, the password's proof included."""

    def connect(conninfo: str) -> Callable[[], None]:
        def run() -> None:
            for _ in range(_CONNECTIONS):
                psycopg.connect(conninfo).close()

        return run

    took = medians(_ROUNDS, **{name: connect(conninfo) for name, conninfo in sides.items()})

    for direct, through in itertools.product(_DIRECT, _THROUGH):
        what = f"front: sessions ({through}) to direct ones by {direct}"
        ratio(what, _CONNECTIONS / took[direct], _CONNECTIONS / took[through], "per second")


@pytest.mark.parametrize("way", ["out", "in"])
def test_bulk_through_the_front(sides: dict[str, str], medians: Measure, ratio: Any, way: str) -> None:
    """Rows by COPY, as a dump and its restoring move them."""
    lines = ("x" * 1023 + "\n").encode() * 1024

    def out(session: psycopg.Connection[Any]) -> None:
        query = "COPY (SELECT repeat('x', 1023) FROM generate_series(1, %s)) TO STDOUT"
        with session.cursor().copy(query, (_MEGABYTES * 1024,)) as copy:
            assert sum(map(len, copy)) == _MEGABYTES * len(lines)

    def into(session: psycopg.Connection[Any]) -> None:
        with session.cursor().copy("COPY lines FROM STDIN WHERE false") as copy:
            for _ in range(_MEGABYTES):
                copy.write(lines)

    def side(session: psycopg.Connection[Any]) -> Callable[[], None]:
        session.execute("CREATE TEMPORARY TABLE lines (line text)")
        return (lambda: out(session)) if way == "out" else (lambda: into(session))

    with _opened(sides) as sessions:
        took = medians(3, **{name: side(session) for name, session in sessions.items()})

    for direct, through in itertools.product(_DIRECT, _THROUGH):
        what = f"front: COPY {way} ({through}) to a direct one by {direct}"
        ratio(what, _MEGABYTES / took[direct], _MEGABYTES / took[through], "MB/s")
