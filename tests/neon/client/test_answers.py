"""Answers that are none of Neon's, or none that can be used: what is told, and what is never told."""

from __future__ import annotations

import http.server
import json
import logging
import re
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import stamina
from tests.neon.client.stubs import KEY, PROJECT

from flask_branches import ConfigurationError, NeonError
from flask_branches.neon_client import BranchInfo
from flask_branches.neon_client.transport import _LARGEST_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.neon.client.stubs import Stub

    from flask_branches.neon_client import NeonClient

PAGE = b"<!DOCTYPE html><html><body>secret</body></html>"
HTML = {"Content-Type": "text/html"}
ID = "br-a-b-c"
URI = "postgresql://me:secret@host/db"


def _branch(number: int) -> dict[str, Any]:
    told = {"id": f"br-{number}-b-c", "name": f"branch-{number}", "current_state": "ready"}
    return told | {"default": False, "protected": False, "created_at": "2026-01-02T03:04:05Z"}


def _page(first: int, count: int, following: object = "more") -> dict[str, Any]:
    branches = [_branch(number) for number in range(first, first + count)]
    return {"branches": branches, "annotations": {}, "pagination": {"next": following}}


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (PAGE, HTML, "a page of HTML"),
        (PAGE, {}, "a page of HTML"),
        (b"", {}, "nothing"),
        (b"ok", {}, "something else"),
        (b"[]", {}, "something else"),
        (b"{", {}, "something else"),
        (b"\xff", {}, "something else"),
        (b"[" * 100_000, {}, "something else"),
    ],
    ids=["html", "html-unsaid", "empty", "text", "list", "cut", "bytes", "deep"],
)
@pytest.mark.parametrize("status", [200, 403])
def test_what_is_no_json_is_told_at_once(
    stub: Callable[..., Stub],
    connect: Callable[..., NeonClient],
    status: int,
    body: bytes,
    headers: dict[str, str],
    said: str,
) -> None:
    """It comes from another host or a proxy, and would come again; nothing of it is repeated."""
    client = connect(stub((status, body, headers)).host)
    with pytest.raises(
        NeonError, match=rf"{said} where JSON was due \({status}, request .*NEON_API_HOST right.*proxy"
    ) as caught:
        client.branches()

    assert client.requests == 1
    assert "secret" not in str(caught.value)


def test_a_new_branch_whose_answer_is_no_json_may_exist(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient]
) -> None:
    """Something has said that all is well."""
    client = connect(stub((201, PAGE, HTML)).host)
    with pytest.raises(NeonError, match=r"HTML where JSON.*'mine', which was being made, may exist"):
        client.create_branch("mine", parent_id=None, expires_at=None, annotation={})
    assert client.requests == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://other.example/login?token=secret#secret", "https://other.example/login"),
        ("https://me:secret@other.example/", "https://other.example/"),
        ("//[", "another place"),
        ("", "another place"),
    ],
)
def test_a_redirect_is_not_followed(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], status: int, location: str, told: str
) -> None:
    """The key would go along; the place is told without what may be a secret."""
    server = stub((status, b"", {"Location": location}))
    with pytest.raises(NeonError, match=rf"points to {re.escape(told)},.*\({status}, .*NEON_API_HOST") as caught:
        connect(server.host).project()

    assert len(server.asked) == 1
    assert "secret" not in str(caught.value)


