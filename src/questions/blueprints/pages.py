"""The HTML pages: for now, the page of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, redirect, url_for
from flask_swagger_ui import get_swaggerui_blueprint

if TYPE_CHECKING:
    from werkzeug import Response

blueprint = Blueprint("pages", __name__)

# Swagger UI from the installed package, and no validator of somebody else's: the page works without the internet.
docs = get_swaggerui_blueprint(
    "/docs", "../openapi.json", config={"app_name": "Questions", "validatorUrl": None}, blueprint_name="docs"
)


@blueprint.get("/")
def home() -> Response:
    """Lead to the page of the API."""
    return redirect(url_for("docs.show"))
