"""Branches: made, changed, deleted."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.api.support import message, refused

if TYPE_CHECKING:
    from tests.emulator.running import Project


def _passwords(made: dict[str, Any]) -> dict[str, str]:
    return {role["name"]: role["password"] for role in made["roles"]}


def test_without_anything(project: Project) -> None:
    """A branch of which nothing is said is one of the default branch, without endpoints, named after its id."""
    made = project.client.post(f"{project.path}/branches")
    branch = made["branch"]
    assert re.fullmatch(r"br-[a-z]+-[a-z]+-[a-z0-9]{8}", branch["id"])
    assert branch["name"] == branch["id"]
    assert branch["parent_id"] == project.main
    assert (branch["current_state"], branch["pending_state"]) == ("init", "ready")
    assert (branch["default"], branch["primary"], branch["protected"]) == (False, False, False)
    assert made["endpoints"] == []
    assert "connection_uris" not in made
    assert [(one["action"], one["status"]) for one in made["operations"]] == [("create_branch", "running")]


def test_with_an_endpoint(project: Project) -> None:
    """A branch with an endpoint says where to connect; it has its parent's data, and its own from then on."""
    project.query("CREATE TABLE t AS SELECT 1 AS n")
    made = project.branch(name="feature/one")
    assert [one["action"] for one in made["operations"]] == ["create_branch", "start_compute"]
    (endpoint,) = made["endpoints"]
    assert (endpoint["current_state"], endpoint["pending_state"]) == ("init", "active")
    with psycopg.connect(made["connection_uris"][0]["connection_uri"], autocommit=True) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
    assert project.query("SELECT n FROM t") == [(1,)]


def test_with_two_endpoints(project: Project) -> None:
    """A branch may have one endpoint that writes, and others that only read; a second that writes is refused."""
    kinds = [{"type": "read_write"}, {"type": "read_only"}]
    made = project.client.post(f"{project.path}/branches", {"endpoints": kinds})
    assert [one["type"] for one in made["endpoints"]] == ["read_write", "read_only"]
    error = refused(
        project.client, "POST", f"{project.path}/branches", 422, {"endpoints": [{"type": "read_write"}] * 2}
    )
    assert (error["code"], error["message"]) == ("ENDPOINTS_LIMIT_EXCEEDED", "read_write endpoint already exists")


def test_inherited_passwords(project: Project) -> None:
    """A child has its parent's roles with the same passwords; where there are several, no URI is given."""
    project.client.post(f"{project.path}/branches/{project.main}/roles", {"role": {"name": "second"}})
    project.query("CREATE ROLE by_sql")
    made = project.branch()
    reveal = f"{project.path}/branches/{{}}/roles/second/reveal_password"
    passwords = {project.client.get(reveal.format(one))["password"] for one in (project.main, made["branch"]["id"])}
    assert len(passwords) == 1
    assert {one["name"] for one in made["roles"]} == {"neondb_owner", "second", "by_sql"}
    assert "connection_uris" not in made
    psycopg.connect(project.uri(made["branch"]["id"], role="second")).close()


def test_several_databases(project: Project) -> None:
    """Where the parent has several databases, no URI is given."""
    project.query("CREATE DATABASE other")
    made = project.branch()
    assert {one["name"] for one in made["databases"]} == {"neondb", "other"}
    assert "connection_uris" not in made


def test_of_a_protected_parent(project: Project) -> None:
    """A child of a protected parent has new passwords, and the parent's do not open it."""
    project.query("CREATE ROLE by_sql LOGIN PASSWORD 'known to many'")
    project.client.patch(f"{project.path}/branches/{project.main}", {"branch": {"protected": True}})
    made = project.branch()
    own = project.made["roles"][0]["password"]
    new = _passwords(made)
    assert new["neondb_owner"] != own
    child = project.uri(made["branch"]["id"])
    psycopg.connect(child).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(child.replace(new["neondb_owner"], own))
    psycopg.connect(child, user="by_sql", password=new["by_sql"]).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(child, user="by_sql", password="known to many")


