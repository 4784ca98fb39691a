"""What the plans allow."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.emulator.api.support import message, refused, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulator.running import Client, Project

_HOUR = 3600
_DAY = 24 * _HOUR


@pytest.fixture(scope="module")
def free() -> Iterator[Client]:
    """An emulator with the limits of the free plan."""
    yield from running("--plan", "free")


@pytest.fixture(scope="module")
def launch() -> Iterator[Client]:
    """An emulator with the limits of the launch plan."""
    yield from running("--plan", "launch")


@pytest.fixture(scope="module")
def clients(free: Client, launch: Client, emulator: Any) -> dict[str, Client]:
    """A client of each plan."""
    return {"free": free, "launch": launch, "scale": emulator.client()}


@pytest.fixture
def of_free(free: Client) -> Iterator[Project]:
    """A project with the limits of the free plan."""
    project = free.project()
    yield project
    free.delete(project.path)


@pytest.fixture
def of_launch(launch: Client) -> Iterator[Project]:
    """A project with the limits of the launch plan."""
    project = launch.project()
    yield project
    launch.delete(project.path)


def _at_once(project: Project, number: int, **branch: Any) -> Counter[tuple[int, str]]:
    def create(_: int) -> tuple[int, str]:
        answer = project.client.http.post(f"{project.path}/branches".lstrip("/"), json={"branch": branch})
        return answer.status_code, answer.json().get("code", "")

    with ThreadPoolExecutor(number) as pool:
        return Counter(pool.map(create, range(number)))


def test_branches(of_free: Project) -> None:
    """A free project has ten branches and no more, however many are asked for at once; a deleted one makes room."""
    assert _at_once(of_free, 12) == {(201, ""): 9, (422, "BRANCHES_LIMIT_EXCEEDED"): 3}
    said = message(of_free.client, "POST", f"{of_free.path}/branches", 422, {})
    assert said == "branches limit exceeded"
    other = next(one["id"] for one in of_free.branches() if not one["default"])
    body = {"source_branch_id": of_free.main, "preserve_under_name": "before"}
    said = message(of_free.client, "POST", f"{of_free.path}/branches/{other}/restore", 422, body)
    assert said == "branches limit exceeded"
    of_free.client.delete(f"{of_free.path}/branches/{other}")
    of_free.client.post(f"{of_free.path}/branches")


def test_more_branches_than_are_included(of_launch: Project) -> None:
    """A plan that is paid for has more branches than its price includes, and says how many at most."""
    assert _at_once(of_launch, 11) == {(201, ""): 11}
    project = of_launch.client.get(of_launch.path)["project"]
    assert project["owner"]["branches_limit"] == of_launch.client.get("/users/me")["branches_limit"] == 5000


def test_protected_at_once(of_launch: Project) -> None:
    """Of several protected branches that are asked for at once, as many are granted as the plan has."""
    answers = _at_once(of_launch, 5, protected=True)
    assert answers == {(201, ""): 2, (422, "BRANCHES_PROTECTED_LIMIT_EXCEEDED"): 3}


def test_roots(of_free: Project) -> None:
    """The free plan has three roots and no more, schema-only branches and what a restore leaves among them."""
    path = f"{of_free.path}/branches"
    lsn = of_free.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    assert _at_once(of_free, 4, init_source="schema-only") == {(201, ""): 2, (422, "ROOT_BRANCHES_LIMIT_EXCEEDED"): 2}
    error = refused(of_free.client, "POST", path, 422, {"branch": {"init_source": "schema-only"}})
    assert error["message"] == "root branches limit exceeded"
    body = {"source_branch_id": of_free.main, "source_lsn": lsn, "preserve_under_name": "before"}
    error = refused(of_free.client, "POST", f"{path}/{of_free.main}/restore", 422, body)
    assert error["code"] == "ROOT_BRANCHES_LIMIT_EXCEEDED"
    of_free.client.post(path)


@pytest.mark.parametrize(("plan", "number"), [("free", 0), ("launch", 2), ("scale", 5)])
def test_protected(clients: dict[str, Client], plan: str, number: int) -> None:
    """Each plan has its number of protected branches, made so or changed to it."""
    project = clients[plan].project()
    for _ in range(number):
        project.branch(compute=False, protected=True)
    path = f"{project.path}/branches"
    body = {"branch": {"protected": True}}
    for method, where in (("POST", path), ("PATCH", f"{path}/{project.main}")):
        error = refused(project.client, method, where, 422, body)
        assert error["code"] == "BRANCHES_PROTECTED_LIMIT_EXCEEDED"
    project.client.delete(project.path)


@pytest.mark.parametrize(("plan", "default", "most"), [("free", 6, 6), ("launch", 24, 7 * 24), ("scale", 24, 30 * 24)])
def test_retention(clients: dict[str, Client], plan: str, default: int, most: int) -> None:
    """Each plan keeps the past for its time, in hours, and no longer."""
    client = clients[plan]
    project = client.project()
    assert project.made["project"]["history_retention_seconds"] == default * _HOUR
    client.patch(project.path, {"project": {"history_retention_seconds": most * _HOUR}})
    if most * _HOUR < 30 * _DAY:
        body = {"project": {"history_retention_seconds": most * _HOUR + 1}}
        assert f"at most {most * _HOUR}" in message(client, "PATCH", project.path, 422, body)
        message(client, "POST", "/projects", 422, body)
    client.delete(project.path)


@pytest.mark.parametrize(
    ("plan", "seconds", "allowed"),
    [
        ("free", 0, True),
        ("free", 300, False),
        ("free", -1, False),
        ("launch", -1, True),
        ("launch", 300, True),
        ("launch", 60, False),
        ("scale", 60, True),
        ("scale", -1, True),
        ("scale", 604_800, True),
    ],
)
def test_suspend_timeout(clients: dict[str, Client], plan: str, seconds: int, allowed: bool) -> None:
    """Each plan lets one choose its suspend timeouts, and answers 412 for others, wherever they are asked for."""
    client = clients[plan]
    project = client.project()
    endpoint = project.made["endpoints"][0]["id"]
    choice = {"suspend_timeout_seconds": seconds}
    asked: list[tuple[str, str, Any]] = [
        ("PATCH", f"{project.path}/endpoints/{endpoint}", {"endpoint": choice}),
        ("PATCH", project.path, {"project": {"default_endpoint_settings": choice}}),
        ("POST", f"{project.path}/branches", {"endpoints": [{"type": "read_write", **choice}]}),
        ("POST", f"{project.path}/endpoints", {"endpoint": {"branch_id": project.main, "type": "read_only", **choice}}),
    ]
    for method, path, body in asked:
        if allowed:
            client.ask(method, path, 201 if method == "POST" else 200, body)
        else:
            assert "suspend interval changing is not allowed" in message(client, method, path, 412, body)
    client.delete(project.path)


def test_active_endpoints(project: Project) -> None:
    """Twenty endpoints are awake at once, and those of the default branch besides."""
    branch = project.branch()["branch"]["id"]
    made = [
        project.client.post(f"{project.path}/endpoints", {"endpoint": {"branch_id": branch, "type": "read_only"}})
        for _ in range(20)
    ]
    last = f"{project.path}/endpoints/{made[-1]['endpoint']['id']}"
    project.settle()
    project.client.post(f"{last}/suspend", status=200)
    others = project.client.get(f"{project.path}/branches/{branch}/endpoints")["endpoints"]
    assert sum(one["current_state"] == "active" for one in others) == 20
    assert refused(project.client, "POST", f"{last}/start", 422)["code"] == "ACTIVE_ENDPOINTS_LIMIT_EXCEEDED"
    project.client.post(f"{project.path}/endpoints/{project.made['endpoints'][0]['id']}/start", status=200)
    project.client.post(f"{project.path}/endpoints/{others[0]['id']}/suspend", status=200)
    project.client.post(f"{last}/start", status=200)
