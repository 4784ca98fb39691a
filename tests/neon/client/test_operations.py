"""Waiting for operations: what is success, what is not, and what is only slow."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from flask_branches import NeonError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.neon.client.stubs import Stub

    from flask_branches.neon_client import CreatedBranch, NeonClient

BRANCH = {
    "id": "br-a-b-c",
    "name": "mine",
    "current_state": "init",
    "default": False,
    "protected": False,
    "created_at": "2026-01-02T03:04:05Z",
}


def _operation(status: object, name: str = "op-1", **more: object) -> dict[str, Any]:
    return {"id": name, "action": "create_branch", "status": status, "branch_id": "br-a-b-c"} | more


def _made(*told: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return 201, {"branch": BRANCH, "endpoints": [], "operations": list(told)}


def _listed(*told: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return 200, {"operations": list(told)}


def _create(client: NeonClient) -> CreatedBranch:
    return client.create_branch("mine", parent_id=None, expires_at=None, annotation={})


def _paths(server: Stub) -> list[str]:
    return [f"{method} {path.partition('/old-violet-32930710')[2]}" for method, path, _, _ in server.asked]


@pytest.mark.parametrize("status", ["finished", "skipped"])
def test_what_had_ended_is_not_asked_about(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], status: str
) -> None:
    """Fewer requests are better."""
    server = stub(_made(_operation(status)))
    assert _create(connect(server.host)).endpoint is None
    assert _paths(server) == ["POST /branches"]


@pytest.mark.parametrize("status", ["scheduling", "running", "failed", "cancelling", "hibernating"])
def test_what_goes_on_is_waited_for(stub: Callable[..., Stub], connect: Callable[..., NeonClient], status: str) -> None:
    """A failed one may be tried again by Neon, and a status that is new is none that ends."""
    server = stub(
        _made(_operation("running"), _operation("scheduling", "op-2")),
        _listed(_operation("finished"), _operation(status, "op-2")),
        _listed(_operation("finished"), _operation("skipped", "op-2")),
    )
    _create(connect(server.host))
    assert _paths(server) == ["POST /branches", *["GET /operations?limit=100"] * 2]


def test_an_expiry_is_sent_to_the_second(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """In UTC; the API keeps no more of it."""
    server = stub((200, {"branch": BRANCH, "operations": []}))
    at = datetime(2026, 1, 2, 4, 5, 6, 789, tzinfo=timezone(timedelta(hours=1)))
    connect(server.host).update_branch("br-a-b-c", expires_at=at)
    connect(server.host).update_branch("br-a-b-c", expires_at=None)

    sent = [body["branch"] for method, _, _, body in server.asked if method == "PATCH"]
    assert sent == [{"expires_at": "2026-01-02T03:05:06Z"}, {"expires_at": None}]


@pytest.mark.parametrize("call", ["update", "restore"])
def test_every_change_is_waited_for(stub: Callable[..., Stub], connect: Callable[..., NeonClient], call: str) -> None:
    """What comes after it finds it done."""
    changed = (200, {"branch": BRANCH, "operations": [_operation("running")]})
    ended = _listed(_operation("finished"))
    server = stub(changed, _listed(_operation("running")), ended, (200, {"branch": BRANCH}))
    client = connect(server.host)
    if call == "update":
        client.update_branch("br-a-b-c", name="mine")
    else:
        client.restore_branch("br-a-b-c", "br-d-e-f")

    assert _paths(server)[1:3] == ["GET /operations?limit=100"] * 2


@pytest.mark.parametrize("status", ["error", "cancelled"])
@pytest.mark.parametrize("where", ["answer", "list"])
def test_what_failed_for_good_is_told(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], status: str, where: str
) -> None:
    """With the operation's action and its error; the branch may be there."""
    bad = _operation(status, error="no room\nat postgresql://me:secret@host/db")
    server = stub(_made(bad if where == "answer" else _operation("running")), _listed(bad))
    said = (
        rf"operation create_branch op-1 ended as {status}: no room at \*\*\*\..*'mine', which was being made, may exist"
    )
    with pytest.raises(NeonError, match=said):
        _create(connect(server.host))


def test_an_operation_of_somebody_else_is_not_ours(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient]
) -> None:
    """Neither waited for, nor failed by."""
    server = stub(
        _made(_operation("running")),
        _listed(_operation("error", "op-8"), _operation("running", "op-9"), _operation("finished")),
    )
    assert _create(connect(server.host)).branch.id == "br-a-b-c"


@pytest.mark.parametrize(
    "answer", [(200, {"operation": _operation("finished")}), (404, {"message": "not found"})], ids=str
)
def test_one_that_is_not_listed_is_asked_for_by_its_id(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], answer: tuple[int, dict[str, Any]]
) -> None:
    """A hundred newer ones may have pushed it off the list, or the list may be behind."""
    server = stub(_made(_operation("running")), _listed(), answer, _listed(_operation("finished")))
    _create(connect(server.host))
    assert _paths(server)[:3] == ["POST /branches", "GET /operations?limit=100", "GET /operations/op-1"]


def test_what_goes_on_for_too_long_is_told(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """With what is still at work; it goes on."""
    server = stub(_made(_operation("running")), _listed(_operation("running")))
    with pytest.raises(NeonError, match=r"within 2 s: still at work are create_branch op-1 \(running\)\..*may exist"):
        _create(connect(server.host, patience=2))


@pytest.mark.parametrize("told", [{"action": "create_branch"}, {"id": "op-1"}, {"id": 5, "status": "running"}])
def test_an_operation_of_another_shape_is_not_understood(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], told: dict[str, Any]
) -> None:
    """It could not be waited for."""
    with pytest.raises(NeonError, match=r"whose .(id|status). is missing or is not str"):
        _create(connect(stub(_made(told)).host))
