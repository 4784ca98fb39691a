"""Whether the service is alive, and whether it can be sent requests."""

from __future__ import annotations

from questions import database
from questions.blueprints.api import JSON, Blueprint
from questions.schemas import Health

blueprint = Blueprint("health", __name__, description="Probes for whoever runs the service.")


@blueprint.route("/healthz")
@blueprint.response(200, Health, content_type=JSON)
def alive() -> dict[str, str]:
    """Whether the process answers; its database is not asked."""
    return {"status": "ok"}


@blueprint.route("/readyz")
@blueprint.response(200, Health, content_type=JSON)
@blueprint.problems(503)
def ready() -> dict[str, str]:
    """Whether the database can be reached and is migrated to what this code needs."""
    database.require_head()
    return {"status": "ok"}
