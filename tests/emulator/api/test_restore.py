"""A branch's data replaced: reset to the parent, restored from another branch, or from its own past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.api.support import message

if TYPE_CHECKING:
    from tests.emulator.running import Project

_ROWS = "SELECT n FROM t ORDER BY n"


@pytest.fixture
def lsn(project: Project) -> str:
    """The LSN at which the main branch's table had the row 1; it has the rows 1 and 2 now."""
    with project.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        connection.execute("INSERT INTO t VALUES (2)")
    assert row is not None
    return str(row[0])


def _restore(project: Project, branch: str, **body: str) -> dict[str, Any]:
    answer: dict[str, Any] = project.client.post(f"{project.path}/branches/{branch}/restore", body, 200)
    project.settle()
    return answer


def _said(project: Project, branch: str, **body: str) -> str:
    return message(project.client, "POST", f"{project.path}/branches/{branch}/restore", 422, body)


def _parents(project: Project) -> dict[str, str | None]:
    branches = project.branches()
    names = {one["id"]: one["name"] for one in branches}
    return {one["name"]: names.get(one.get("parent_id")) for one in branches}


@pytest.mark.usefixtures("lsn")
def test_reset(project: Project) -> None:
    """A branch that is reset has its parent's data of now; its id, address and password stay, its sessions end."""
    made = project.branch(name="child")
    child, uri = made["branch"]["id"], made["connection_uris"][0]["connection_uri"]
    with psycopg.connect(uri, autocommit=True) as session:
        session.execute("DELETE FROM t")
        project.query("INSERT INTO t VALUES (3)")
        answer = _restore(project, child, source_branch_id=project.main)
        with pytest.raises(psycopg.errors.AdminShutdown):
            session.execute("SELECT 1")
    assert [one["action"] for one in answer["operations"]] == [
        "suspend_compute",
        "create_branch",
        "delete_timeline",
        "start_compute",
    ]
    branch = answer["branch"]
    assert (branch["id"], branch["current_state"], branch["pending_state"]) == (child, "resetting", "ready")
    assert branch["last_reset_at"] >= branch["created_at"]
    with psycopg.connect(uri) as session:
        assert session.execute(_ROWS).fetchall() == [(1,), (2,), (3,)]
    assert _parents(project) == {"main": None, "child": "main"}


@pytest.mark.parametrize("protected", [False, True])
def test_reset_keeps_passwords(project: Project, protected: bool) -> None:
    """What a branch's clients know keeps opening it after a reset, whatever passwords the parent has."""
    child = project.branch()["branch"]["id"]
    reset = f"{project.path}/branches/{child}/roles/neondb_owner/reset_password"
    project.client.post(reset, status=200)
    uri = project.uri(child)
    project.client.patch(f"{project.path}/branches/{project.main}", {"branch": {"protected": protected}})
    _restore(project, child, source_branch_id=project.main)
    assert project.uri(child) == uri
    psycopg.connect(uri).close()


def test_reset_with_a_backup(project: Project) -> None:
    """A reset with `preserve_under_name` keeps the branch's data as a branch of its own, and its children there."""
    project.query("CREATE TABLE t AS SELECT 1 AS n")
    child = project.branch(name="child")["branch"]["id"]
    project.query("INSERT INTO t VALUES (9)", child)
    project.branch(name="grandchild", parent_id=child, compute=False)
    assert _said(project, child, source_branch_id=project.main) == (
        "Branch has children, preserve_under_name is required"
    )
    _restore(project, child, source_branch_id=project.main, preserve_under_name="backup")
    assert _parents(project) == {"main": None, "child": "main", "backup": "main", "grandchild": "backup"}
    assert project.query(_ROWS, child) == [(1,)]
    (backup,) = [one["id"] for one in project.branches() if one["name"] == "backup"]
    assert project.client.get(f"{project.path}/branches/{backup}/endpoints")["endpoints"] == []
    project.client.post(f"{project.path}/endpoints", {"endpoint": {"branch_id": backup, "type": "read_write"}})
    assert project.query(_ROWS, backup) == [(1,), (9,)]


def test_own_past(project: Project, lsn: str) -> None:
    """A root that is restored to its own past, and what it was before, are both roots; its children move to that."""
    project.branch(name="child", compute=False)
    uri = project.uri()
    answer = _restore(
        project, project.main, source_branch_id=project.main, source_lsn=lsn, preserve_under_name="before"
    )
    assert "parent_id" not in answer["branch"]
    assert [one["action"] for one in answer["operations"]] == ["suspend_compute", "create_branch", "start_compute"]
    assert _parents(project) == {"main": None, "before": None, "child": "before"}
    with psycopg.connect(uri) as session:
        assert session.execute(_ROWS).fetchall() == [(1,)]
    (before,) = [one for one in project.branches() if one["name"] == "before"]
    assert (before["default"], before["protected"]) == (False, False)
    project.client.post(f"{project.path}/endpoints", {"endpoint": {"branch_id": before["id"], "type": "read_write"}})
    assert project.query(_ROWS, before["id"]) == [(1,), (2,)]


