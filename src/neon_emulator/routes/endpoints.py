"""Endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint

from neon_emulator.http import service
from neon_emulator.schemas import answers, bodies, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask.typing import ResponseReturnValue

    from neon_emulator.service.views import EndpointView
    from neon_emulator.state.models import Operation

bp = Blueprint("endpoints", __name__, url_prefix="/projects/<project_id>")


@bp.get("/endpoints")
def list_endpoints(project_id: str) -> ResponseReturnValue:
    """List a project's endpoints."""
    return {"endpoints": [answers.endpoint(view) for view in service().endpoints.all(project_id)]}


@bp.get("/branches/<branch_id>/endpoints")
def list_branch_endpoints(project_id: str, branch_id: str) -> ResponseReturnValue:
    """List a branch's endpoints."""
    return {"endpoints": [answers.endpoint(view) for view in service().endpoints.all(project_id, branch_id)]}


@bp.post("/endpoints")
def create_endpoint(project_id: str) -> ResponseReturnValue:
    """Make an endpoint for a branch."""
    return _changed(*service().endpoints.create(project_id, decode.body(bodies.NewEndpoint()))), 201


@bp.get("/endpoints/<endpoint_id>")
def show_endpoint(project_id: str, endpoint_id: str) -> ResponseReturnValue:
    """Tell about an endpoint."""
    return {"endpoint": answers.endpoint(service().endpoints.get(project_id, endpoint_id))}


@bp.patch("/endpoints/<endpoint_id>")
def update_endpoint(project_id: str, endpoint_id: str) -> ResponseReturnValue:
    """Change an endpoint's settings, or move it to another branch."""
    changes = decode.body(bodies.EndpointChanges())["endpoint"]
    return _changed(*service().endpoints.update(project_id, endpoint_id, changes))


@bp.delete("/endpoints/<endpoint_id>")
def delete_endpoint(project_id: str, endpoint_id: str) -> ResponseReturnValue:
    """Delete an endpoint; one that is not there is as good as deleted."""
    deleted = service().endpoints.delete(project_id, endpoint_id)
    return ("", 204) if deleted is None else _changed(*deleted)


@bp.post("/endpoints/<endpoint_id>/start")
def start_endpoint(project_id: str, endpoint_id: str) -> ResponseReturnValue:
    """Wake an endpoint."""
    return _changed(*service().endpoints.start(project_id, endpoint_id))


@bp.post("/endpoints/<endpoint_id>/suspend")
def suspend_endpoint(project_id: str, endpoint_id: str) -> ResponseReturnValue:
    """End an endpoint's sessions and let it sleep."""
    return _changed(*service().endpoints.suspend(project_id, endpoint_id))


@bp.post("/endpoints/<endpoint_id>/restart")
def restart_endpoint(project_id: str, endpoint_id: str) -> ResponseReturnValue:
    """End an endpoint's sessions and start it anew."""
    return _changed(*service().endpoints.restart(project_id, endpoint_id))


def _changed(view: EndpointView, operations: Sequence[Operation]) -> dict[str, Any]:
    return {"endpoint": answers.endpoint(view), "operations": answers.operations(operations)}
