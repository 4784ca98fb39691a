"""Roles and their passwords."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from tests.emulator.api.support import message

if TYPE_CHECKING:
    from tests.emulator.running import Project


def _roles(project: Project) -> str:
    return f"{project.path}/branches/{project.main}/roles"


def _create(project: Project, name: str, **options: Any) -> dict[str, Any]:
    made: dict[str, Any] = project.client.post(_roles(project), {"role": {"name": name} | options})
    project.settle()
    return made


@pytest.mark.parametrize("name", ["reader", "With Space", "sl/ash", 'quo"te', "ü%20"])
def test_created(project: Project, name: str) -> None:
    """A role can log in with the password that its creation tells, and that can be asked for again."""
    made = _create(project, name)
    assert [one["action"] for one in made["operations"]] == ["apply_config"]
    password = made["role"]["password"]
    path = f"{_roles(project)}/{quote(name, safe='')}"
    assert project.client.get(f"{path}/reveal_password") == {"password": password}
    role = project.client.get(path)["role"]
    assert (role["name"], role["branch_id"], "password" in role) == (name, project.main, False)
    with psycopg.connect(project.uri(role=name)) as session:
        assert session.execute("SELECT current_user").fetchone() == (name,)


def test_rights(project: Project) -> None:
    """A role may do what Neon's may: make databases and roles, read and write others' tables; it is no superuser."""
    _create(project, "second")
    project.query("CREATE TABLE t AS SELECT 1 AS n")
    with project.connect(role="second") as session:
        session.execute("CREATE DATABASE made")
        session.execute("CREATE ROLE made")
        session.execute("INSERT INTO t VALUES (2)")
        assert session.execute("SELECT count(*) FROM t").fetchone() == (2,)
        assert session.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("COPY t TO PROGRAM 'true'")


def test_no_login(project: Project) -> None:
    """A role that cannot log in has no password, until it is given one."""
    assert "password" not in _create(project, "group", no_login=True)["role"]
    said = message(project.client, "GET", f"{_roles(project)}/group/reveal_password", 404)
    assert "password not found" in said
    assert project.query("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'group'") == [(False,)]


def test_made_by_sql(project: Project) -> None:
    """A role that SQL has made is listed, as old as its branch; its password is not known until it is reset."""
    project.query("CREATE ROLE by_sql LOGIN PASSWORD 'mine'")
    roles = {one["name"]: one for one in project.client.get(_roles(project))["roles"]}
    assert roles.keys() == {"neondb_owner", "by_sql"}
    assert roles["by_sql"]["created_at"] == project.made["branch"]["created_at"]
    path = f"{_roles(project)}/by_sql"
    assert "reset the password" in message(project.client, "GET", f"{path}/reveal_password", 404)
    new = project.client.post(f"{path}/reset_password", status=200)["role"]["password"]
    assert project.client.get(f"{path}/reveal_password") == {"password": new}
    psycopg.connect(project.uri(role="by_sql")).close()


def test_reset(project: Project) -> None:
    """A reset tells a new password, ends the role's sessions and nobody else's, and the old one is worth nothing."""
    _create(project, "other")
    uri = project.uri()
    with project.connect() as own, project.connect(role="other") as other:
        answer = project.client.post(f"{_roles(project)}/neondb_owner/reset_password", status=200)
        assert [one["action"] for one in answer["operations"]] == ["apply_config"]
        with pytest.raises(psycopg.errors.AdminShutdown):
            own.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)
    assert answer["role"]["password"] not in uri
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(uri)
    psycopg.connect(uri, password=answer["role"]["password"]).close()


def test_reset_stays_in_its_branch(project: Project) -> None:
    """A child's password that is reset leaves its parent's alone."""
    child = project.branch()["branch"]["id"]
    project.client.post(f"{project.path}/branches/{child}/roles/neondb_owner/reset_password", status=200)
    psycopg.connect(project.made["connection_uris"][0]["connection_uri"]).close()
    psycopg.connect(project.uri(child)).close()
    assert project.uri(child).split("@")[0] != project.uri().split("@")[0]


def test_deleted(project: Project) -> None:
    """A deleted role is gone with its sessions; to delete it again is as good, and without a body."""
    _create(project, "leaver")
    uri = project.uri(role="leaver")
    with psycopg.connect(uri, autocommit=True) as session:
        project.client.delete(f"{_roles(project)}/leaver")
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert project.client.delete(f"{_roles(project)}/leaver", 204) is None
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(uri)
    message(project.client, "GET", f"{_roles(project)}/leaver", 404)


def test_owner_stays(project: Project) -> None:
    """A role that owns something cannot be deleted, and what it owns is told."""
    said = message(project.client, "DELETE", f"{_roles(project)}/neondb_owner", 422)
    assert "owner of database neondb" in said
    psycopg.connect(project.uri()).close()


def test_taken(project: Project) -> None:
    """A name that a role has cannot be given again, whoever has made the role."""
    project.query("CREATE ROLE by_sql")
    for name in ("neondb_owner", "by_sql"):
        assert "already exists" in message(project.client, "POST", _roles(project), 409, {"role": {"name": name}})


@pytest.mark.parametrize("name", ["cloud_admin", "neon_superuser", "pg_monitor", "public", "none"])
def test_reserved(project: Project, name: str) -> None:
    """The names of Postgres and of the emulator itself are reserved, and their roles are not shown."""
    assert f'"{name}" is reserved' in message(project.client, "POST", _roles(project), 422, {"role": {"name": name}})
    message(project.client, "GET", f"{_roles(project)}/{name}", 404)
    message(project.client, "POST", f"{_roles(project)}/{name}/reset_password", 404)
    assert project.client.delete(f"{_roles(project)}/{name}", 204) is None


@pytest.mark.parametrize("name", ["", "n" * 64, "a\x00b", 7, None])
def test_malformed(project: Project, name: Any) -> None:
    """What is no name is answered with 400."""
    message(project.client, "POST", _roles(project), 400, {"role": {"name": name}})


def test_limit(project: Project) -> None:
    """A branch has 500 roles and no more."""
    project.query("DO $$ BEGIN FOR i IN 1..499 LOOP EXECUTE format('CREATE ROLE r%s', i); END LOOP; END $$")
    assert message(project.client, "POST", _roles(project), 422, {"role": {"name": "x"}}) == "roles limit exceeded"
    project.client.delete(f"{_roles(project)}/r1")
    _create(project, "x")
