"""Databases, and the URIs that lead to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from tests.emulator.api.support import message, refused

if TYPE_CHECKING:
    from tests.emulator.running import Project


def _databases(project: Project) -> str:
    return f"{project.path}/branches/{project.main}/databases"


def _create(project: Project, name: str, owner: str = "neondb_owner") -> dict[str, Any]:
    made: dict[str, Any] = project.client.post(_databases(project), {"database": {"name": name, "owner_name": owner}})
    project.settle()
    return made


@pytest.mark.parametrize("name", ["shop", "With Space", "sl/ash", 'quo"te', "ü%20"])
def test_created(project: Project, name: str) -> None:
    """A database can be used by its owner, and is listed beside the first one."""
    made = _create(project, name)
    assert [one["action"] for one in made["operations"]] == ["apply_config"]
    path = f"{_databases(project)}/{quote(name, safe='')}"
    assert project.client.get(path)["database"] == made["database"]
    listed = project.client.get(_databases(project))["databases"]
    assert {one["name"] for one in listed} == {"neondb", name}
    with project.connect(database=name) as session:
        assert session.execute("SELECT current_database()").fetchone() == (name,)
        row = session.execute("SELECT oid::bigint FROM pg_database WHERE datname = current_database()").fetchone()
        assert row == (made["database"]["id"],)
        session.execute("CREATE TABLE t ()")


def test_of_another_owner(project: Project) -> None:
    """A database belongs to the role that it was made for."""
    project.client.post(f"{project.path}/branches/{project.main}/roles", {"role": {"name": "other"}})
    assert _create(project, "others", "other")["database"]["owner_name"] == "other"
    with project.connect(database="others", role="other") as session:
        session.execute("CREATE TABLE t ()")


def test_made_by_sql(project: Project) -> None:
    """A database that SQL has made is listed, as old as its branch."""
    project.query("CREATE DATABASE by_sql")
    found = project.client.get(f"{_databases(project)}/by_sql")["database"]
    assert (found["owner_name"], found["created_at"]) == ("neondb_owner", project.made["branch"]["created_at"])


def test_renamed(project: Project) -> None:
    """A database can get another name, which ends the sessions in it; its id stays."""
    before = project.client.get(f"{_databases(project)}/neondb")["database"]
    with project.connect() as session:
        answer = project.client.patch(f"{_databases(project)}/neondb", {"database": {"name": "new name"}})
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    after = answer["database"]
    assert (after["name"], after["id"], after["created_at"]) == ("new name", before["id"], before["created_at"])
    message(project.client, "GET", f"{_databases(project)}/neondb", 404)
    project.connect(database="new name").close()


def test_given_away(project: Project) -> None:
    """A database can get another owner, with another name or without."""
    project.client.post(f"{project.path}/branches/{project.main}/roles", {"role": {"name": "heir"}})
    path = f"{_databases(project)}/neondb"
    assert project.client.patch(path, {"database": {"owner_name": "heir"}})["database"]["owner_name"] == "heir"
    both = {"database": {"name": "x", "owner_name": "neondb_owner"}}
    found = project.client.patch(path, both)["database"]
    assert (found["name"], found["owner_name"]) == ("x", "neondb_owner")
    unchanged = project.client.patch(f"{_databases(project)}/x", {"database": {}})["database"]
    assert (unchanged["name"], unchanged["owner_name"]) == ("x", "neondb_owner")


def test_deleted(project: Project) -> None:
    """A deleted database is gone, whoever is in it; to delete it again is as good, and without a body."""
    _create(project, "gone")
    with project.connect(database="gone") as session:
        project.client.delete(f"{_databases(project)}/gone")
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert project.client.delete(f"{_databases(project)}/gone", 204) is None
    message(project.client, "GET", f"{_databases(project)}/gone", 404)


def test_taken(project: Project) -> None:
    """A name that a database has cannot be given again, to a new one or to another."""
    project.query("CREATE DATABASE by_sql")
    body = {"database": {"name": "by_sql", "owner_name": "neondb_owner"}}
    for method, path in (("POST", _databases(project)), ("PATCH", f"{_databases(project)}/neondb")):
        assert message(project.client, method, path, 409, body) == 'database already exists; database_name:"by_sql"'


@pytest.mark.parametrize("name", ["postgres", "template0", "template1"])
def test_reserved(project: Project, name: str) -> None:
    """Postgres's own databases are neither shown nor deleted, and their names are reserved."""
    body = {"database": {"name": name, "owner_name": "neondb_owner"}}
    assert f'"{name}" is reserved' in message(project.client, "POST", _databases(project), 422, body)
    message(project.client, "GET", f"{_databases(project)}/{name}", 404)
    assert project.client.delete(f"{_databases(project)}/{name}", 204) is None


def test_unknown(project: Project) -> None:
    """An owner, and a database, that is not there is not found."""
    body = {"database": {"name": "x", "owner_name": "nobody"}}
    assert 'role_name:"nobody"' in message(project.client, "POST", _databases(project), 404, body)
    assert 'role_name:"nobody"' in message(project.client, "PATCH", f"{_databases(project)}/neondb", 404, body)
    assert 'database_name:"none"' in message(project.client, "PATCH", f"{_databases(project)}/none", 404, body)
    message(project.client, "POST", _databases(project), 400, {"database": {"name": "x"}})


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"branch_id": "br-no-such-00000000"}, 404),
        ({"endpoint_id": "ep-no-such-00000000"}, 404),
        ({"role_name": "nobody"}, 404),
        ({"database_name": "none"}, 404),
        ({"branch_id": "br no such"}, 400),
        ({"pooled": "perhaps"}, 400),
    ],
)
def test_uri_of_nothing(project: Project, changed: dict[str, str], status: int) -> None:
    """There is no URI of what is not there."""
    query = {"role_name": "neondb_owner", "database_name": "neondb"} | changed
    refused(project.client, "GET", f"{project.path}/connection_uri", status, params=query)


def test_uri(project: Project) -> None:
    """A URI is that of the default branch, of a branch that is named, or of an endpoint; pooled or not."""
    child = project.branch()
    query = {"role_name": "neondb_owner", "database_name": "neondb"}
    path = f"{project.path}/connection_uri"
    own = project.made["connection_uris"][0]["connection_uri"]
    assert project.client.get(path, params=query)["uri"] == own
    assert project.client.get(path, params=query | {"pooled": "true"})["uri"] == own
    childs = child["connection_uris"][0]["connection_uri"]
    endpoint = child["endpoints"][0]["id"]
    assert project.client.get(path, params=query | {"branch_id": child["branch"]["id"]})["uri"] == childs
    assert project.client.get(path, params=query | {"endpoint_id": endpoint})["uri"] == childs
    mixed = query | {"endpoint_id": endpoint, "branch_id": project.main}
    message(project.client, "GET", path, 404, params=mixed)
