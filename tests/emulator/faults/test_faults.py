"""Faults, and the list of what was asked, on a server of a few lines: what happens to a request, and to its work."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, request
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import create_environ, run_wsgi_app

from neon_emulator.faults.layer import Disturbing
from neon_emulator.faults.rules import Effect, Fault
from neon_emulator.http import LARGEST_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 60.0
LONG = 600.0


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_arguments: object) -> None:
        """Nothing is to be printed."""


@dataclass
class World:
    """A server whose requests are disturbed, and what it has done; its work waits while `gate` is shut."""

    layer: Disturbing
    server: ThreadedWSGIServer
    done: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def stop(self) -> None:
        """Wait until every request has come to its end."""
        self.layer.interrupt()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def set(self, *, method: str = "*", path: str = "/**", skip: int = 0, times: int = 1, **effect: Any) -> Fault:
        return self.layer.faults.add([Fault(method, path, skip, times, Effect(**effect))])[0]

    def ask(
        self, path: str = "/projects", method: str = "POST", body: bytes | None = b"{}", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=DEADLINE)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, f"/api/v2{path}", body, names)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def status(self, **more: Any) -> int:
        return self.ask(**more)[0].status

    def leave(self, body: bytes = b"{}") -> None:
        """Ask for work, and hang up once the server has taken note."""
        before = len(self.layer.log.since(0))
        with socket.create_connection(("127.0.0.1", self.server.server_port), timeout=DEADLINE) as client:
            client.sendall(b"POST /api/v2/given-up HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body))
            client.sendall(body)
            until(lambda: len(self.layer.log.since(0)) > before)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.005)


@pytest.fixture
def world() -> Iterator[World]:
    """The server, on a free port."""
    app = Flask("a-server")
    layer = Disturbing(app.wsgi_app)
    app.wsgi_app = layer  # type: ignore[method-assign]
    made = World(layer, ThreadedWSGIServer("127.0.0.1", 0, app, _Handler))
    made.server.daemon_threads = False  # so that closing waits for them

    @app.route("/<path:path>", methods=["GET", "POST"])
    def work(path: str) -> tuple[dict[str, str], int]:
        assert made.gate.wait(DEADLINE)
        made.done.append(path)
        return {"body": request.get_data(as_text=True), "id": request.headers.get("X-Request-ID", "")}, 201

    made.thread.start()
    yield made
    made.stop()


def test_a_status_in_place_of_the_work(world: World) -> None:
    """The next requests get the status, nothing is done, and those after them are as ever."""
    world.set(method="POST", path="/projects", times=2, status=503)
    assert [world.status(method="GET", body=None), world.status(), world.status(), world.status()] == [
        201,
        503,
        503,
        201,
    ]
    assert len(world.done) == 2


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (423, "project already has running conflicting operations, scheduling of new ones is prohibited"),
        (429, "over the rate limit"),
        (500, "internal server error"),
        (503, "the service is unavailable, it is safe to retry the request"),
        (404, "not found"),
        (599, "status 599"),
    ],
)
def test_what_neon_says_with_a_status(world: World, status: int, message: str) -> None:
    """A fault without a body answers in the API's shape, under the id that the client gave."""
    world.set(status=status)
    response, body = world.ask(X_Request_ID="mine-1")
    assert json.loads(body) == {"request_id": "mine-1", "code": "", "message": message}
    assert (response.headers["x-neon-ret-request-id"], response.headers["Retry-After"]) == ("mine-1", None)


def test_what_the_gateway_says(world: World) -> None:
    """A 524 is the page of whoever stands before the API: HTML, without the API's id."""
    world.set(status=524)
    response, body = world.ask()
    assert (response.status, response.reason.lower()) == (524, "a timeout occurred")
    assert response.headers["Content-Type"].startswith("text/html")
    assert b"<title>" in body
    assert "x-neon-ret-request-id" not in response.headers


def test_retry_after(world: World) -> None:
    """Retry-After is sent where it was asked for, zero too."""
    world.set(status=429, retry_after=0)
    world.set(status=429, retry_after=7)
    assert [world.ask()[0].headers["Retry-After"] for _ in range(2)] == ["0", "7"]


@pytest.mark.parametrize(
    ("body", "kind", "sent"),
    [
        ({"code": "X"}, "application/json", b'{"code": "X"}'),
        ("<p>no</p>", "text/html; charset=utf-8", b"<p>no</p>"),
        ("", "text/plain; charset=utf-8", b""),
        ([], "application/json", b"[]"),
    ],
)
def test_a_body_of_ones_own(world: World, body: object, kind: str, sent: bytes) -> None:
    """A text is sent as it is, everything else as JSON."""
    world.set(status=500, body=body)
    response, said = world.ask()
    assert (response.headers["Content-Type"], said) == (kind, sent)


