"""Operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from neon_emulator.http import service
from neon_emulator.schemas import answers, decode, queries

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

bp = Blueprint("operations", __name__, url_prefix="/projects/<project_id>/operations")


@bp.get("")
def list_operations(project_id: str) -> ResponseReturnValue:
    """List a project's operations, the newest first."""
    asked = decode.query(queries.Operations())
    page, cursor = service().reading.operations(project_id, limit=asked.get("limit"), cursor=asked.get("cursor"))
    more = {"pagination": {"cursor": cursor}} if cursor else {}
    return {"operations": answers.operations(page), **more}


@bp.get("/<operation_id>")
def show_operation(project_id: str, operation_id: str) -> ResponseReturnValue:
    """Tell about an operation."""
    return {"operation": answers.operation(service().reading.operation(project_id, operation_id))}