def test_history_goes_on(project: Project, lsn: str) -> None:
    """Both roots that a restore leaves have a past: the old one its own, the restored one from then on."""
    _restore(project, project.main, source_branch_id=project.main, source_lsn=lsn, preserve_under_name="before")
    (before,) = [one["id"] for one in project.branches() if one["name"] == "before"]
    old = project.branch(parent_id=before, parent_lsn=lsn)["branch"]["id"]
    assert project.query(_ROWS, old) == [(1,)]
    (row,) = project.query("SELECT pg_current_wal_insert_lsn()::text")
    project.query("INSERT INTO t VALUES (5)")
    new = project.branch(parent_lsn=row[0])["branch"]["id"]
    assert project.query(_ROWS, new) == [(1,)]


def test_from_another_branchs_past(project: Project, lsn: str) -> None:
    """A branch can be restored from a root's past, which becomes its parent."""
    other = project.branch(name="other", init_source="schema-only")["branch"]["id"]
    answer = _restore(project, other, source_branch_id=project.main, source_lsn=lsn)
    assert answer["branch"]["parent_id"] == project.main
    assert project.query(_ROWS, other) == [(1,)]
    said = message(project.client, "DELETE", f"{project.path}/branches/{project.main}", 422)
    assert said.startswith("cannot delete")
    body = {"branch": {"parent_id": other, "parent_lsn": lsn}}
    assert "root branches only" in message(project.client, "POST", f"{project.path}/branches", 422, body)


@pytest.mark.usefixtures("lsn")
def test_from_a_child(project: Project) -> None:
    """A parent can be restored from its child, which becomes the parent; the child's own parent is the backup then."""
    child = project.branch(name="child")["branch"]["id"]
    project.query("DELETE FROM t WHERE n = 1", child)
    assert "preserve_under_name" in _said(project, project.main, source_branch_id=child)
    _restore(project, project.main, source_branch_id=child, preserve_under_name="before")
    assert _parents(project) == {"main": "child", "child": "before", "before": None}
    assert project.query(_ROWS) == [(2,)]
    project.client.patch(f"{project.path}/branches/{project.main}", {"branch": {"name": "still the default"}})


def test_from_a_protected_branch(project: Project) -> None:
    """Roles that only a protected source has come with new passwords."""
    roles = f"{project.path}/branches/{project.main}/roles"
    child = project.branch()["branch"]["id"]
    secret = project.client.post(roles, {"role": {"name": "secret"}})["role"]["password"]
    project.client.patch(f"{project.path}/branches/{project.main}", {"branch": {"protected": True}})
    _restore(project, child, source_branch_id=project.main)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(project.uri(child), user="secret", password=secret)
    psycopg.connect(project.uri(child, role="secret")).close()


def test_from_a_protected_branchs_past(project: Project) -> None:
    """Roles that a protected source once had come with new passwords as well."""
    roles = f"{project.path}/branches/{project.main}/roles"
    child = project.branch()["branch"]["id"]
    old = project.client.post(roles, {"role": {"name": "leaver"}})["role"]["password"]
    lsn = project.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    project.client.delete(f"{roles}/leaver")
    project.client.patch(f"{project.path}/branches/{project.main}", {"branch": {"protected": True}})
    _restore(project, child, source_branch_id=project.main, source_lsn=lsn)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(project.uri(child), user="leaver", password=old)
    psycopg.connect(project.uri(child, role="leaver")).close()


def test_own_past_refused(project: Project, lsn: str) -> None:
    """A restore from itself needs a point, a name for what was, and a root."""
    main = project.main
    said = _said(project, main, source_branch_id=main, preserve_under_name="before")
    assert "source_timestamp or source_lsn is required" in said
    assert "preserve_under_name is required" in _said(project, main, source_branch_id=main, source_lsn=lsn)
    child = project.branch(compute=False)["branch"]["id"]
    said = _said(project, child, source_branch_id=child, source_lsn=lsn, preserve_under_name="before")
    assert "history of root branches only" in said
    assert len(project.branches()) == 2


def test_outside_of_the_window(project: Project) -> None:
    """A restore to a point that is not kept is refused, and changes nothing."""
    body = {"source_branch_id": project.main, "source_lsn": "FFFF/0", "preserve_under_name": "before"}
    assert "outside of the history" in _said(project, project.main, **body)
    assert _parents(project) == {"main": None}
    assert project.query("SELECT 1") == [(1,)]


def test_protected_target(project: Project) -> None:
    """A protected branch cannot be reset."""
    child = project.branch(compute=False, protected=True)["branch"]["id"]
    assert _said(project, child, source_branch_id=project.main) == "cannot reset protected branch"


def test_expiring_source(project: Project) -> None:
    """A branch that expires cannot become a parent by a restore either."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    expiring = project.branch(compute=False, expires_at=soon)["branch"]["id"]
    other = project.branch(compute=False)["branch"]["id"]
    assert "expires, and cannot have children" in _said(project, other, source_branch_id=expiring)


def test_unknown_source(project: Project) -> None:
    """A source that is not there is not found."""
    body = {"source_branch_id": "br-no-such-00000000"}
    message(project.client, "POST", f"{project.path}/branches/{project.main}/restore", 404, body)
    message(project.client, "POST", f"{project.path}/branches/{project.main}/restore", 400, {})