def test_a_body_without_end_is_not_read(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """No answer of Neon's is so long."""
    body = b" " * (_LARGEST_BODY + 1)
    with pytest.raises(NeonError, match=r"more than 32 MiB\. Is NEON_API_HOST right"):
        connect(stub((200, body)).host, timeout=30, patience=30).project()


def test_an_answer_that_trickles_is_late(connect: Callable[..., NeonClient]) -> None:
    """One request takes no longer than it may, even where something comes all the time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_trickle, args=(server,))
        thread.start()
        try:
            client = connect(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.3, patience=0.5)
            with pytest.raises(NeonError, match=r"did not end in time|no answer came"):
                client.project()
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _trickle(server: socket.socket) -> None:
    done = threading.Event()
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            try:
                while not done.wait(0.02):
                    connection.sendall(b" ")
            except OSError:
                continue


def test_pages_are_read_to_the_last(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """A short page is the last one, though it names a next one too."""
    server = stub((200, _page(0, 1000, "a b")), (200, _page(1000, 1000, "c")), (200, _page(2000, 1)))
    branches = connect(server.host).branches("bra")

    assert [branch.name for branch in branches] == [f"branch-{number}" for number in range(2001)]
    common = f"/api/v2/projects/{PROJECT}/branches?limit=1000&sort_by=created_at&sort_order=asc&search=bra"
    assert [path for _, path, _, _ in server.asked] == [common, f"{common}&cursor=a+b", f"{common}&cursor=c"]


@pytest.mark.parametrize(
    "last", [_page(0, 0), _page(0, 1000), _page(1000, 1000, None), _page(1000, 1000, "")], ids=[0, 1, 2, 3]
)
def test_pages_end(stub: Callable[..., Stub], connect: Callable[..., NeonClient], last: dict[str, Any]) -> None:
    """With an empty page, with one that has nothing new, and with one that names no next."""
    server = stub((200, _page(0, 1000)), (200, last))

    assert len({branch.id for branch in connect(server.host).branches()}) in {1000, 2000}
    assert len(server.asked) == 2


@pytest.mark.parametrize("pagination", [None, "text", 1, [], {"next": 5}])
def test_pages_of_an_unknown_shape_end(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], pagination: object
) -> None:
    """They cannot be gone on with."""
    server = stub((200, _page(0, 1000) | {"pagination": pagination, "annotations": pagination}))

    assert len(connect(server.host).branches()) == 1000


def test_annotations_are_those_of_their_branches(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """What is no annotation is none."""
    notes = {"br-0-b-c": {"value": {"by": "me"}}, "br-1-b-c": "text", "br-2-b-c": {"value": 5}}
    server = stub((200, _page(0, 4) | {"annotations": notes}))

    assert [branch.annotation for branch in connect(server.host).branches()] == [{"by": "me"}, {}, {}, {}]


@pytest.mark.parametrize("body", [{}, {"project": None}, {"project": []}, {"project": {"id": 5, "name": "a"}}])
def test_an_answer_of_another_shape_is_not_understood(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], body: object
) -> None:
    """It is told, not a KeyError."""
    with pytest.raises(NeonError, match=r"missing or is not"):
        connect(stub((200, body)).host).project()


def test_a_request_says_who_asks(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """The key, the client's name, and an id of its own each time, that Neon's logs can be searched for."""
    server = stub((503, {}), (200, _page(0, 0)))
    connect(server.host).branches()
    headers = [each[2] for each in server.asked]

    assert [one["authorization"] for one in headers] == [f"Bearer {KEY}"] * 2
    assert all(re.fullmatch(r"flask-branches/[\d.]+|flask-branches/unknown", one["user-agent"]) for one in headers)
    assert len({one["x-request-id"] for one in headers}) == 2


@pytest.mark.parametrize("where", ["body", "header", "own"])
def test_the_request_is_named_as_neon_names_it(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], where: str
) -> None:
    """By the answer, its header, or the id that was sent."""
    body = {"message": "no"} | ({"request_id": "from-body"} if where == "body" else {})
    server = stub((400, body, {} if where == "own" else {"x-neon-ret-request-id": "from-header"}))
    with pytest.raises(NeonError) as caught:
        connect(server.host).project()

    assert caught.value.request_id == (server.asked[0][2]["x-request-id"] if where == "own" else f"from-{where}")


SECRETS = [
    f"bad key {KEY}",
    f"at {URI} and postgres://me:secret@host",
    "https://me:secret@example.com/x",
    "x" * 290 + KEY,
    "x" * 4090 + KEY,
    "y " * 5000 + URI,
]


@pytest.mark.parametrize("message", SECRETS, ids=range(len(SECRETS)))
@pytest.mark.parametrize("status", [400, 503])
def test_an_error_repeats_no_secret(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], status: int, message: str
) -> None:
    """Whatever the API says; neither in its text, nor in what it came from."""
    server = stub((status, {"message": message, "code": KEY, "request_id": KEY}, {"x-neon-ret-request-id": KEY}))
    with pytest.raises(NeonError) as caught:
        connect(server.host, patience=0.3).project()

    error = caught.value
    told = f"{error} {error!r} {error.code} {error.request_id}"
    assert "secret" not in told
    assert KEY[:12] not in told
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_an_error_is_one_short_line(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """A terminal shows it as it is."""
    server = stub((400, {"message": "first\nsecond\x1b[31m\r\n" + "a.b" * 2_000_000}))
    with pytest.raises(NeonError, match=r"first second \[31m a\.b") as caught:
        connect(server.host, timeout=30, patience=30).project()

    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("body", [{}, {"message": 5}, {"message": ""}, {"message": None, "code": ["x"]}])
def test_an_error_without_a_reason_is_told(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], body: object
) -> None:
    """By its status."""
    with pytest.raises(NeonError, match=r"it gave no reason \(403, request .*a key that may"):
        connect(stub((403, body)).host).project()


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
def test_no_proxy_sees_what_stays_on_this_machine(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """The environment's is for other hosts."""
    through = stub((418, {}))
    monkeypatch.setenv(proxy, through.host.removesuffix("/api/v2"))
    assert connect(stub((200, _page(0, 0))).host).branches() == []
    assert through.asked == []


def test_a_proxy_is_used_for_other_hosts(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked to connect, and sees no key; one that refuses is told with the host."""
    seen: list[str] = []
    with _proxy(seen) as address:
        monkeypatch.setenv("HTTPS_PROXY", address)
        with pytest.raises(NeonError, match=r"neon\.example cannot be reached.*or proxy on the way"):
            connect("https://neon.example/api/v2", patience=0.3).branches()
    assert any(line.startswith("CONNECT neon.example:443") for line in seen)
    assert KEY not in "".join(seen)


class _proxy:  # noqa: N801  it is used like a function
    """A proxy that refuses, and writes down what it is asked."""

    def __init__(self, seen: list[str]) -> None:
        class Refusing(http.server.BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                seen.extend([self.requestline, str(self.headers)])
                self.send_error(407)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing is to be printed."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(("name", "value"), [("HTTPS_PROXY", "nonsense://x"), ("SSL_CERT_FILE", "/no/such/file")])
def test_an_environment_that_cannot_be_used_is_told(
    connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """By the names of its variables."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        connect("https://neon.example/api/v2")


@pytest.mark.parametrize("name", ["httpx2", "stamina"])
def test_what_is_not_installed_is_told(
    connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'questions\[neon\]'"):
        connect("http://127.0.0.1:1")


@pytest.fixture(params=["inactive", "testing"])
def no_repeats(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the conftest of an application may do, for its own sake."""
    if request.param == "inactive":
        stamina.set_active(False)
    else:
        stamina.set_testing(True)
    yield
    stamina.set_active(True)
    stamina.set_testing(False)


def test_repeats_that_are_switched_off_are_told(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], no_repeats: None
) -> None:
    """The switch of stamina is one for the whole process; the error says that it is off."""
    client = connect(stub((423, {"message": "busy"})).host)
    with pytest.raises(
        NeonError, match=r"at the first try, and stamina's repeats are switched off in this process: .*busy"
    ):
        client.branches()
    assert client.requests == 1


def test_a_repeat_is_not_printed(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """Each is logged by stamina; where nobody listens, Python would print it."""
    connect(stub((423, {}), (200, _page(0, 0))).host).branches()
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("stamina").handlers)


def test_ctrl_c_ends_a_call(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and as itself."""
    client = connect(stub((423, {})).host)

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.branches()
    assert client.requests == 1


@pytest.mark.parametrize("value", [None, 5, ["x"]])
def test_a_uri_that_is_none_is_not_handed_on(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], value: object
) -> None:
    """A branch that cannot be connected to is no branch."""
    with pytest.raises(NeonError, match="'uri'"):
        connect(stub((200, {"uri": value})).host).connection_uri(ID, database="a", role="b")


def test_a_branch_can_be_written_as_json() -> None:
    """It has nothing but plain values."""
    assert json.dumps(BranchInfo.of(_branch(1)).annotation) == "{}"
