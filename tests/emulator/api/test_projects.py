"""Projects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.api.support import message, refused, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulator.running import Client, Project


@pytest.fixture(scope="module")
def empty() -> Iterator[Client]:
    """An emulator in which no other test has made a project."""
    yield from running()


def test_created(project: Project) -> None:
    """A new project has a default branch, a role, a database and an endpoint, and says where to connect."""
    made = project.made
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{8}", project.id)
    assert re.fullmatch(r"br-[a-z]+-[a-z]+-[a-z0-9]{8}", project.main)
    assert (made["branch"]["name"], made["branch"]["default"], made["branch"]["current_state"]) == (
        "main",
        True,
        "init",
    )
    assert [one["name"] for one in made["roles"]] == ["neondb_owner"]
    assert [(one["name"], one["owner_name"]) for one in made["databases"]] == [("neondb", "neondb_owner")]
    assert [(one["action"], one["status"]) for one in made["operations"]] == [
        ("create_timeline", "running"),
        ("start_compute", "scheduling"),
    ]
    (endpoint,) = made["endpoints"]
    assert re.fullmatch(r"ep-[a-z]+-[a-z]+-[a-z0-9]{8}", endpoint["id"])
    (uri,) = made["connection_uris"]
    with psycopg.connect(uri["connection_uri"]) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("neondb_owner", "neondb")
    parameters = uri["connection_parameters"]
    assert parameters["host"] == parameters["pooler_host"] == endpoint["host"]
    assert parameters["password"] == made["roles"][0]["password"]
    assert uri["connection_uri"].endswith("/neondb?sslmode=require&channel_binding=require")


def test_operations_end(project: Project) -> None:
    """A new project's operations finish, and its branch is ready then."""
    assert [(one["action"], one["status"]) for one in project.operations()] == [
        ("start_compute", "finished"),
        ("create_timeline", "finished"),
    ]
    branch = project.client.get(f"{project.path}/branches/{project.main}")["branch"]
    assert branch["current_state"] == "ready"
    assert "pending_state" not in branch


def test_chosen_names(api: Client) -> None:
    """The first branch, role and database have the names that were asked for."""
    branch = {"name": "trunk", "role_name": "o'neil", "database_name": "shop data", "annotations": {"k": "v"}}
    project = api.project(branch=branch, name="n")
    assert project.made["branch"]["name"] == "trunk"
    assert api.get(f"{project.path}/branches/{project.main}")["annotation"]["value"] == {"k": "v"}
    with psycopg.connect(project.made["connection_uris"][0]["connection_uri"]) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("o'neil", "shop data")
    api.delete(project.path)


@pytest.mark.parametrize(
    ("branch", "status"),
    [
        ({"role_name": "pg_x"}, 422),
        ({"role_name": "neon_superuser"}, 422),
        ({"role_name": ""}, 400),
        ({"role_name": "ä" * 32}, 400),
        ({"database_name": "postgres"}, 422),
        ({"database_name": "d" * 64}, 400),
    ],
)
def test_refused_names(api: Client, branch: dict[str, str], status: int) -> None:
    """A name that Postgres would refuse, or cut off, is refused, and named."""
    assert next(iter(branch.values())) in message(api, "POST", "/projects", status, {"project": {"branch": branch}})


def test_pg_version(api: Client) -> None:
    """A version that the emulator does not run is refused, and the one that it runs named."""
    there = api.project(name="v")
    version = there.made["project"]["pg_version"]
    api.delete(there.path)
    said = message(api, "POST", "/projects", 422, {"project": {"pg_version": 17 if version != 17 else 16}})
    assert f"runs on Postgres {version}" in said


def test_changed(project: Project) -> None:
    """A project's name, settings and window of the past can be changed, together or one by one."""
    settings: dict[str, Any] = {"allowed_ips": {"ips": []}}
    changes = {"name": "new", "settings": settings, "history_retention_seconds": 60}
    answer = project.client.patch(project.path, {"project": changes})
    assert answer["operations"] == []
    changed = project.client.get(project.path)["project"]
    assert {key: changed[key] for key in changes} == changes
    project.client.patch(project.path, {"project": {"default_endpoint_settings": {"suspend_timeout_seconds": 60}}})
    changed = project.client.get(project.path)["project"]
    assert (changed["name"], changed["default_endpoint_settings"]) == ("new", {"suspend_timeout_seconds": 60})


def test_deleted(api: Client) -> None:
    """A deleted project is gone, with its branches and their endpoints."""
    project = api.project()
    uri = project.uri()
    assert api.delete(project.path)["project"]["id"] == project.id
    message(api, "GET", project.path, 404)
    message(api, "DELETE", project.path, 404)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(uri)


def test_defaults_for_endpoints(api: Client) -> None:
    """What a project says about endpoints holds for those that say nothing."""
    defaults = {"autoscaling_limit_min_cu": 1, "autoscaling_limit_max_cu": 2, "suspend_timeout_seconds": 120}
    project = api.project(default_endpoint_settings=defaults)
    assert {key: project.made["endpoints"][0][key] for key in defaults} == defaults
    assert {key: project.branch()["endpoints"][0][key] for key in defaults} == defaults
    api.delete(project.path)


def test_without_stored_passwords(api: Client) -> None:
    """A project that does not store passwords tells them once, and has children with the same ones."""
    project = api.project(store_passwords=False)
    (uri,) = project.made["connection_uris"]
    made = project.branch(name="child")
    assert "connection_uris" not in made
    assert "password" not in made["roles"][0]
    path = f"{project.path}/branches/{project.main}/roles/neondb_owner/reveal_password"
    assert "does not store passwords" in message(api, "GET", path, 412)
    child = uri["connection_uri"].replace(uri["connection_parameters"]["host"], made["endpoints"][0]["host"])
    psycopg.connect(child).close()
    api.delete(project.path)


def test_pages(empty: Client) -> None:
    """Projects come in pages, the newest first; the cursor is never empty, and the page after the last one is."""
    assert empty.get("/projects") == {"projects": [], "applications": {}, "integrations": {}}
    ids = [empty.project(name=f"p{number}").id for number in range(3)]
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while page := empty.get("/projects", params=query):
        assert page["pagination"]["cursor"]
        if not page["projects"]:
            break
        found += [one["id"] for one in page["projects"]]
        assert len(found) <= len(ids)
        query["cursor"] = page["pagination"]["cursor"]
    assert found == ids[::-1]
    assert [one["id"] for one in empty.get("/projects", params={"search": "P1"})["projects"]] == [ids[1]]
    assert [one["id"] for one in empty.get("/projects", params={"search": ids[2][-8:]})["projects"]] == [ids[2]]
    for project_id in ids:
        empty.delete(f"/projects/{project_id}")


def test_shared(api: Client) -> None:
    """Nobody shares projects with the emulator's user."""
    assert api.get("/projects/shared", params={"limit": 100}) == {"projects": []}


def test_error_after_a_refusal(api: Client) -> None:
    """A refused project leaves nothing behind."""
    before = len(api.get("/projects", params={"limit": 400})["projects"])
    limits = {"autoscaling_limit_min_cu": 4, "autoscaling_limit_max_cu": 1}
    refused(api, "POST", "/projects", 422, {"project": limits})
    assert len(api.get("/projects", params={"limit": 400})["projects"]) == before
