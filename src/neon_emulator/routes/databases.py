"""Databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint

from neon_emulator.http import service
from neon_emulator.schemas import answers, bodies, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask.typing import ResponseReturnValue

    from neon_emulator.service.views import DatabaseView
    from neon_emulator.state.models import Operation

bp = Blueprint("databases", __name__, url_prefix="/projects/<project_id>/branches/<branch_id>/databases")


@bp.get("")
def list_databases(project_id: str, branch_id: str) -> ResponseReturnValue:
    """List a branch's databases."""
    return {"databases": [answers.database(view) for view in service().databases.all(project_id, branch_id)]}


@bp.post("")
def create_database(project_id: str, branch_id: str) -> ResponseReturnValue:
    """Make a database."""
    asked = decode.body(bodies.NewDatabase())["database"]
    return _changed(*service().databases.create(project_id, branch_id, asked["name"], asked["owner_name"])), 201


# Names may have slashes in them.
@bp.get("/<path:name>")
def show_database(project_id: str, branch_id: str, name: str) -> ResponseReturnValue:
    """Tell about a database."""
    return {"database": answers.database(service().databases.get(project_id, branch_id, name))}


@bp.patch("/<path:name>")
def update_database(project_id: str, branch_id: str, name: str) -> ResponseReturnValue:
    """Give a database another name or another owner."""
    changes = decode.body(bodies.DatabaseChanges())["database"]
    return _changed(*service().databases.update(project_id, branch_id, name, changes))


@bp.delete("/<path:name>")
def delete_database(project_id: str, branch_id: str, name: str) -> ResponseReturnValue:
    """Delete a database; one that is not there is as good as deleted."""
    deleted = service().databases.delete(project_id, branch_id, name)
    return ("", 204) if deleted is None else _changed(*deleted)


def _changed(view: DatabaseView, operations: Sequence[Operation]) -> dict[str, Any]:
    return {"database": answers.database(view), "operations": answers.operations(operations)}
