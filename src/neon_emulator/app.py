"""The API as an application."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask

from neon_emulator import http
from neon_emulator.routes import branches, control, databases, endpoints, operations, projects, roles, users
from neon_emulator.service.emulation import Emulation

if TYPE_CHECKING:
    from flask.json.provider import DefaultJSONProvider

    from neon_emulator.engine import Engine
    from neon_emulator.settings import Settings

SECTIONS = (branches, databases, endpoints, operations, projects, roles, users)


def create_app(settings: Settings, engine: Engine) -> Flask:
    """Make the API of an emulator, and take over what an earlier one has left.

    The emulator itself is in `app.extensions["neon_emulator"]`: who makes the application has to close it in the end.

    Args:
        settings: the emulator's choices.
        engine: who has the clusters and the endpoints.

    Raises:
        neon_emulator.engine.EngineError: where the engine cannot take over what is on record.
        neon_emulator.state.store.UnknownState: where another version of the emulator has written the state.
    """
    app = Flask("neon_emulator", static_folder=None)
    app.config |= {"MAX_CONTENT_LENGTH": http.LARGEST_BODY, "PROVIDE_AUTOMATIC_OPTIONS": False}
    cast("DefaultJSONProvider", app.json).sort_keys = False
    http.init_app(app)
    for section in SECTIONS:
        prefix = http.API + (section.bp.url_prefix or "")
        app.register_blueprint(section.bp, url_prefix=prefix)
    control.install(app)
    app.extensions[http.EXTENSION] = Emulation(settings, engine)
    return app
