"""What is answered while operations are under way: the emulator takes its time for them here."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.api.support import message, refused, running
from tests.emulator.running import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.emulator.running import Client, Emulator, Project

_BUSY = "project already has running conflicting operations, scheduling of new ones is prohibited"
_FOREVER = "3600"


@pytest.fixture(scope="module")
def slow() -> Iterator[Client]:
    """An emulator whose operations do not end while a test looks."""
    yield from running("--branch-delay", _FOREVER)


@pytest.fixture
def unready(slow: Client) -> dict[str, Any]:
    """What was answered to the creation of a project whose operations do not end."""
    made: dict[str, Any] = slow.post("/projects", {"project": {}})
    return made


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/branches/{branch}", {"branch": {"name": "x"}}),
        ("DELETE", "", None),
        ("POST", "/branches/{branch}/set_as_default", None),
        ("POST", "/branches/{branch}/restore", {"source_branch_id": "{branch}"}),
        ("POST", "/branches/{branch}/roles", {"role": {"name": "x"}}),
        ("DELETE", "/branches/{branch}/roles/neondb_owner", None),
        ("POST", "/branches/{branch}/roles/neondb_owner/reset_password", None),
        ("POST", "/branches/{branch}/databases", {"database": {"name": "x", "owner_name": "neondb_owner"}}),
        ("PATCH", "/branches/{branch}/databases/neondb", {"database": {"name": "x"}}),
        ("DELETE", "/branches/{branch}/databases/neondb", None),
        ("POST", "/endpoints", {"endpoint": {"branch_id": "{branch}", "type": "read_only"}}),
        ("PATCH", "/endpoints/{endpoint}", {"endpoint": {"name": "x"}}),
        ("DELETE", "/endpoints/{endpoint}", None),
        ("POST", "/endpoints/{endpoint}/start", None),
        ("POST", "/endpoints/{endpoint}/restart", None),
    ],
)
def test_busy(slow: Client, unready: dict[str, Any], method: str, path: str, body: Any) -> None:
    """A branch with an operation that has not ended, and what belongs to it, cannot be changed: 423, without a code."""
    ids = {"branch": unready["branch"]["id"], "endpoint": unready["endpoints"][0]["id"]}
    body = json.loads(json.dumps(body).replace("{branch}", ids["branch"]))
    error = refused(slow, method, f"/projects/{unready['project']['id']}{path.format(**ids)}", 423, body)
    assert (error["code"], error["message"]) == ("", _BUSY)


def test_suspend_busy(slow: Client, unready: dict[str, Any]) -> None:
    """An endpoint that is just starting cannot be suspended, in Neon's own words."""
    path = f"/projects/{unready['project']['id']}/endpoints/{unready['endpoints'][0]['id']}/suspend"
    assert message(slow, "POST", path, 423) == "endpoint is in some transitive state, could not suspend"


def test_not_ready(slow: Client, unready: dict[str, Any]) -> None:
    """A branch that is not ready yet has no children."""
    path = f"/projects/{unready['project']['id']}/branches"
    assert message(slow, "POST", path, 422, {}) == "branch not ready yet"


def test_seen_while_busy(slow: Client, unready: dict[str, Any]) -> None:
    """What is under way can be looked at: states, operations, roles, where to connect."""
    path = f"/projects/{unready['project']['id']}"
    branch = slow.get(f"{path}/branches/{unready['branch']['id']}")["branch"]
    assert (branch["current_state"], branch["pending_state"]) == ("init", "ready")
    endpoint = slow.get(f"{path}/endpoints/{unready['endpoints'][0]['id']}")["endpoint"]
    assert (endpoint["current_state"], endpoint["pending_state"]) == ("init", "active")
    operations = slow.get(f"{path}/operations")["operations"]
    assert [one["status"] for one in operations] == ["scheduling", "running"]
    assert slow.get(f"{path}/branches/{branch['id']}/roles")["roles"]
    assert slow.get(f"{path}/connection_uri", params={"role_name": "neondb_owner", "database_name": "neondb"})["uri"]


def test_end_of_operations(own_emulator: Callable[..., Emulator]) -> None:
    """Operations end in their order after their delay, and what they were about is ready then."""
    client = own_emulator("--branch-delay", "0.5").client()
    made = client.post("/projects", {"project": {}})
    path = f"/projects/{made['project']['id']}"
    first, second = (f"{path}/operations/{one['id']}" for one in made["operations"])
    assert [one["status"] for one in made["operations"]] == ["running", "scheduling"]
    until(lambda: client.get(second)["operation"]["status"] == "finished")
    ended = client.get(first)["operation"]
    assert ended["status"] == "finished"
    assert 500 <= ended["total_duration_ms"] < 60_000
    assert client.get(f"{path}/branches/{made['branch']['id']}")["branch"]["current_state"] == "ready"
    endpoint = client.get(f"{path}/endpoints/{made['endpoints'][0]['id']}")["endpoint"]
    assert endpoint["current_state"] == "active"
    assert "pending_state" not in endpoint


