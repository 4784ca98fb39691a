"""One call makes one branch, whatever becomes of the answers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from flask_branches import BranchExists, NeonError
from flask_branches.branch import now, written
from flask_branches.neon_client.creation import INTENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.running import Emulator
    from tests.neon.client.stubs import Stub, World

    from flask_branches.neon_client import CreatedBranch, NeonClient

LOOKED = "GET /branches"
POSTED = "POST /branches"


def _create(client: NeonClient, **options: Any) -> CreatedBranch:
    settings: dict[str, Any] = {"parent_id": None, "expires_at": None, "annotation": {"by": "me"}}
    return client.create_branch("mine", **(settings | options))


def _named(effect: dict[str, Any]) -> str:
    return "-".join(f"{key}-{value}" for key, value in effect.items())


@pytest.mark.parametrize("status", [423, 429, 503])
@pytest.mark.parametrize("times", [1, 5])
def test_a_busy_project_is_waited_for(world: World, status: int, times: int) -> None:
    """Nothing was done, so that nothing has to be looked for."""
    world.fault("POST", "/branches", status=status, times=times)
    made = _create(world.new_client(patience=10))

    assert world.asked() == [POSTED] * (times + 1) + ["GET /operations"]
    assert made.uris
    assert world.names() == ["main", "mine"]


@pytest.mark.parametrize(
    "effect", [{"close": "after"}, {"status": 500, "done": True}, {"status": 524, "done": True}], ids=_named
)
def test_a_branch_that_was_made_unheard_is_found(world: World, effect: dict[str, Any]) -> None:
    """It is looked for before anything else, by its name, and known by its intent; it is ready like any other."""
    world.fault("POST", "/branches", **effect)
    made = _create(world.client)

    assert world.asked() == [POSTED, LOOKED, "GET /operations", "GET /branches/*/endpoints"]
    assert (made.branch.name, made.branch.annotation["by"], made.uris) == ("mine", "me", ())
    assert made.endpoint
    assert made.endpoint.branch_id == made.branch.id
    uri = world.client.connection_uri(made.branch.id, database="neondb", role="neondb_owner")
    with psycopg.connect(uri.get_secret_value()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert world.names() == ["main", "mine"]


@pytest.mark.parametrize("effect", [{"close": "before"}, {"status": 500}, {"status": 524}], ids=_named)
@pytest.mark.parametrize("times", [1, 5])
def test_a_branch_that_was_not_made_is_asked_for_again(world: World, effect: dict[str, Any], times: int) -> None:
    """After a look each time."""
    world.fault("POST", "/branches", times=times, **effect)
    made = _create(world.new_client(patience=10))

    assert world.asked() == [POSTED, LOOKED] * times + [POSTED, "GET /operations"]
    assert made.uris
    assert world.names() == ["main", "mine"]


@pytest.mark.parametrize("effect", [{"delay_before": 1.5}, {"delay_after": 1.5}], ids=_named)
@pytest.mark.parametrize("times", [1, 2])
def test_a_request_that_comes_late_makes_no_second_branch(world: World, effect: dict[str, Any], times: int) -> None:
    """The name is taken by then: by itself, or by the one that overtook it."""
    world.fault("POST", "/branches", times=times, **effect)
    made = _create(world.new_client(timeout=1, patience=20))

    assert world.names() == ["main", "mine"]
    assert world.client.branches("mine")[0].id == made.branch.id


def test_a_look_that_comes_too_early_is_repeated(world: World) -> None:
    """A name that is taken after an answer was lost is ours, as soon as the list says so."""
    world.fault("POST", "/branches", close="after")
    world.fault("GET", "/branches", times=2, status=500, body={"message": "not now"})
    made = _create(world.client)

    assert world.asked()[:4] == [POSTED, LOOKED, LOOKED, LOOKED]
    assert world.names() == ["main", "mine"]
    assert made.branch.annotation[INTENT]


@pytest.mark.parametrize("effect", [{"close": "before"}, {"status": 524}], ids=_named)
def test_the_branch_of_somebody_else_is_not_ours(world: World, effect: dict[str, Any]) -> None:
    """Even where the answer that would have said so was lost."""
    other = world.project.branch(name="mine")["branch"]["id"]
    world.forget()
    world.fault("POST", "/branches", **effect)
    with pytest.raises(BranchExists, match=f"another branch, {other}, has this name"):
        _create(world.client)

    assert world.asked() == [POSTED, LOOKED]
    assert world.names() == ["main", "mine"]


def test_every_call_has_an_intent_of_its_own(world: World) -> None:
    """So that one made before is not taken for one made now."""
    first = _create(world.client)
    world.fault("POST", "/branches", close="before")
    with pytest.raises(BranchExists, match=first.branch.id):
        _create(world.client)


def test_the_error_says_that_a_branch_may_appear(world: World) -> None:
    """Where nobody knows, the user is told its name, and when it goes by itself."""
    at = now() + timedelta(hours=1)
    world.fault("POST", "/branches", close="after", times=1000)
    world.fault("GET", "/branches", status=503, times=1000)
    client = world.new_client(patience=1)
    said = rf"'mine', which was being made, may exist or appear nevertheless; it expires at {written(at)}\."
    with pytest.raises(NeonError, match=said):
        _create(client, expires_at=at)
    with pytest.raises(NeonError, match=r"may exist or appear nevertheless; it does not expire by itself\."):
        _create(client)


def test_the_error_says_nothing_of_a_branch_that_cannot_be(world: World) -> None:
    """A project that was busy all the time has made none."""
    world.fault("POST", "/branches", status=423, times=1000)
    with pytest.raises(NeonError, match="did not make the branch 'mine', though it was tried") as caught:
        _create(world.new_client(patience=1))
    assert "may exist" not in str(caught.value)
    assert world.names() == ["main"]


@pytest.mark.parametrize(
    ("status", "code"), [(409, "BRANCH_ALREADY_EXISTS"), (422, "BRANCHES_LIMIT_EXCEEDED")], ids=["name", "limit"]
)
def test_a_refusal_may_be_due_to_the_lost_branch_itself(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], status: int, code: str
) -> None:
    """It has taken the name, or the last place that the plan allows, after the look."""
    refused = (status, {"code": code, "message": "no"})
    server: Stub = stub((502, {}), NONE, refused, lambda _path: _ours(server), (200, {"operations": []}), (200, {}))

    assert _create(connect(server.host)).branch.id == "br-a-b-c"
    assert [method for method, *_ in server.asked] == ["POST", "GET", "POST", "GET", "GET", "GET"]


def test_a_name_that_is_taken_and_not_listed_is_looked_for_again(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient]
) -> None:
    """The list may be behind: the name is not another's before it says so."""
    taken = (409, {"message": "branch already exists"})
    server: Stub = stub((502, {}), NONE, taken, NONE, lambda _path: _ours(server), (200, {"operations": []}), (200, {}))

    assert _create(connect(server.host)).branch.id == "br-a-b-c"


