"""Roles and their passwords."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint

from neon_emulator.http import service
from neon_emulator.schemas import answers, bodies, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask.typing import ResponseReturnValue

    from neon_emulator.service.views import RoleView
    from neon_emulator.state.models import Operation

bp = Blueprint("roles", __name__, url_prefix="/projects/<project_id>/branches/<branch_id>/roles")


@bp.get("")
def list_roles(project_id: str, branch_id: str) -> ResponseReturnValue:
    """List a branch's roles."""
    return {"roles": [answers.role(view) for view in service().roles.all(project_id, branch_id)]}


@bp.post("")
def create_role(project_id: str, branch_id: str) -> ResponseReturnValue:
    """Make a role, and tell its password."""
    asked = decode.body(bodies.NewRole())["role"]
    return _changed(*service().roles.create(project_id, branch_id, asked["name"], no_login=asked["no_login"])), 201


# Names may have slashes in them.
@bp.get("/<path:name>")
def show_role(project_id: str, branch_id: str, name: str) -> ResponseReturnValue:
    """Tell about a role."""
    return {"role": answers.role(service().roles.get(project_id, branch_id, name))}


@bp.delete("/<path:name>")
def delete_role(project_id: str, branch_id: str, name: str) -> ResponseReturnValue:
    """Delete a role; one that is not there is as good as deleted."""
    deleted = service().roles.delete(project_id, branch_id, name)
    return ("", 204) if deleted is None else _changed(*deleted)


@bp.get("/<path:name>/reveal_password")
def reveal_password(project_id: str, branch_id: str, name: str) -> ResponseReturnValue:
    """Tell a role's password."""
    return {"password": service().roles.reveal(project_id, branch_id, name)}


@bp.post("/<path:name>/reset_password")
def reset_password(project_id: str, branch_id: str, name: str) -> ResponseReturnValue:
    """Give a role a new password, and end its sessions."""
    return _changed(*service().roles.reset(project_id, branch_id, name))


def _changed(view: RoleView, operations: Sequence[Operation]) -> dict[str, Any]:
    return {"role": answers.role(view), "operations": answers.operations(operations)}
