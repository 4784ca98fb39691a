"""Every answer of the emulator is as the published description of Neon's API says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.emulator.neonctl.description import Description

if TYPE_CHECKING:
    from tests.emulator.neonctl.command import Node
    from tests.emulator.running import Client, Project

pytestmark = pytest.mark.neonctl

EMULATED = {
    "countProjectBranches",
    "createProject",
    "createProjectBranch",
    "createProjectBranchDatabase",
    "createProjectBranchRole",
    "createProjectEndpoint",
    "deleteProject",
    "deleteProjectBranch",
    "deleteProjectBranchDatabase",
    "deleteProjectBranchRole",
    "deleteProjectEndpoint",
    "getActiveRegions",
    "getAuthDetails",
    "getConnectionURI",
    "getCurrentUserInfo",
    "getCurrentUserOrganizations",
    "getOrganization",
    "getProject",
    "getProjectBranch",
    "getProjectBranchDatabase",
    "getProjectBranchRole",
    "getProjectBranchRolePassword",
    "getProjectBranchSchema",
    "getProjectBranchSchemaComparison",
    "getProjectEndpoint",
    "getProjectOperation",
    "listProjectBranchDatabases",
    "listProjectBranchEndpoints",
    "listProjectBranchRoles",
    "listProjectBranches",
    "listProjectEndpoints",
    "listProjectOperations",
    "listProjects",
    "listSharedProjects",
    "resetProjectBranchRolePassword",
    "restartProjectEndpoint",
    "restoreProjectBranch",
    "setDefaultProjectBranch",
    "startProjectEndpoint",
    "suspendProjectEndpoint",
    "updateProject",
    "updateProjectBranch",
    "updateProjectBranchDatabase",
    "updateProjectEndpoint",
}


@pytest.fixture
def description(node: Node, api: Client) -> Description:
    """The description; whatever `api` and its projects are answered is held against it."""
    made = Description.read(node)
    api.http.event_hooks["response"].append(made.check)
    return made


def test_every_operation(description: Description, api: Client) -> None:
    """Every operation that the emulator has answers as described, and none of them was left out here."""
    _account(api)
    project = api.project(history_retention_seconds=3600)
    api.get("/projects", params={"search": "test"})
    api.get(project.path)
    api.patch(project.path, {"project": {"name": "renamed"}})
    branch = _branches(project)
    _computes(project, branch)
    _roles_and_databases(project, branch)
    _time_travel(project, branch)
    api.get(f"{project.path}/operations/{project.operations()[0]['id']}")
    api.delete(f"{project.path}/branches/{branch}")
    project.settle()
    api.delete(f"{project.path}/branches/{branch}", status=204)
    api.delete(project.path)
    assert description.seen.keys() == EMULATED


def _account(api: Client) -> None:
    organisations = api.get("/users/me/organizations")["organizations"]
    api.get(f"/organizations/{organisations[0]['id']}")
    for path in ("/users/me", "/regions", "/auth", "/projects/shared"):
        api.get(path)


def _branches(project: Project) -> str:
    api = project.client
    plain = project.branch(compute=False)["branch"]["id"]
    made = project.branch(name="dev", expires_at=None)["branch"]["id"]
    api.get(f"{project.path}/branches/{plain}")
    api.get(f"{project.path}/branches/count")
    api.patch(f"{project.path}/branches/{plain}", {"branch": {"name": "plain", "protected": True}})
    api.patch(f"{project.path}/branches/{plain}", {"branch": {"protected": False}})
    project.settle()
    api.post(f"{project.path}/branches/{plain}/set_as_default", status=200)
    project.settle()
    api.post(f"{project.path}/branches/{project.main}/set_as_default", status=200)
    project.settle()
    order = {"limit": 1, "sort_by": "name", "sort_order": "asc"}
    page = api.get(f"{project.path}/branches", params=order)
    api.get(f"{project.path}/branches", params={**order, "cursor": page["pagination"]["next"]})
    return str(made)


def _computes(project: Project, branch: str) -> None:
    api = project.client
    api.get(f"{project.path}/endpoints")
    [endpoint] = api.get(f"{project.path}/branches/{branch}/endpoints")["endpoints"]
    path = f"{project.path}/endpoints/{endpoint['id']}"
    api.get(path)
    for action in ("suspend", "start", "restart"):
        api.post(f"{path}/{action}", status=200)
        project.settle()
    api.patch(path, {"endpoint": {"suspend_timeout_seconds": 600}})
    project.settle()
    wish = {"branch_id": branch, "type": "read_only", "name": "reader"}
    made = api.post(f"{project.path}/endpoints", {"endpoint": wish})["endpoint"]["id"]
    project.settle()
    api.delete(f"{project.path}/endpoints/{made}")
    project.settle()
    api.delete(f"{project.path}/endpoints/{made}", status=204)


def _roles_and_databases(project: Project, branch: str) -> None:
    api, path = project.client, f"{project.path}/branches/{branch}"
    steps: list[tuple[str, str, Any, int]] = [
        ("POST", "roles", {"role": {"name": "clerk"}}, 201),
        ("GET", "roles", None, 200),
        ("GET", "roles/clerk", None, 200),
        ("GET", "roles/clerk/reveal_password", None, 200),
        ("POST", "roles/clerk/reset_password", None, 200),
        ("POST", "databases", {"database": {"name": "ledger", "owner_name": "clerk"}}, 201),
        ("GET", "databases", None, 200),
        ("GET", "databases/ledger", None, 200),
        ("PATCH", "databases/ledger", {"database": {"name": "books"}}, 200),
        ("DELETE", "databases/books", None, 200),
        ("DELETE", "databases/books", None, 204),
        ("DELETE", "roles/clerk", None, 200),
        ("DELETE", "roles/clerk", None, 204),
        ("GET", "roles/nobody/reveal_password", None, 404),
    ]
    for method, part, body, status in steps:
        api.ask(method, f"{path}/{part}", status, body)
        project.settle()
    project.uri(branch)


def _time_travel(project: Project, branch: str) -> None:
    api, path = project.client, f"{project.path}/branches/{branch}"
    project.query("CREATE TABLE goods (id int)", branch)
    api.get(f"{path}/schema", params={"db_name": "neondb"})
    assert "goods" in api.get(f"{path}/compare_schema", params={"db_name": "neondb"})["diff"]
    api.post(f"{path}/restore", {"source_branch_id": project.main, "preserve_under_name": "before"}, status=200)
    project.settle()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"endpoints": [{}]}, "'id' is a required property"),
        ({"endpoints": None}, "None is not of type 'array'"),
        ({"endpoints": [{"created_at": "yesterday"}]}, "'yesterday' is not a 'date-time'"),
        ({"endpoints": [{"type": "write_only"}]}, "'write_only' is not one of"),
        ({}, "'endpoints' is a required property"),
    ],
)
def test_an_answer_that_is_wrong(node: Node, body: object, problem: str) -> None:
    """The check fails where a field is missing, or is of another type than described."""
    asked = httpx2.Request("GET", "http://127.0.0.1/api/v2/projects/a/endpoints")
    with pytest.raises(AssertionError, match=problem):
        Description.read(node).check(httpx2.Response(200, json=body, request=asked))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/projects", {}, 400),
        ("GET", "/projects/no-project-12345678", None, 404),
        ("GET", "/projects?limit=0", None, 400),
        ("GET", "/projects/{id}/branches/br-no-branch-a1b2c3d4", None, 404),
        ("POST", "/projects/{id}/branches", {"branch": {"name": "main"}}, 409),
        ("DELETE", "/projects/{id}/branches/{main}", None, 422),
        ("GET", "/projects/{id}/snapshots", None, 501),
    ],
)
def test_refusals(description: Description, project: Project, method: str, path: str, body: Any, status: int) -> None:
    """Refusals have the shape that is described for all of them."""
    path = path.format(id=project.id, main=project.main)
    assert project.client.ask(method, path, status, body)["message"]
    assert any(status in statuses for statuses in description.seen.values())
