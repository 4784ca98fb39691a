"""Projects, and the URIs of their databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from neon_emulator.http import emulation, service
from neon_emulator.schemas import answers, bodies, decode, queries

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

bp = Blueprint("projects", __name__, url_prefix="/projects")


@bp.get("")
def list_projects() -> ResponseReturnValue:
    """List the projects."""
    asked = decode.query(queries.Projects())
    page, cursor = service().projects.page(search=asked["search"], limit=asked["limit"], cursor=asked.get("cursor"))
    rows = [answers.listed_project(row, emulation().settings.plan) for row in page]
    more = {"pagination": {"cursor": cursor}} if cursor else {}
    return {"projects": rows, "applications": {}, "integrations": {}, **more}


@bp.get("/shared")
def list_shared() -> ResponseReturnValue:
    """List the projects that others have shared: none."""
    decode.query(queries.Projects())
    return {"projects": []}


@bp.post("")
def create_project() -> ResponseReturnValue:
    """Make a project with its first branch, role, database and endpoint."""
    made = service().projects.create(decode.body(bodies.NewProject()))
    project = answers.project(made.project, emulation().settings.plan)
    return {"connection_uris": [], **answers.made(made), "project": project}, 201


@bp.get("/<project_id>")
def show_project(project_id: str) -> ResponseReturnValue:
    """Tell about a project."""
    return {"project": answers.project(service().projects.get(project_id), emulation().settings.plan)}


@bp.patch("/<project_id>")
def update_project(project_id: str) -> ResponseReturnValue:
    """Change a project."""
    changes = decode.body(bodies.ProjectChanges())["project"]
    row = service().projects.update(project_id, changes)
    return {"project": answers.project(row, emulation().settings.plan), "operations": []}


@bp.delete("/<project_id>")
def delete_project(project_id: str) -> ResponseReturnValue:
    """Delete a project with everything in it."""
    return {"project": answers.project(service().projects.delete(project_id), emulation().settings.plan)}


@bp.get("/<project_id>/connection_uri")
def show_connection_uri(project_id: str) -> ResponseReturnValue:
    """Tell the URI of a database."""
    asked = decode.query(queries.ConnectionUri())
    connection = service().reading.connection(
        project_id,
        branch_id=asked.get("branch_id"),
        endpoint_id=asked.get("endpoint_id"),
        role=asked["role_name"],
        database=asked["database_name"],
    )
    return {"uri": answers.uri(connection)}