def test_operations_survive(own_emulator: Callable[..., Emulator]) -> None:
    """What was under way when the emulator was killed is done after its next start."""
    emulator = own_emulator("--branch-delay", _FOREVER)
    made = emulator.client().post("/projects", {"project": {}})
    path = f"/projects/{made['project']['id']}"
    emulator.kill()
    client = emulator.start().client()
    assert [one["status"] for one in client.get(f"{path}/operations")["operations"]] == ["finished"] * 2
    assert client.get(f"{path}/branches/{made['branch']['id']}")["branch"]["current_state"] == "ready"
    psycopg.connect(made["connection_uris"][0]["connection_uri"]).close()


def test_resetting(own_emulator: Callable[..., Emulator]) -> None:
    """A branch that is being reset, or made, is nobody's source; killed in the middle, the emulator completes it."""
    emulator = own_emulator()
    project = emulator.client().project()
    project.query("CREATE TABLE t AS SELECT 1 AS n")
    child = project.branch()["branch"]["id"]
    project.query("DELETE FROM t", child)
    emulator.stop()
    emulator = own_emulator("--branch-delay", _FOREVER, data=emulator.data)
    slow, path = emulator.client(), f"{project.path}/branches"
    made = slow.post(path, {"branch": {"name": "made"}})["branch"]["id"]
    reset = slow.post(f"{path}/{child}/restore", {"source_branch_id": project.main}, 200)["branch"]
    assert (reset["current_state"], reset["pending_state"]) == ("resetting", "ready")
    for unready in (made, child):
        assert message(slow, "POST", path, 422, {"branch": {"parent_id": unready}}) == "branch not ready yet"
        body = {"source_branch_id": unready, "preserve_under_name": "before"}
        assert message(slow, "POST", f"{path}/{project.main}/restore", 422, body) == "branch not ready yet"
    emulator.kill()
    again = replace(project, client=emulator.start().client())
    assert {one["current_state"] for one in again.branches()} == {"ready"}
    assert again.query("SELECT n FROM t", child) == [(1,)]


def test_password_survives(own_emulator: Callable[..., Emulator]) -> None:
    """A password whose reset was answered opens the branch, and the old one does not, after a kill too."""
    emulator = own_emulator()
    project = emulator.client().project()
    reset = f"{project.path}/branches/{project.main}/roles/neondb_owner/reset_password"
    new = project.client.post(reset, status=200)["role"]["password"]
    emulator.kill()
    emulator.start()
    uri = project.made["connection_uris"][0]["connection_uri"]
    psycopg.connect(uri, password=new).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(uri)


def test_parallel_children(project: Project) -> None:
    """Children of one parent are made at the same time, and each of them has its data."""
    project.query("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: project.branch(settle=False), range(6)))
    for one in made:
        assert project.query("SELECT count(*) FROM t", one["branch"]["id"]) == [(1000,)]


def test_delete_while_copied(project: Project) -> None:
    """A branch that is deleted while it is copied is either gone before, or stays for its child."""
    parent = project.branch(name="parent")["branch"]["id"]

    def create() -> int:
        body = {"branch": {"parent_id": parent}, "endpoints": [{"type": "read_write"}]}
        return project.client.http.post(f"{project.path}/branches".lstrip("/"), json=body).status_code

    def delete() -> int:
        return project.client.http.delete(f"{project.path}/branches/{parent}".lstrip("/")).status_code

    with ThreadPoolExecutor(2) as pool:
        created, deleted = pool.submit(create), pool.submit(delete)
    assert (created.result(), deleted.result()) in {(201, 423), (201, 422), (423, 200), (404, 200)}
    for branch in project.branches():
        if project.client.get(f"{project.path}/branches/{branch['id']}/endpoints")["endpoints"]:
            assert project.query("SELECT 1", branch["id"]) == [(1,)]


def test_project_of_a_branch_that_is_being_deleted(own_emulator: Callable[..., Emulator]) -> None:
    """A project is not deleted before the branches that were deleted in it are gone; a reset takes them with it."""
    emulator = own_emulator()
    project = emulator.client().project()
    made = project.branch()
    assert emulator.stop() == 0
    slow = own_emulator("--branch-delay", _FOREVER, data=emulator.data)
    client = slow.client()
    client.delete(f"{project.path}/branches/{made['branch']['id']}")
    assert message(client, "DELETE", project.path, 423) == _BUSY
    assert len(list((emulator.data / "clusters").iterdir())) == 2
    client.control("POST", "reset", status=204)
    until(lambda: not list((emulator.data / "clusters").iterdir()))
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(made["connection_uris"][0]["connection_uri"])
