"""The client, an emulator that it talks to and that fails on demand, and a server that says what no emulator would."""

from __future__ import annotations

import threading
from datetime import timedelta
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from tests.neon.client.stubs import KEY, PROJECT, Handler, Stub, World, canned

from flask_branches.neon_client import Access, NeonClient, deadlines, operations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tests.emulator.running import Emulator, Project


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait little between two tries; how long that is has a test of its own."""
    monkeypatch.setattr(deadlines, "_FIRST", 0.02)
    monkeypatch.setattr(operations, "_FIRST", 0.02)


@pytest.fixture
def stub() -> Iterator[Callable[..., Stub]]:
    """Start a server with answers: a status, a body (bytes, or what JSON has) and headers each."""
    started: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(*answers: Any) -> Stub:
        handler = type("Handler", (Handler,), {})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        made = handler.stub = Stub([one if callable(one) else canned(*one) for one in answers], server)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return made

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.daemon_threads = True
        server.server_close()


@pytest.fixture
def connect() -> Iterator[Callable[..., NeonClient]]:
    """Make a client of an API, by default with little patience."""
    made = []

    def make(
        host: str, key: str = KEY, project: str = PROJECT, *, timeout: float = 5, patience: float = 6
    ) -> NeonClient:
        spans = timedelta(seconds=timeout), timedelta(seconds=patience)
        made.append(NeonClient(Access(SecretStr(key), project, host, *spans)))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture(scope="session")
def shared_project(emulator: Emulator) -> Project:
    """A project for all tests, which leave nothing in it: to make one takes longer than most of them."""
    return emulator.client().project()


@pytest.fixture
def world(emulator: Emulator, shared_project: Project, connect: Callable[..., NeonClient]) -> Iterator[World]:
    """A project whose main branch nobody writes to; the other branches and the faults are forgotten afterwards."""
    made = _world(emulator, shared_project, connect)
    yield made
    made.clear()


@pytest.fixture
def own_world(emulator: Emulator, project: Project, connect: Callable[..., NeonClient]) -> Iterator[World]:
    """A project of the test's own, to write to its main branch."""
    made = _world(emulator, project, connect)
    yield made
    made.clear()


def _world(emulator: Emulator, project: Project, connect: Callable[..., NeonClient]) -> World:
    where = emulator.exported
    made = World(emulator, project, connect, connect(where["NEON_API_HOST"], where["NEON_API_KEY"], project.id))
    made.forget()
    return made