def test_a_status_after_the_work(world: World) -> None:
    """With `done`, the work is done all the same: what a gateway that gives up leaves behind."""
    world.set(status=524, done=True)
    assert (world.status(), world.done) == (524, ["api/v2/projects"])


@pytest.mark.parametrize(("close", "done"), [("before", []), ("after", ["api/v2/projects"])])
def test_a_closed_connection(world: World, close: str, done: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """The client gets no byte, and only the later of the two has done the work."""
    world.set(close=close)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        world.ask()
    assert world.done == done
    assert [asked.status for asked in world.layer.log.since(0)] == ["closed"]
    world.stop()
    assert caplog.records == []


def test_a_client_that_gives_up(world: World) -> None:
    """What was asked for happens after the client has gone."""
    world.set(delay_before=0.1)
    world.gate.clear()
    world.leave(b'{"name": "late"}')
    assert world.done == []
    world.gate.set()
    until(lambda: world.done == ["api/v2/given-up"])


@pytest.mark.parametrize("moment", ["delay_before", "delay_after"])
def test_a_delay(world: World, moment: str) -> None:
    """An answer comes no sooner than its delay is over."""
    delay: dict[str, Any] = {moment: 0.2}
    world.set(**delay)
    started = time.monotonic()
    assert world.status() == 201
    assert time.monotonic() - started >= 0.2


def test_a_delay_after_the_work(world: World) -> None:
    """The work is done while the client still waits."""
    world.set(delay_after=LONG)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(world.ask)
        until(lambda: world.done)
        assert not answer.done()
        world.layer.interrupt()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            answer.result(DEADLINE)


def test_a_delay_that_is_interrupted(world: World) -> None:
    """Whoever waits before the work has the connection closed, the work is never done; later ones are as ever."""
    world.set(delay_before=LONG)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(world.ask)
        until(lambda: world.layer.log.since(0))
        world.layer.interrupt()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            answer.result(DEADLINE)
    assert world.done == []
    assert world.status() == 201


def test_work_is_not_interrupted() -> None:
    """Who is at work, and in no delay, is answered."""

    def inner(_environ: object, start: Callable[..., object]) -> list[bytes]:
        layer.interrupt()
        start("201 CREATED", [])
        return [b"done"]

    layer = Disturbing(inner)
    assert list(run_wsgi_app(layer, create_environ("/api/v2/projects"))[0]) == [b"done"]


def test_a_path_beyond_ascii(world: World) -> None:
    """A path is matched, and written down, as it was meant."""
    world.set(path="/databases/caf\u00e9", status=503)
    assert world.status(path="/databases/caf%C3%A9") == 503
    assert [asked.path for asked in world.layer.log.since(0)] == ["/databases/caf\u00e9"]


def test_requests_that_are_skipped(world: World) -> None:
    """A fault lets so many of its requests pass first, to the faults after it."""
    world.set(skip=1, status=503)
    world.set(status=429)
    assert [world.status() for _ in range(3)] == [429, 503, 201]
    assert [(fault.skip, fault.left) for fault in world.layer.faults.all()] == [(0, 0), (0, 0)]


def test_a_body_too_long(world: World) -> None:
    """A body beyond a mebibyte is refused in the API's shape, and nothing is done."""
    response, said = world.ask(body=b" " * (LARGEST_BODY + 1))
    assert (response.status, json.loads(said)["code"], world.done) == (413, "", [])


def test_a_body_reaches_the_work_whole(world: World) -> None:
    """The work reads the same body that was written down, sent in chunks or not."""
    assert json.loads(world.ask(body=b'{"a": 1}')[1])["body"] == '{"a": 1}'
    connection = http.client.HTTPConnection("127.0.0.1", world.server.server_port, timeout=DEADLINE)
    connection.request("POST", "/api/v2/projects", iter([b'{"a":', b" 2}"]), encode_chunked=True)
    assert json.loads(connection.getresponse().read())["body"] == '{"a": 2}'
    connection.close()


def test_work_that_breaks() -> None:
    """A mistake in the work goes on to the server, and is written down as a 500."""

    def broken(_environ: object, _start: object) -> list[bytes]:
        raise RuntimeError("a mistake")

    layer = Disturbing(broken)
    with pytest.raises(RuntimeError, match="a mistake"):
        run_wsgi_app(layer, create_environ("/api/v2/projects"))
    assert [asked.status for asked in layer.log.since(0)] == [500]


def test_other_paths(world: World) -> None:
    """What is not below `/api/v2` meets no fault and is not written down."""
    world.set(status=503)
    connection = http.client.HTTPConnection("127.0.0.1", world.server.server_port, timeout=DEADLINE)
    connection.request("GET", "/_emulator/anything")
    assert connection.getresponse().status == 201
    connection.close()
    assert world.layer.log.since(0) == []
