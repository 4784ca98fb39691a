"""Branches of a root at a point of its past."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.api.support import message

if TYPE_CHECKING:
    from tests.emulator.running import Project

_WINDOW = re.compile(
    r"outside of the history that is kept: from (\S+Z) \(LSN [0-9A-F]+/[0-9A-F]+\) to (\S+Z) \(LSN \S+\)"
)


@pytest.fixture
def history(project: Project) -> dict[str, Any]:
    """The point, as a time and as an LSN, at which a table of the project had one row of its three."""
    with project.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        row = connection.execute("SELECT clock_timestamp(), pg_current_wal_insert_lsn()::text").fetchone()
        connection.execute("INSERT INTO t VALUES (2)")
        connection.execute("INSERT INTO t VALUES (3)")
    assert row is not None
    return {"parent_timestamp": row[0].astimezone(UTC).isoformat(), "parent_lsn": row[1]}


@pytest.mark.parametrize("kind", ["parent_timestamp", "parent_lsn"])
@pytest.mark.parametrize("init_source", ["parent-data", "schema-only"])
def test_point(project: Project, history: dict[str, Any], kind: str, init_source: str) -> None:
    """A branch at a point has what was committed by then, or the tables of then."""
    made = project.branch(init_source=init_source, **{kind: history[kind]})
    count = 1 if init_source == "parent-data" else 0
    assert project.query("SELECT count(*) FROM t", made["branch"]["id"]) == [(count,)]


def test_time_is_told(project: Project, history: dict[str, Any]) -> None:
    """A branch at a time tells that time as exactly as it was named, and the LSN that it stands for."""
    branch = project.branch(compute=False, parent_timestamp=history["parent_timestamp"])["branch"]
    assert datetime.fromisoformat(branch["parent_timestamp"]) == datetime.fromisoformat(history["parent_timestamp"])
    assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", branch["parent_lsn"])


def test_passwords_of_today(project: Project, history: dict[str, Any]) -> None:
    """A branch of the past opens with its parent's passwords of today."""
    role = f"{project.path}/branches/{project.main}/roles/neondb_owner"
    old = project.made["roles"][0]["password"]
    new = project.client.post(f"{role}/reset_password", status=200)["role"]["password"]
    made = project.branch(parent_lsn=history["parent_lsn"])
    assert made["roles"][0]["password"] == new
    uri = made["connection_uris"][0]["connection_uri"]
    psycopg.connect(uri).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(uri.replace(new, old))


def test_past_of_a_protected_parent(project: Project, history: dict[str, Any]) -> None:
    """A branch of a protected parent's past has new passwords, those of roles that are gone since too."""
    roles = f"{project.path}/branches/{project.main}/roles"
    old = project.client.post(roles, {"role": {"name": "leaver"}})["role"]["password"]
    lsn = project.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    project.client.delete(f"{roles}/leaver")
    project.client.patch(f"{project.path}/branches/{project.main}", {"branch": {"protected": True}})
    made = project.branch(parent_lsn=lsn)
    passwords = {role["name"]: role["password"] for role in made["roles"]}
    uri = project.uri(made["branch"]["id"])
    psycopg.connect(uri, user="leaver", password=passwords["leaver"]).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(uri, user="leaver", password=old)


@pytest.mark.parametrize(
    "point",
    [
        {"parent_timestamp": "2001-01-01T00:00:00Z"},
        {"parent_timestamp": "2999-01-01T00:00:00+02:00"},
        {"parent_lsn": "0/100"},
        {"parent_lsn": "FFFF/0"},
    ],
)
def test_outside_of_the_window(project: Project, point: dict[str, str]) -> None:
    """A point before or after what is kept is refused, and the window is told; what it tells can be had."""
    said = message(project.client, "POST", f"{project.path}/branches", 422, {"branch": point})
    window = _WINDOW.search(said)
    assert window, said
    project.branch(compute=False, parent_timestamp=window[1])
    project.branch(compute=False, parent_timestamp=window[2])


def test_future(project: Project) -> None:
    """A time of the next minute is refused: what will be committed by then is not known."""
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    said = message(project.client, "POST", f"{project.path}/branches", 422, {"branch": {"parent_timestamp": soon}})
    assert _WINDOW.search(said)


@pytest.mark.parametrize("kind", ["parent_timestamp", "parent_lsn"])
def test_not_a_root(project: Project, history: dict[str, Any], kind: str) -> None:
    """The past of a branch with a parent is not kept, which is said."""
    child = project.branch(compute=False)["branch"]["id"]
    body = {"branch": {"parent_id": child, kind: history[kind]}}
    assert "history of root branches only" in message(project.client, "POST", f"{project.path}/branches", 422, body)


@pytest.mark.parametrize(
    ("method", "path", "lsn", "timestamp", "body"),
    [
        ("POST", "/branches", "parent_lsn", "parent_timestamp", "branch"),
        ("POST", "/branches/{main}/restore", "source_lsn", "source_timestamp", None),
        ("GET", "/branches/{main}/schema", "lsn", "timestamp", None),
        ("GET", "/branches/{main}/compare_schema", "base_lsn", "base_timestamp", None),
    ],
)
def test_two_points(project: Project, method: str, path: str, lsn: str, timestamp: str, body: str | None) -> None:
    """An LSN and a timestamp together are refused, wherever a point can be named."""
    point: dict[str, Any] = {lsn: "0/1", timestamp: "2026-01-01T00:00:00Z"}
    asked = {"params": {"db_name": "neondb", "base_branch_id": project.main} | point} if method == "GET" else {}
    point |= {"source_branch_id": project.main} if "restore" in path else {}
    given = None if method == "GET" else {body: point} if body else point
    said = message(project.client, method, project.path + path.format(main=project.main), 400, given, **asked)
    assert "exclude each other" in said