NONE: tuple[int, dict[str, Any]] = (200, {"branches": []})


def _ours(server: Stub) -> tuple[int, dict[str, Any], dict[str, str]]:
    """The list with the branch that the first request has asked for."""
    told = {"id": "br-a-b-c", "name": "mine", "current_state": "ready", "default": False, "protected": False}
    note = {"br-a-b-c": {"value": server.asked[0][3]["annotation_value"]}}
    return 200, {"branches": [told | {"created_at": "2026-01-02T03:04:05Z"}], "annotations": note}, {}


def test_a_refusal_after_a_lost_answer_is_told(world: World) -> None:
    """It may be about the second request alone."""
    world.fault("POST", "/branches", close="before")
    world.fault("POST", "/branches", status=422, body={"message": "no more"})
    with pytest.raises(NeonError, match=r"no more \(422.*may exist or appear"):
        _create(world.client)


@pytest.mark.parametrize("effect", [{}, {"close": "after"}], ids=str)
def test_operations_that_take_their_time_are_waited_for(
    own_emulator: Callable[..., Emulator], connect: Callable[..., NeonClient], effect: dict[str, Any]
) -> None:
    """A branch that is told can be used, also where the first answer, with the names of its operations, was lost."""
    emulator = own_emulator("--branch-delay", "1.5")
    project = emulator.client().project()
    client = connect(emulator.exported["NEON_API_HOST"], emulator.exported["NEON_API_KEY"], project.id, patience=30)
    if effect:
        path = f"{project.path}/branches"
        project.client.control("POST", "faults", {"method": "POST", "path": path} | effect, 201)
    made = _create(client)

    assert {one["status"] for one in project.operations() if one.get("branch_id") == made.branch.id} <= {"finished"}
    assert client.branch(made.branch.id).state == "ready"
