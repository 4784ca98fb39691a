"""Schemas, and how they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.emulator.api.support import message

if TYPE_CHECKING:
    from tests.emulator.running import Project


def _schema(project: Project, branch: str, **query: str) -> str:
    path = f"{project.path}/branches/{branch}/schema"
    return str(project.client.get(path, params={"db_name": "neondb"} | query)["sql"])


def _diff(project: Project, branch: str, **query: str) -> str:
    path = f"{project.path}/branches/{branch}/compare_schema"
    return str(project.client.get(path, params={"db_name": "neondb"} | query)["diff"])


def test_schema(project: Project) -> None:
    """The schema of a branch is what pg_dump writes, without rows, and always the same text."""
    project.query("CREATE TABLE shop AS SELECT 'secret row' AS n")
    text = _schema(project, project.main)
    assert "CREATE TABLE public.shop" in text
    assert "secret row" not in text
    assert "restrict" not in text
    assert _schema(project, project.main) == text


def test_schema_of_the_past(project: Project) -> None:
    """A root's schema can be told as of a time and as of an LSN."""
    with project.connect() as session:
        row: Any = session.execute("SELECT clock_timestamp(), pg_current_wal_insert_lsn()::text").fetchone()
        session.execute("CREATE TABLE later ()")
    assert "later" in _schema(project, project.main)
    for point in ({"timestamp": row[0].isoformat()}, {"lsn": row[1]}):
        assert "later" not in _schema(project, project.main, **point)
        assert "+CREATE TABLE public.later" in _diff(
            project, project.main, base_branch_id=project.main, **{f"base_{key}": one for key, one in point.items()}
        )


def test_difference(project: Project) -> None:
    """A comparison is a unified diff from the parent, or the branch that is named, to the branch."""
    child = project.branch()["branch"]["id"]
    assert not _diff(project, child)
    project.query("CREATE TABLE extra (n int)", child)
    lines = _diff(project, child).splitlines()
    assert lines[:2] == ["--- a/neondb", "+++ b/neondb"]
    assert "+CREATE TABLE public.extra (" in lines
    backwards = _diff(project, project.main, base_branch_id=child).splitlines()
    assert "-CREATE TABLE public.extra (" in backwards


def test_difference_in_a_function(project: Project) -> None:
    """A line of a comparison ends where the schema's does, whatever a function's text is made of."""
    child = project.branch()["branch"]["id"]
    project.query("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$SELECT 'a\fb\u2028c'$$", child)
    lines = _diff(project, child).split("\n")
    assert any("a\fb\u2028c" in line for line in lines)
    assert all(line[:1] in {"+", "-", " ", "@", ""} for line in lines)


def test_sleeping_branch(project: Project) -> None:
    """The schema of a branch without an endpoint, or with one that sleeps, can be told too."""
    child = project.branch(compute=False)["branch"]["id"]
    endpoint = project.made["endpoints"][0]["id"]
    project.client.post(f"{project.path}/endpoints/{endpoint}/suspend", status=200)
    project.settle()
    assert not _diff(project, child)
    found = project.client.get(f"{project.path}/endpoints/{endpoint}")["endpoint"]
    assert found["current_state"] == "idle"


def test_refused(project: Project) -> None:
    """What has no schema, no parent or no past is refused, and so is another format."""
    child = project.branch(compute=False)["branch"]["id"]
    main = f"{project.path}/branches/{project.main}"
    query = {"db_name": "neondb"}
    message(project.client, "GET", f"{main}/schema", 400)
    assert 'database_name:"none"' in message(project.client, "GET", f"{main}/schema", 404, params={"db_name": "none"})
    assert "as json" in message(project.client, "GET", f"{main}/schema", 501, params=query | {"format": "json"})
    said = message(project.client, "GET", f"{main}/compare_schema", 400, params=query)
    assert "base_branch_id is required" in said
    path = f"{project.path}/branches/{child}/schema"
    said = message(project.client, "GET", path, 422, params=query | {"timestamp": "2026-01-01T00:00:00Z"})
    assert "root branches only" in said
    said = message(project.client, "GET", f"{main}/schema", 422, params=query | {"lsn": "FFFF/0"})
    assert "outside of the history" in said
