"""What Neon's own command line says where the API refuses, and what it does where the API is in trouble."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.emulator.neonctl.command import Neonctl, Refused
from tests.emulator.neonctl.shop import Shop, open_shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.emulator.neonctl.command import Node
    from tests.emulator.running import Client, Emulator

pytestmark = pytest.mark.neonctl


@pytest.fixture
def shop(neonctl: Neonctl) -> Iterator[Shop]:
    """A project with a few rows in it."""
    made = open_shop(neonctl, "refusals")
    yield made
    neonctl("projects", "delete", made.id)


def refusal(run: Callable[..., object], *words: str) -> str:
    """What a command says that fails, and fails with 1."""
    with pytest.raises(Refused) as refused:
        run(*words)
    assert refused.value.status == 1
    return refused.value.said


def _in(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat(timespec="seconds").replace("+00:00", "Z")


def test_a_name_that_is_taken(shop: Shop) -> None:
    """A second branch of a name is refused, in Neon's words."""
    shop("branches", "create", "--name", "dev", "--no-compute")
    said = refusal(shop, "branches", "create", "--name", "dev", "--no-compute")
    assert 'branch already exists; branch_name:"dev"' in said
    shop("branches", "create", "--name", "other", "--no-compute")
    assert 'branch already exists; branch_name:"dev"' in refusal(shop, "branches", "rename", "other", "dev")


def test_branches_that_stay(shop: Shop) -> None:
    """The default branch, and one with children, are not deleted."""
    assert "cannot delete" in refusal(shop, "branches", "delete", "main")
    shop("branches", "create", "--name", "parent", "--no-compute")
    shop("branches", "create", "--name", "child", "--parent", "parent", "--no-compute")
    assert "cannot delete branch that has children" in refusal(shop, "branches", "delete", "parent")


def test_a_protected_branch(shop: Shop) -> None:
    """A protected branch is neither reset nor deleted, and its children have passwords of their own."""
    shop("branches", "create", "--name", "kept", "--protected")
    assert "cannot delete protected branch" in refusal(shop, "branches", "delete", "kept")
    assert "cannot reset protected branch" in refusal(shop, "branches", "reset", "kept", "--parent")
    with pytest.raises(Refused):
        shop("branches", "set-expiration", "kept", "--expires-at", _in(days=1))
    shop("branches", "create", "--name", "child", "--parent", "kept")
    assert shop.url("child").split("@")[0] != shop.url("kept").split("@")[0]
    assert shop.names("child") == ["tea", "salt"]


def test_a_restore_that_must_preserve(shop: Shop) -> None:
    """A branch with children, and a restore from its own past, need a name for what was."""
    before, _ = shop.moment("main")
    said = refusal(shop, "branches", "restore", "main", f"^self@{before}")
    assert "preserve_under_name" in said
    shop("branches", "create", "--name", "parent", "--no-compute")
    shop("branches", "create", "--name", "child", "--parent", "parent", "--no-compute")
    said = refusal(shop, "branches", "reset", "parent", "--parent")
    assert "Branch has children, preserve_under_name is required" in said


@pytest.mark.parametrize("expires", [{"days": -1}, {"days": 31}])
def test_an_expiry_out_of_range(shop: Shop, expires: dict[str, float]) -> None:
    """A branch expires in the future, at most thirty days ahead."""
    said = refusal(shop, "branches", "create", "--name", "x", "--no-compute", "--expires-at", _in(**expires))
    assert "expires_at" in said
    assert "x" not in [branch["name"] for branch in shop.json("branches", "list")]


def test_an_expiring_branch(shop: Shop) -> None:
    """An expiring branch gets no children and does not become the default; the default branch does not expire."""
    shop("branches", "create", "--name", "brief", "--no-compute", "--expires-at", _in(days=1))
    assert "expir" in refusal(shop, "branches", "create", "--name", "x", "--parent", "brief", "--no-compute")
    assert "expir" in refusal(shop, "branches", "set-default", "brief")
    assert "default" in refusal(shop, "branches", "set-expiration", "main", "--expires-at", _in(days=1))


@pytest.mark.parametrize("point", ["2020-01-01T00:00:00Z", "FFFF/FFFFFF"])
def test_a_point_outside_of_the_window(shop: Shop, point: str) -> None:
    """A point that is not kept is refused with the window, and nothing is made."""
    said = refusal(shop, "branches", "create", "--name", "x", "--parent", point, "--no-compute")
    assert "outside of the history that is kept: from " in said
    assert str(datetime.now(UTC).year) in said
    assert [branch["name"] for branch in shop.json("branches", "list")] == ["main"]


def test_a_second_writer(shop: Shop) -> None:
    """A branch has one read-write compute."""
    said = refusal(shop, "branches", "add-compute", "main", "--type", "read_write")
    assert "read_write endpoint already exists" in said


