"""A move of the clock that is made, while not all that is due by then is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from flask import Flask

from neon_emulator import http
from neon_emulator.clock import Clock
from neon_emulator.engine import EngineGone
from neon_emulator.routes import control
from neon_emulator.state.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def test_a_move_that_fails_half_way(tmp_path: Path) -> None:
    """Who is told to try again is told how, since the same move would be made twice, or is over."""
    store = Store(tmp_path / "state.db")
    app = Flask("moved")
    http.init_app(app)
    control.install(app)

    def tick() -> None:
        raise EngineGone("The supervisor has ended: try again.")

    settings = SimpleNamespace(api_key="key")
    app.extensions[http.EXTENSION] = SimpleNamespace(clock=Clock(store), settings=settings, tick=tick)
    client, key = app.test_client(), {"Authorization": "Bearer key"}
    answer = client.post("/_emulator/clock", json={"advance": 60}, headers=key)
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["message"] == (
        "The supervisor has ended: try again. The clock was moved before: "
        'send {"advance": 0}, since the same request would move it further, or be refused.'
    )
    assert app.extensions[http.EXTENSION].clock.offset == 60
    store.close()
