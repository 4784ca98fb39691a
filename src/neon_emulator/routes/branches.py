"""Branches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint

from neon_emulator.errors import NotEmulated
from neon_emulator.http import service
from neon_emulator.schemas import answers, bodies, decode, queries
from neon_emulator.service.wishes import Moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask.typing import ResponseReturnValue

    from neon_emulator.state.models import Branch, Operation

bp = Blueprint("branches", __name__, url_prefix="/projects/<project_id>/branches")


@bp.get("")
def list_branches(project_id: str) -> ResponseReturnValue:
    """List a project's branches."""
    return answers.branch_page(service().branches.page(project_id, decode.query(queries.Branches())))


@bp.get("/count")
def count_branches(project_id: str) -> ResponseReturnValue:
    """Count a project's branches."""
    return {"count": service().branches.count(project_id, decode.query(queries.Search())["search"])}


@bp.post("")
def create_branch(project_id: str) -> ResponseReturnValue:
    """Make a branch, with endpoints or without."""
    return answers.made(service().branches.create(project_id, decode.body(bodies.NewBranch(), required=False))), 201


@bp.get("/<branch_id>")
def show_branch(project_id: str, branch_id: str) -> ResponseReturnValue:
    """Tell about a branch."""
    row = service().branches.get(project_id, branch_id)
    return {"branch": answers.branch(row), "annotation": answers.annotation(row)}


@bp.patch("/<branch_id>")
def update_branch(project_id: str, branch_id: str) -> ResponseReturnValue:
    """Change a branch's name, its protection or its expiry."""
    changes = decode.body(bodies.BranchChanges())["branch"]
    return _changed(*service().branches.update(project_id, branch_id, changes))


@bp.delete("/<branch_id>")
def delete_branch(project_id: str, branch_id: str) -> ResponseReturnValue:
    """Delete a branch; one that is not there is as good as deleted."""
    deleted = service().branches.delete(project_id, branch_id)
    return ("", 204) if deleted is None else _changed(*deleted)


@bp.post("/<branch_id>/restore")
def restore_branch(project_id: str, branch_id: str) -> ResponseReturnValue:
    """Replace a branch's data by another's, or by its own of the past."""
    return _changed(*service().branches.restore(project_id, branch_id, decode.body(bodies.Restore())))


@bp.post("/<branch_id>/set_as_default")
def set_default_branch(project_id: str, branch_id: str) -> ResponseReturnValue:
    """Make a branch the default one."""
    return _changed(*service().branches.set_default(project_id, branch_id))


@bp.get("/<branch_id>/schema")
def show_schema(project_id: str, branch_id: str) -> ResponseReturnValue:
    """Tell the schema of a database, as pg_dump writes it."""
    asked = decode.query(queries.SchemaOf())
    if asked["format"] != "sql":
        raise NotEmulated(f"the emulator tells a schema as sql, and not as {asked['format']}")
    at = Moment(asked.get("lsn"), asked.get("timestamp"))
    return {"sql": service().reading.schema(project_id, branch_id, asked["db_name"], at)}


@bp.get("/<branch_id>/compare_schema")
def compare_schema(project_id: str, branch_id: str) -> ResponseReturnValue:
    """Tell how the schema of a database differs from another branch's."""
    asked = decode.query(queries.Comparison())
    at = Moment(asked.get("lsn"), asked.get("timestamp"))
    base_at = Moment(asked.get("base_lsn"), asked.get("base_timestamp"))
    base = asked.get("base_branch_id")
    diff = service().reading.compare(project_id, branch_id, asked["db_name"], at=at, base_id=base, base_at=base_at)
    return {"diff": diff}


def _changed(row: Branch, operations: Sequence[Operation]) -> dict[str, Any]:
    return {"branch": answers.branch(row), "operations": answers.operations(operations)}
