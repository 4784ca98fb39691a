"""Endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.api.support import message, refused

if TYPE_CHECKING:
    from tests.emulator.running import Project


def _first(project: Project) -> str:
    return f"{project.path}/endpoints/{project.made['endpoints'][0]['id']}"


def _create(project: Project, branch: str, kind: str = "read_only", **settings: Any) -> dict[str, Any]:
    body = {"endpoint": {"branch_id": branch, "type": kind} | settings}
    made: dict[str, Any] = project.client.post(f"{project.path}/endpoints", body)
    project.settle()
    return made


def _ports(project: Project) -> set[int]:
    endpoints = project.client.get(f"{project.path}/endpoints")["endpoints"]
    return {int(one["host"].removeprefix("127.0.0.1:")) for one in endpoints}


def test_defaults(project: Project) -> None:
    """An endpoint of which nothing is said is as Neon makes it."""
    endpoint = project.made["endpoints"][0]
    expected = {
        "autoscaling_limit_min_cu": 0.25,
        "autoscaling_limit_max_cu": 0.25,
        "suspend_timeout_seconds": 0,
        "provisioner": "k8s-neonvm",
        "last_active": "2000-01-01T00:00:00Z",
        "type": "read_write",
        "disabled": False,
        "proxy_host": "127.0.0.1",
    }
    assert {key: endpoint[key] for key in expected} == expected


def test_created(project: Project) -> None:
    """An endpoint can be added to a branch without one, and leads to it."""
    branch = project.branch(compute=False)["branch"]["id"]
    made = _create(project, branch, "read_write", name="main compute", settings={"pg_settings": {"a": "b"}})
    endpoint = made["endpoint"]
    assert [one["action"] for one in made["operations"]] == ["start_compute"]
    assert (endpoint["name"], endpoint["settings"]) == ("main compute", {"pg_settings": {"a": "b"}})
    listed = project.client.get(f"{project.path}/branches/{branch}/endpoints")["endpoints"]
    assert [(one["id"], one["current_state"]) for one in listed] == [(endpoint["id"], "active")]
    assert project.query("SELECT 1", branch) == [(1,)]
    assert len(_ports(project)) == 2
    assert all(1024 <= port < 32_768 for port in _ports(project))


def test_second_read_write(project: Project) -> None:
    """A branch has one endpoint that writes, and any number that read."""
    body = {"endpoint": {"branch_id": project.main, "type": "read_write"}}
    error = refused(project.client, "POST", f"{project.path}/endpoints", 422, body)
    assert (error["code"], error["message"]) == ("ENDPOINTS_LIMIT_EXCEEDED", "read_write endpoint already exists")
    reader = _create(project, project.main)["endpoint"]
    query = {"endpoint_id": reader["id"], "role_name": "neondb_owner", "database_name": "neondb"}
    uri = project.client.get(f"{project.path}/connection_uri", params=query)["uri"]
    assert reader["host"] in uri
    with psycopg.connect(uri) as session, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        session.execute("CREATE TABLE t (n int)")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"settings": {}}, "settings must not be nil"),
        ({"settings": {"pgbouncer_settings": {}}}, "settings must not be nil"),
        ({"suspend_timeout_seconds": 604_801}, "suspend_timeout_seconds"),
        ({"suspend_timeout_seconds": -2}, "suspend_timeout_seconds"),
        ({"pooler_mode": "session"}, "pooler_mode"),
        ({"name": "n" * 65}, "name"),
    ],
)
def test_malformed(project: Project, settings: dict[str, Any], said: str) -> None:
    """What no endpoint can have is answered with 400, when it is made and when it is changed."""
    whole = {"endpoint": {"branch_id": project.main, "type": "read_only"} | settings}
    assert said in message(project.client, "POST", f"{project.path}/endpoints", 400, whole)
    assert said in message(project.client, "PATCH", _first(project), 400, {"endpoint": settings})


def test_sizes(project: Project) -> None:
    """An endpoint's smallest size is not above its largest."""
    limits = {"autoscaling_limit_min_cu": 2, "autoscaling_limit_max_cu": 1}
    for method, path, more in (
        ("POST", f"{project.path}/endpoints", {"branch_id": project.main, "type": "read_only"}),
        ("PATCH", _first(project), {}),
    ):
        assert "autoscaling_limit_min_cu" in message(project.client, method, path, 422, {"endpoint": limits | more})


