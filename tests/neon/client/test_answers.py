"""Answers that are none of Neon's, or none that can be used: what is told, and what is never told."""

from __future__ import annotations

import re
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.neon.client.stubs import KEY, PROJECT, page

from flask_branches import NeonError
from flask_branches.neon_client.transport import _LARGEST_BODY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.neon.client.stubs import Stub

    from flask_branches.neon_client import NeonClient

PAGE = b"<!DOCTYPE html><html><body>secret</body></html>"
HTML = {"Content-Type": "text/html"}


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
    server = stub((200, page(0, 1000, "a b")), (200, page(1000, 1000, "c")), (200, page(2000, 1)))
    branches = connect(server.host).branches("bra")

    assert [branch.name for branch in branches] == [f"branch-{number}" for number in range(2001)]
    common = f"/api/v2/projects/{PROJECT}/branches?limit=1000&sort_by=created_at&sort_order=asc&search=bra"
    assert [path for _, path, _, _ in server.asked] == [common, f"{common}&cursor=a+b", f"{common}&cursor=c"]


@pytest.mark.parametrize(
    "last", [page(0, 0), page(0, 1000), page(1000, 1000, None), page(1000, 1000, "")], ids=[0, 1, 2, 3]
)
def test_pages_end(stub: Callable[..., Stub], connect: Callable[..., NeonClient], last: dict[str, Any]) -> None:
    """With an empty page, with one that has nothing new, and with one that names no next."""
    server = stub((200, page(0, 1000)), (200, last))

    assert len({branch.id for branch in connect(server.host).branches()}) in {1000, 2000}
    assert len(server.asked) == 2


@pytest.mark.parametrize("pagination", [None, "text", 1, [], {"next": 5}])
def test_pages_of_an_unknown_shape_end(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], pagination: object
) -> None:
    """They cannot be gone on with."""
    server = stub((200, page(0, 1000) | {"pagination": pagination, "annotations": pagination}))

    assert len(connect(server.host).branches()) == 1000


def test_annotations_are_those_of_their_branches(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """What is no annotation is none."""
    notes = {"br-0-b-c": {"value": {"by": "me"}}, "br-1-b-c": "text", "br-2-b-c": {"value": 5}}
    server = stub((200, page(0, 4) | {"annotations": notes}))

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
    server = stub((503, {}), (200, page(0, 0)))
    connect(server.host).branches()
    headers = [each[2] for each in server.asked]

    assert [one["authorization"] for one in headers] == [f"Bearer {KEY}"] * 2
    assert all(re.fullmatch(r"flask-branches/[\d.]+|flask-branches/unknown", one["user-agent"]) for one in headers)
    assert len({one["x-request-id"] for one in headers}) == 2
