"""What is reached over HTTP: one blueprint per resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from questions.blueprints import health, pages, questions
from questions.blueprints.api import Api

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["register_blueprints"]


def register_blueprints(app: Flask) -> None:
    """Add every blueprint, and the OpenAPI description of those that are the API's."""
    app.url_map.converters["id"] = questions.Id
    api = Api(app)
    api.describe_bearer_token()
    for blueprint in (questions.blueprint, health.blueprint):
        api.register_blueprint(blueprint)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(pages.docs)