@pytest.mark.parametrize("protected", [False, True])
def test_schema_only(project: Project, protected: bool) -> None:
    """A schema-only branch is a root with its parent's tables, and without its rows; its passwords follow the rule."""
    project.query("CREATE TABLE t AS SELECT 1 AS n")
    project.client.patch(f"{project.path}/branches/{project.main}", {"branch": {"protected": protected}})
    made = project.branch(init_source="schema-only", parent_id=project.main)
    assert "parent_id" not in made["branch"]
    assert made["branch"]["init_source"] == "schema-only"
    assert (_passwords(made)["neondb_owner"] != project.made["roles"][0]["password"]) is protected
    assert project.query("SELECT count(*) FROM t", made["branch"]["id"]) == [(0,)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"branch": {"name": "n" * 257}}, "branch.name (must be 1 to 256 characters long)"),
        ({"branch": {"init_source": "nothing"}}, "branch.init_source (must be one of: parent-data, schema-only)"),
        ({"branch": {"archived": True}}, "branch.archived (the emulator does not archive branches)"),
        ({"branch": {"parent_lsn": "zero"}}, "branch.parent_lsn"),
        ({"branch": {"parent_timestamp": "2026-01-01T00:00:00"}}, "branch.parent_timestamp"),
        ({"branch": {"parent_timestamp": "2026-02-30T00:00:00Z"}}, "branch.parent_timestamp"),
        ({"branch": {"expires_at": "tomorrow"}}, "branch.expires_at"),
        ({"endpoints": [{}]}, "endpoints[0].type (field required)"),
        ({"endpoints": [{"type": "both"}]}, "endpoints[0].type"),
        ({"endpoints": [{"type": "read_write", "suspend_timeout_seconds": 59}]}, "suspend_timeout_seconds"),
        ({"endpoints": [{"type": "read_write", "autoscaling_limit_min_cu": 0.1}]}, "autoscaling_limit_min_cu"),
        ({"endpoints": [{"type": "read_write", "settings": {}}]}, "settings must not be nil"),
        ({"annotation_value": {str(number): "" for number in range(51)}}, "annotation_value"),
    ],
)
def test_malformed(project: Project, body: dict[str, Any], said: str) -> None:
    """What is no branch is answered with 400, and nothing is made."""
    assert said in message(project.client, "POST", f"{project.path}/branches", 400, body)
    assert len(project.branches()) == 1


def test_name_taken(project: Project) -> None:
    """Two branches of a project cannot have one name, however they come to it."""
    project.branch(name="one", compute=False)
    other = project.branch(name="two", compute=False)["branch"]["id"]
    for method, path, body in (
        ("POST", "/branches", {"branch": {"name": "one"}}),
        ("PATCH", f"/branches/{other}", {"branch": {"name": "one"}}),
        ("POST", f"/branches/{other}/restore", {"source_branch_id": project.main, "preserve_under_name": "one"}),
    ):
        error = refused(project.client, method, project.path + path, 409, body)
        assert (error["code"], error["message"]) == (
            "BRANCH_ALREADY_EXISTS",
            'branch already exists; branch_name:"one"',
        )


def test_name_taken_at_once(project: Project) -> None:
    """Of several requests for one name at the same time, one is granted."""

    def create(_: int) -> int:
        answer = project.client.http.post(f"{project.path}/branches".lstrip("/"), json={"branch": {"name": "one"}})
        return answer.status_code

    with ThreadPoolExecutor(5) as pool:
        assert sorted(pool.map(create, range(5))) == [201, 409, 409, 409, 409]


def test_changed(project: Project) -> None:
    """A branch's name and its protection can be changed, without an operation; its own name is not taken."""
    path = f"{project.path}/branches/{project.branch(name='old', compute=False)['branch']['id']}"
    answer = project.client.patch(path, {"branch": {"name": "new/name", "protected": True}})
    assert answer["operations"] == []
    assert (answer["branch"]["name"], answer["branch"]["protected"]) == ("new/name", True)
    project.client.patch(path, {"branch": {"name": "new/name"}})
    assert project.client.get(path)["branch"]["protected"] is True


def test_default(project: Project) -> None:
    """There is one default branch, and the last that was made it is the one."""
    other = project.branch(compute=False)["branch"]["id"]
    answer = project.client.post(f"{project.path}/branches/{other}/set_as_default", status=200)
    assert (answer["branch"]["default"], answer["operations"]) == (True, [])
    assert [one["id"] for one in project.branches() if one["default"]] == [other]
    made = project.client.post(f"{project.path}/branches")
    assert made["branch"]["parent_id"] == other


def test_deleted(project: Project) -> None:
    """A deleted branch is gone with its endpoint; to delete it again is as good, and without a body."""
    made = project.branch()
    path = f"{project.path}/branches/{made['branch']['id']}"
    answer = project.client.delete(path)
    assert answer["branch"]["pending_state"] == "storage_deleted"
    assert [one["action"] for one in answer["operations"]] == ["suspend_compute", "delete_timeline"]
    assert project.client.delete(path, 204) is None
    message(project.client, "GET", path, 404)
    message(project.client, "GET", f"{project.path}/endpoints/{made['endpoints'][0]['id']}", 404)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(made["connection_uris"][0]["connection_uri"])


def test_not_deletable(project: Project) -> None:
    """The default branch, a protected one, and one with children cannot be deleted."""
    middle = project.branch(name="middle", compute=False)["branch"]["id"]
    leaf = project.branch(parent_id=middle, compute=False)["branch"]["id"]
    delete = f"{project.path}/branches/"
    assert "default branch" in message(project.client, "DELETE", delete + project.main, 422)
    said = message(project.client, "DELETE", delete + middle, 422)
    assert said == f"cannot delete branch that has children: {leaf}"
    project.client.patch(delete + leaf, {"branch": {"protected": True}})
    assert message(project.client, "DELETE", delete + leaf, 422) == "cannot delete protected branch"
    project.client.patch(delete + leaf, {"branch": {"protected": False}})
    project.client.delete(delete + leaf)
    project.client.delete(delete + middle)