def test_what_is_not_there(neonctl: Neonctl, shop: Shop) -> None:
    """Unknown projects, branches, roles and databases are told."""
    assert "not found" in refusal(neonctl, "projects", "get", "no-project-12345678")
    assert "not found" in refusal(shop, "branches", "get", "br-no-branch-a1b2c3d4")
    assert "Branch nothing not found" in refusal(shop, "branches", "get", "nothing")
    assert "not found" in refusal(shop, "connection-string", "main", "--role-name", "nobody")
    assert "Database not found: nothing" in refusal(shop, "connection-string", "main", "--database-name", "nothing")


def test_deleting_what_is_gone(shop: Shop) -> None:
    """What is deleted a second time is answered with nothing, and no failure."""
    shop("branches", "create", "--name", "dev", "--no-compute")
    gone = shop.json("branches", "get", "dev")["id"]
    shop("branches", "delete", "dev")
    assert shop("branches", "delete", gone) == ""
    assert shop("databases", "delete", "nothing", "--branch", "main") == ""
    assert shop("roles", "delete", "nobody", "--branch", "main") == ""


def test_a_taken_role_and_database(shop: Shop) -> None:
    """A role and a database of a name that there is are refused."""
    assert "already exists" in refusal(shop, "roles", "create", "--name", "neondb_owner")
    said = refusal(shop, "databases", "create", "--name", "neondb", "--owner-name", "neondb_owner")
    assert "already exists" in said
    said = refusal(shop, "databases", "create", "--name", "ledger", "--owner-name", "nobody")
    assert "nobody" in said


def test_an_operation_that_is_not_emulated(shop: Shop) -> None:
    """What the emulator has not, it says."""
    assert "emulator" in refusal(shop, "snapshots", "list")


def test_a_wrong_key(shop: Shop) -> None:
    """A wrong key is refused, and not shown."""
    said = refusal(shop, "branches", "list", "--api-key", "napi_wrong")
    assert "napi_wrong" not in said
    assert "API key" in said or "Authentication failed" in said


def test_limits_of_the_free_plan(
    own_emulator: Callable[..., Emulator], node: Node, surroundings: dict[str, str]
) -> None:
    """The free plan has its limits of branches, of roots, of protected ones, and its own time to suspend."""
    emulator = own_emulator("--plan", "free")
    shop = open_shop(Neonctl(node, surroundings | emulator.exported), "free")
    create = ("branches", "create", "--no-compute", "--name")
    assert "protected" in refusal(shop, *create, "kept", "--protected")
    said = refusal(shop, "branches", "create", "--name", "late", "--suspend-timeout", "600")
    assert "suspend interval changing is not allowed" in said
    for number in range(2):
        shop("branches", "create", "--name", f"root-{number}", "--schema-only")
    said = refusal(shop, "branches", "create", "--name", "root-2", "--schema-only")
    assert "root branches limit exceeded" in said
    for number in range(7):
        shop(*create, f"child-{number}")
    said = refusal(shop, *create, "child-7")
    assert "branches limit exceeded" in said


def test_a_locked_project(shop: Shop, api: Client) -> None:
    """A 423 is waited out by the command line, so that its user sees the branch and no failure."""
    _disturb(api, shop, {"status": 423})
    shop("branches", "create", "--name", "patient", "--no-compute")
    assert _creates(api, shop) == [423, 201]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 429, "retry_after": 1}, "over the rate limit"),
        ({"status": 500}, "internal server error"),
        ({"status": 503}, "safe to retry"),
        ({"close": "before"}, "Could not reach the Neon API"),
        ({"close": "after"}, "Could not reach the Neon API"),
        ({"status": 524, "done": True}, ""),
    ],
)
def test_trouble(shop: Shop, api: Client, fault: dict[str, object], said: str) -> None:
    """Trouble of any other kind is told and not tried again; the branch is there where the work was done even so."""
    _disturb(api, shop, fault)
    assert said in refusal(shop, "branches", "create", "--name", "late", "--no-compute")
    assert _creates(api, shop) == [fault.get("status", "closed")]
    done = bool(fault.get("done")) or fault.get("close") == "after"
    assert ("late" in [branch["name"] for branch in shop.json("branches", "list")]) == done


def _disturb(api: Client, shop: Shop, fault: dict[str, object]) -> None:
    rule: dict[str, object] = {"method": "POST", "path": f"/projects/{shop.id}/branches"}
    api.control("POST", "faults", rule | fault, status=201)


def _creates(api: Client, shop: Shop) -> list[object]:
    """How the requests for a branch of the shop ended."""
    asked = api.control("GET", "requests")["requests"]
    return [one["status"] for one in asked if (one["method"], one["path"]) == ("POST", f"/projects/{shop.id}/branches")]