def test_changed(project: Project) -> None:
    """An endpoint's settings can be changed, and its address stays."""
    changes = {"name": "n", "suspend_timeout_seconds": 120, "autoscaling_limit_max_cu": 4}
    answer = project.client.patch(_first(project), {"endpoint": changes})
    assert [one["action"] for one in answer["operations"]] == ["apply_config"]
    found = project.client.get(_first(project))["endpoint"]
    assert {key: found[key] for key in changes} == changes
    assert found["host"] == project.made["endpoints"][0]["host"]


def test_disabled(project: Project) -> None:
    """A disabled endpoint lets nobody in and cannot be started, until it is enabled."""
    uri = project.uri()
    project.client.patch(_first(project), {"endpoint": {"disabled": True}})
    with pytest.raises(psycopg.OperationalError, match="disabled"):
        psycopg.connect(uri)
    assert "disabled" in message(project.client, "POST", f"{_first(project)}/start", 422)
    project.client.patch(_first(project), {"endpoint": {"disabled": False}})
    psycopg.connect(uri).close()


def test_moved(project: Project) -> None:
    """An endpoint can be moved to a branch that has none of its kind, and leads there then, at its old address."""
    full = project.branch()["branch"]["id"]
    empty = project.branch(compute=False)["branch"]["id"]
    project.query("CREATE TABLE only_in_main ()")
    error = refused(project.client, "PATCH", _first(project), 422, {"endpoint": {"branch_id": full}})
    assert error["code"] == "ENDPOINTS_LIMIT_EXCEEDED"
    uri = project.uri()
    project.client.patch(_first(project), {"endpoint": {"branch_id": empty}})
    with psycopg.connect(uri) as session:
        assert session.execute("SELECT to_regclass('only_in_main')").fetchone() == (None,)
    query = {"role_name": "neondb_owner", "database_name": "neondb"}
    assert "no read_write endpoint" in message(
        project.client, "GET", f"{project.path}/connection_uri", 404, params=query
    )


def test_suspended(project: Project) -> None:
    """A suspended endpoint has ended its sessions, and wakes when somebody connects."""
    uri = project.uri()
    with psycopg.connect(uri, autocommit=True) as session:
        answer = project.client.post(f"{_first(project)}/suspend", status=200)
        assert [one["action"] for one in answer["operations"]] == ["suspend_compute"]
        assert answer["endpoint"]["pending_state"] == "idle"
        project.settle()
        with pytest.raises(psycopg.errors.AdminShutdown):
            session.execute("SELECT 1")
    found = project.client.get(_first(project))["endpoint"]
    assert found["current_state"] == "idle"
    assert found["suspended_at"] >= found["created_at"]
    psycopg.connect(uri).close()
    assert project.client.get(_first(project))["endpoint"]["current_state"] == "active"


def test_started(project: Project) -> None:
    """A start wakes an endpoint; of one that is awake it changes nothing."""
    project.client.post(f"{_first(project)}/suspend", status=200)
    for _ in range(2):
        answer = project.client.post(f"{_first(project)}/start", status=200)
        assert [one["action"] for one in answer["operations"]] == ["start_compute"]
        project.settle()
        assert project.client.get(_first(project))["endpoint"]["current_state"] == "active"


def test_restarted(project: Project) -> None:
    """A restart ends sessions, and the endpoint is awake again."""
    with project.connect() as session:
        answer = project.client.post(f"{_first(project)}/restart", status=200)
        assert [one["action"] for one in answer["operations"]] == ["suspend_compute", "start_compute"]
        project.settle()
        with pytest.raises(psycopg.errors.AdminShutdown):
            session.execute("SELECT 1")
    assert project.client.get(_first(project))["endpoint"]["current_state"] == "active"
    assert project.query("SELECT 1") == [(1,)]


def test_deleted(project: Project) -> None:
    """A deleted endpoint is gone, and its branch stays; to delete it again is as good, and without a body."""
    uri = project.uri()
    answer = project.client.delete(_first(project))
    assert answer["endpoint"]["id"] == project.made["endpoints"][0]["id"]
    project.settle()
    assert project.client.delete(_first(project), 204) is None
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(uri)
    _create(project, project.main, "read_write")
    assert project.query("SELECT 1") == [(1,)]
