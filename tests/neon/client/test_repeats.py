"""What is tried again, what is not, and what is told when there is no patience left."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from flask_branches import NeonError
from flask_branches.branch import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.neon.client.stubs import Stub, World

    from flask_branches.neon_client import NeonClient

MANY = 5
EMPTY: dict[str, Any] = {"branches": [], "annotations": {}}
LOST = [
    {"close": "before"},
    {"close": "after"},
    {"status": 500},
    {"status": 502},
    {"status": 504, "done": True},
    {"status": 524},
    {"status": 524, "done": True},
    {"delay_before": 1.5},
    {"delay_after": 1.5},
]
PASSING = [
    {"status": 423},
    {"status": 429},
    {"status": 503},
    {"status": 422, "body": {"message": "branch not ready yet"}},
]


def _seconds(effect: dict[str, Any]) -> int:
    """How long an answer is waited for: not for one that is to come late; for others as a busy machine needs it."""
    return 1 if any(key.startswith("delay_") for key in effect) else 60


def _named(effect: dict[str, Any]) -> str:
    return "-".join(f"{key}-{value}" for key, value in effect.items() if key != "body")


@pytest.mark.parametrize("effect", PASSING + LOST, ids=_named)
def test_what_is_only_read_is_read_again(world: World, effect: dict[str, Any]) -> None:
    """Whatever became of the first answer."""
    world.fault("GET", "/branches", **effect)
    client = world.new_client(timeout=_seconds(effect))

    assert [branch.name for branch in client.branches()] == ["main"]
    assert world.asked() == ["GET /branches"] * 2
    assert client.requests == len(["GET /branches"] * 2)


@pytest.mark.parametrize("effect", PASSING + LOST, ids=_named)
def test_a_change_is_asked_for_again(world: World, effect: dict[str, Any]) -> None:
    """The second time finds it done or does it: the name, and the time, are what was wanted."""
    branch = world.project.branch(name="mine")["branch"]["id"]
    world.forget()
    world.fault("PATCH", "/branches/*", **effect)
    at = now() + timedelta(hours=1)
    changed = world.new_client(timeout=_seconds(effect)).update_branch(branch, name="yours", expires_at=at)

    assert (changed.name, changed.expires_at) == ("yours", at)
    assert world.asked().count("PATCH /branches/*") == 2
    assert world.names() == ["main", "yours"]


def test_a_name_that_is_its_own_already_is_no_other_branch(world: World) -> None:
    """Neon may refuse the second time what it did the first; the rest is then asked for alone."""
    branch = world.project.branch(name="mine")["branch"]["id"]
    at = now() + timedelta(hours=1)
    world.fault("PATCH", "/branches/*", status=409, body={"code": "BRANCH_ALREADY_EXISTS", "message": "exists"})
    changed = world.client.update_branch(branch, name="mine", expires_at=at)

    assert (changed.name, changed.expires_at) == ("mine", at)


@pytest.mark.parametrize("effect", PASSING + LOST, ids=_named)
def test_a_deletion_is_asked_for_again(world: World, effect: dict[str, Any]) -> None:
    """That the branch is gone then is success."""
    branch = world.project.branch(name="mine")["branch"]["id"]
    world.forget()
    world.fault("DELETE", "/branches/*", **effect)
    world.new_client(timeout=_seconds(effect)).delete_branch(branch)

    assert world.asked() == ["DELETE /branches/*"] * 2
    assert world.names() == ["main"]


@pytest.mark.parametrize(
    "effect", [{"close": "after"}, {"status": 524, "done": True}, {"delay_after": 1.5}], ids=_named
)
def test_a_branch_that_is_not_found_after_a_lost_deletion_is_deleted(world: World, effect: dict[str, Any]) -> None:
    """Where it is not found at the first try, something else is wrong."""
    branch = world.project.branch(name="mine")["branch"]["id"]
    world.fault("DELETE", "/branches/*", **effect)
    world.fault("DELETE", "/branches/*", status=404, times=2)
    client = world.new_client(timeout=_seconds(effect))
    client.delete_branch(branch)

    assert world.names() == ["main"]
    with pytest.raises(NeonError, match="404"):
        client.delete_branch(branch)


@pytest.mark.parametrize("effect", [*PASSING, *LOST[:2], {"status": 524, "done": True}], ids=_named)
def test_a_restore_is_asked_for_again(world: World, effect: dict[str, Any]) -> None:
    """To the head of the source, so that a second time does no harm."""
    branch = world.project.branch(name="mine")["branch"]["id"]
    world.forget()
    world.fault("POST", "/branches/*/restore", **effect)
    world.client.restore_branch(branch, world.project.main)

    assert world.asked().count("POST /branches/*/restore") == 2
    assert world.client.branch(branch).state == "ready"


@pytest.mark.parametrize(
    "effect", [{"status": 423}, {"status": 524}, {"close": "before"}, {"close": "after"}], ids=_named
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/branches"), ("DELETE", "/branches/*")])
def test_tries_are_not_counted(world: World, effect: dict[str, Any], method: str, path: str) -> None:
    """Only the time is: a busy project may take long."""
    branch = world.project.branch(name="mine")["branch"]["id"]
    world.forget()
    world.fault(method, path, times=MANY, **effect)
    client = world.new_client(patience=10)
    if method == "GET":
        client.branches()
    else:
        client.delete_branch(branch)

    assert world.asked() == [f"{method} {path}"] * (MANY + 1)


@pytest.mark.parametrize(
    ("effect", "said", "status"),
    [
        ({"status": 423}, r"conflicting operations.*\(423, request .*Other work on the project", 423),
        ({"status": 429}, r"over the rate limit \(429, request .*less in parallel", 429),
        ({"status": 503}, r"unavailable.*\(503, request .*neonstatus", 503),
        ({"status": 524}, r"a page of HTML where JSON was due \(524, request .*neonstatus", 524),
        ({"close": "before"}, r"the connection broke: .*\(request .*neonstatus", None),
        ({"delay_before": 0.5}, r"no answer came within 0\.\d s \(request .*neonstatus", None),
    ],
    ids=str,
)
def test_when_patience_is_used_up_the_last_answer_is_told(
    world: World, effect: dict[str, Any], said: str, status: int | None
) -> None:
    """With how long it was tried, and what to do."""
    world.fault("GET", "/branches", times=1000, **effect)
    client = world.new_client(timeout=0.3 if "delay_before" in effect else 60, patience=2)
    with pytest.raises(
        NeonError, match=rf"did not list the branches, though it was tried for \d\.\d s: .*{said}"
    ) as caught:
        client.branches()

    assert caught.value.status == status
    assert caught.value.request_id
    assert client.requests > 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 409, 412, 422, 501])
def test_a_refusal_is_not_asked_again(world: World, status: int) -> None:
    """It would be the same."""
    world.fault("*", "/**", status=status, times=2)
    with pytest.raises(NeonError, match=rf"\({status}, request "):
        world.client.branches()
    with pytest.raises(NeonError, match=rf"\({status}, request "):
        world.client.delete_branch("br-a-b-c")
    assert world.client.requests == 2


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("written", ["seconds", "date"])
def test_the_wait_that_is_asked_for_is_kept(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], status: int, written: str
) -> None:
    """As seconds or as a date, which is one by the clock of who says so."""
    their_now = datetime(2020, 1, 1, tzinfo=UTC)
    until = {"seconds": "1", "date": format_datetime(their_now + timedelta(seconds=1), usegmt=True)}[written]
    moments: list[datetime] = []

    def busy(_path: str) -> Any:
        moments.append(datetime.now(UTC))
        return status, {"message": "busy"}, {"Retry-After": until, "Date": format_datetime(their_now, usegmt=True)}

    def free(_path: str) -> Any:
        moments.append(datetime.now(UTC))
        return 200, EMPTY, {}

    connect(stub(busy, free).host).branches()
    assert moments[1] - moments[0] >= timedelta(seconds=1)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("wait", ["3600", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_wait_beyond_patience_is_not_begun(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], status: int, wait: str
) -> None:
    """It is told at once."""
    client = connect(stub((status, {"message": "busy"}, {"Retry-After": wait})).host)
    with pytest.raises(
        NeonError, match=r"asks to wait (\d+|inf) s, longer than there is patience \(6 s\).*busy"
    ) as caught:
        client.branches()
    assert (client.requests, caught.value.status) == (1, status)


@pytest.mark.parametrize("wait", ["soon", "-5", "1e9", "0", "", "Thu, 01 Jan 1970 00:00:00 GMT", "nan"])
def test_a_wait_that_cannot_be_read_is_none(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], wait: str
) -> None:
    """Then the client's own is kept."""
    client = connect(stub((429, {}, {"Retry-After": wait}), (200, EMPTY)).host)
    assert client.branches() == []


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_host_that_is_not_there_is_told_soon(connect: Callable[..., NeonClient], closed_port: int) -> None:
    """Long before an hour's patience is used up: nothing has ever answered there."""
    client = connect(f"http://127.0.0.1:{closed_port}/api/v2", patience=3600)
    with pytest.raises(
        NeonError, match=rf"127\.0\.0\.1:{closed_port} cannot be reached: .*refused.*Correct NEON_API_HOST"
    ):
        client.delete_branch("br-a-b-c")
    assert client.requests > 1


@pytest.mark.parametrize("call", ["branches", "create"])
def test_a_host_that_was_there_is_waited_for(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """For as long as there is patience: a service that is restarted comes back."""
    from flask_branches.neon_client import transport

    monkeypatch.setattr(transport, "_REACH", 0.0001)
    server = stub((200, EMPTY, {"Connection": "close"}))
    client = connect(server.host, patience=1)
    client.branches()
    server.server.shutdown()
    server.server.socket.close()
    before = client.requests
    calls: dict[str, Callable[[], object]] = {
        "branches": client.branches,
        "create": lambda: client.create_branch("mine", parent_id=None, expires_at=None, annotation={}),
    }
    with pytest.raises(NeonError, match=r"cannot be reached") as caught:
        calls[call]()

    assert client.requests - before > 1
    assert "may exist" not in str(caught.value)


def test_a_name_that_cannot_be_sent_is_told(world: World) -> None:
    """Not by a traceback of the library's."""
    with pytest.raises(ValueError, match="characters that cannot be sent"):
        world.client.branches("\ud800")
    with pytest.raises(ValueError, match="characters that cannot be sent"):
        world.client.create_branch("\ud800", parent_id=None, expires_at=None, annotation={})
