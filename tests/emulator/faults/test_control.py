"""The control of an emulator over HTTP: faults on its real API, what was asked, a fresh start."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.emulator.running import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.running import Client, Emulator, Project

_DAY = 86400.0


def _url(api: Client, path: str) -> str:
    return str(api.http.base_url).split("/api/v2")[0] + f"/_emulator/{path}"


def _set(api: Client, faults: Any) -> Any:
    return api.control("POST", "faults", faults, status=201)["faults"]


def _names(project: Project) -> list[str]:
    return sorted(branch["name"] for branch in project.branches())


def _asked(api: Client, method: str, path: str) -> list[dict[str, Any]]:
    """What was asked of a path, as the emulator has written it down."""
    asked = api.control("GET", "requests")["requests"]
    return [one for one in asked if (one["method"], one["path"]) == (method, path)]


def _leave(api: Client, path: str, body: Any) -> None:
    """Ask for something, and hang up once the emulator has taken note."""
    base = api.http.base_url
    connection = http.client.HTTPConnection(base.host, base.port, timeout=60)
    headers = {"Authorization": api.http.headers["Authorization"]}
    connection.request("POST", f"{base.path.rstrip('/')}{path}", json.dumps(body), headers)
    until(lambda: _asked(api, "POST", path))
    connection.close()


def test_health(api: Client) -> None:
    """Whether the emulator is up is told to everybody."""
    answer = httpx2.get(_url(api, "health"), timeout=60, trust_env=False)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic eDp5"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "faults"),
        ("POST", "faults"),
        ("GET", "requests"),
        ("GET", "clock"),
        ("POST", "clock"),
        ("POST", "reset"),
    ],
)
def test_the_key(api: Client, method: str, path: str, header: str) -> None:
    """Everything else needs the key of the API."""
    headers = {"Authorization": header} if header else {}
    answer = httpx2.request(method, _url(api, path), headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 401
    assert answer.json().keys() == {"request_id", "code", "message"}


@pytest.mark.parametrize("path", ["faults", "requests", "clock"])
def test_a_foreign_host(api: Client, path: str) -> None:
    """A page of another site, which a browser was led here from, is refused."""
    answer = api.http.get(_url(api, path), headers={"Host": "emulator.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "")


def test_an_unknown_path(api: Client) -> None:
    """There is nothing else."""
    assert api.http.get(_url(api, "nothing")).status_code == 404


def test_faults_are_listed_with_what_is_left(own_emulator: Callable[..., Emulator]) -> None:
    """A fault has an id, and tells how often it will be met, until all are cleared."""
    api = own_emulator().client()
    one = {"method": "GET", "path": "/regions", "status": 429, "retry_after": 0, "times": 2}
    two = {"path": "/users/**", "skip": 1, "delay_before": 0.5, "close": "after"}
    [first], [second] = _set(api, one), _set(api, [two])
    api.get("/regions", status=429)
    api.get("/users/me")
    shown = api.control("GET", "faults")["faults"]
    assert shown == [
        {"id": first["id"], "method": "GET", "path": "/regions", "skip": 0, "left": 1, "status": 429, "retry_after": 0},
        {"id": second["id"], "method": "*", "path": "/users/**", "skip": 0, "left": 1, "delay_before": 0.5}
        | {"close": "after"},
    ]
    api.control("DELETE", "faults", status=204)
    api.get("/regions")
    assert api.control("GET", "faults") == {"faults": []}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({}, "status: one of status, delay_before, delay_after and close is needed"),
        ({"status": 200}, "status: Must be greater than or equal to 400"),
        ({"status": "500"}, "status: Not a valid integer"),
        ({"status": 500, "times": 0}, "times: Must be greater than or equal to 1"),
        ({"status": 500, "skip": -1}, "skip: Must be greater than or equal to 0"),
        ({"status": 500, "method": "get"}, "method: Must be one of"),
        ({"status": 500, "path": "projects"}, "path: a pattern below /api/v2"),
        ({"status": 500, "path": "/api/v2/projects"}, "path: a pattern below /api/v2"),
        ({"status": 500, "close": "after"}, "close: a closed connection has no status"),
        ({"close": "never"}, "close: Must be one of"),
        ({"close": "before", "delay_after": 1}, "delay_after: nothing comes after close: before"),
        ({"close": "after", "retry_after": 1}, "retry_after: it goes with status alone"),
        ({"delay_before": 1, "body": {}}, "body: it goes with status alone"),
        ({"delay_before": 1, "done": True}, "done: it goes with status alone"),
        ({"delay_before": 601}, "delay_before: Must be greater than or equal to 0 and less than or equal to 600"),
        ({"delay_before": -1}, "delay_before: Must be greater than or equal to 0"),
        ({"delay": 1, "status": 500}, "delay: Unknown field"),
        ([{"status": 500}, {"status": 5}], "1.status: Must be greater than or equal to 400"),
        ("now", "body: Invalid input type"),
    ],
)
def test_a_fault_that_is_none(api: Client, fault: object, said: str) -> None:
    """A fault that does not hold together is refused by the name of its key, and the others with it are not set."""
    before = api.control("GET", "faults")
    answer = api.control("POST", "faults", fault, status=422)
    assert said in answer["message"]
    assert api.control("GET", "faults") == before


@pytest.mark.parametrize("path", ["faults", "clock"])
@pytest.mark.parametrize("body", [b"{", b"", b"[" * 100_000, b"\xff", b"[NaN]", b"-1e999"])
def test_what_is_no_json(api: Client, path: str, body: bytes) -> None:
    """A body that is no JSON is refused in the API's shape."""
    answer = api.http.post(_url(api, path), content=body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("invalid request: decode application/json: ")


@pytest.mark.parametrize(
    "effect", [{"close": "after"}, {"status": 524, "done": True}, {"status": 503}, {"close": "before"}]
)
def test_a_create_whose_answer_is_lost(project: Project, effect: dict[str, Any]) -> None:
    """A branch is there exactly where the work was done, whatever its client was told."""
    _set(project.client, {"method": "POST", "path": f"{project.path}/branches"} | effect)
    try:
        answer = project.client.http.post(f"projects/{project.id}/branches", json={"branch": {"name": "lost"}})
        assert answer.status_code == effect["status"]
    except httpx2.RemoteProtocolError:
        assert "close" in effect
    project.settle()
    done = effect.get("done") or effect.get("close") == "after"
    assert _names(project) == (["lost", "main"] if done else ["main"])


def test_a_create_whose_client_gives_up(project: Project) -> None:
    """A branch is made after its client has gone, once, and the list of what was asked says when."""
    path = f"{project.path}/branches"
    _set(project.client, {"method": "POST", "path": path, "delay_before": 0.3})
    _leave(project.client, path, {"branch": {"name": "late"}})
    until(lambda: all(one["ended"] for one in _asked(project.client, "POST", path)))
    assert _names(project) == ["late", "main"]
    [late] = _asked(project.client, "POST", path)
    assert late["status"] == 201
    assert datetime.fromisoformat(late["ended"]) - datetime.fromisoformat(late["started"]) > timedelta(seconds=0.3)


def test_what_was_asked(own_emulator: Callable[..., Emulator]) -> None:
    """Requests are listed in order, with what they asked and how they ended, without the key and without passwords."""
    emulator = own_emulator()
    api = emulator.client()
    api.get("/regions", params={"limit": 3}, headers={"X-Request-ID": "mine"})
    api.post("/projects", {"project": {"password": "s3cret"}, "url": "postgresql://a:s3cret@b"})
    httpx2.get(f"{emulator.exported['NEON_API_HOST']}/users/me", timeout=60, trust_env=False)
    listed = api.control("GET", "requests")["requests"]
    assert [(one["method"], one["path"], one["status"], one["fault"]) for one in listed] == [
        ("GET", "/regions", 200, None),
        ("POST", "/projects", 201, None),
        ("GET", "/users/me", 401, None),
    ]
    assert (listed[0]["query"], listed[0]["body"], listed[0]["request_id"]) == ({"limit": ["3"]}, None, "mine")
    assert listed[1]["body"] == {"project": {"password": "***"}, "url": "postgresql://a:***@b"}
    assert "s3cret" not in str(listed)
    assert emulator.exported["NEON_API_KEY"] not in str(listed)
    assert api.control("GET", f"requests?since={listed[1]['number']}")["requests"] == listed[2:]
    api.control("DELETE", "requests", status=204)
    assert api.control("GET", "requests") == {"requests": []}


@pytest.mark.parametrize("since", ["-1", "soon", "1.5"])
def test_a_number_that_is_none(api: Client, since: str) -> None:
    """Requests are asked for since a number."""
    assert "since: " in api.control("GET", f"requests?since={since}", status=422)["message"]


def test_reset(own_emulator: Callable[..., Emulator]) -> None:
    """A reset leaves no project, no fault, no request and no time travel behind, and the emulator is of use at once."""
    api = own_emulator().client()
    url = api.project().uri()
    api.advance(_DAY)
    _set(api, {"path": "/regions", "status": 500})
    api.control("POST", "reset", status=204)
    assert api.control("GET", "requests") == {"requests": []}
    assert api.control("GET", "faults") == {"faults": []}
    assert api.control("GET", "clock")["offset"] == 0
    assert api.get("/projects")["projects"] == []
    port = int(url.split("@127.0.0.1:")[1].split("/")[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert api.project().query("SELECT 1") == [(1,)]


def test_reset_drops_what_waits(own_emulator: Callable[..., Emulator]) -> None:
    """A request that a fault delays is dropped by a reset, and never done."""
    api = own_emulator().client()
    _set(api, {"method": "POST", "path": "/projects", "delay_before": 600})
    ended = threading.Event()

    def ask() -> None:
        with pytest.raises(httpx2.RemoteProtocolError):
            api.http.post("projects", json={"project": {}})
        ended.set()

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: any(one["status"] is None for one in api.control("GET", "requests")["requests"]))
    api.control("POST", "reset", status=204)
    assert ended.wait(60)
    thread.join()
    assert api.get("/projects")["projects"] == []


def test_stopping_ends_a_delay(own_emulator: Callable[..., Emulator]) -> None:
    """An emulator that stops waits for no delay."""
    emulator = own_emulator()
    api = emulator.client()
    _set(api, {"path": "/regions", "delay_after": 600})
    with ThreadPoolExecutor(1) as pool:
        delayed = pool.submit(api.get, "/regions")
        until(lambda: _asked(api, "GET", "/regions"))
        assert emulator.stop() == 0
        with pytest.raises(httpx2.TransportError):
            delayed.result(60)
