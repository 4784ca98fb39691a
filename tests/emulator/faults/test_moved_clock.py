"""The API's clock, moved over HTTP: how far, what is due by then, and what is said where that fails half-way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from neon_emulator import http
from neon_emulator.clock import Clock
from neon_emulator.engine import EngineGone
from neon_emulator.routes import control
from neon_emulator.state.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.emulator.running import Client, Emulator

_DAY = 86400.0


def test_the_clock(own_emulator: Callable[..., Emulator]) -> None:
    """The clock is the machine's, is moved on by seconds or to a time, and is what the API tells."""
    api = own_emulator().client()
    clock = api.control("GET", "clock")
    assert clock["offset"] == 0
    assert abs(datetime.fromisoformat(clock["now"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert api.control("POST", "clock", {"advance": _DAY})["offset"] == _DAY
    later = datetime.fromisoformat(clock["now"]) + timedelta(days=3)
    moved = api.control("POST", "clock", {"advance_to": later.isoformat()})
    assert timedelta() <= datetime.fromisoformat(moved["now"]) - later < timedelta(minutes=1)
    assert datetime.fromisoformat(api.project().made["project"]["created_at"]) >= later - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("move", "said"),
    [
        ({"advance": -1}, "advance: the clock goes forward, to at most 315576000 seconds ahead"),
        ({"advance_to": "2020-01-01T00:00:00Z"}, "advance_to: the clock goes forward"),
        ({"advance_to": "9999-01-01T00:00:00Z"}, "advance_to: the clock goes forward, to at most"),
        ({"advance_to": "2999-01-01T00:00:00"}, "advance_to: Not a valid aware datetime"),
        ({"advance": 1e12}, "advance: the clock goes forward"),
        ({}, "advance: either advance"),
        ({"advance": 1, "advance_to": "2999-01-01T00:00:00Z"}, "advance: either advance"),
        ({"back": 1}, "back: Unknown field"),
        ([], "body: Invalid input type"),
    ],
)
def test_a_move_that_is_none(api: Client, move: object, said: str) -> None:
    """The clock is moved forward alone; anything else is refused by the name of its key, and moves nothing."""
    assert said in api.control("POST", "clock", move, status=422)["message"]
    assert api.control("GET", "clock")["offset"] == 0


def test_what_is_due_is_done(own_emulator: Callable[..., Emulator]) -> None:
    """When moving the clock is answered, what expired is deleted, idle computes sleep, and the old past is gone."""
    api = own_emulator().client()
    project = api.project(history_retention_seconds=3600)
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    project.branch(name="brief", compute=False, expires_at=expires)
    before = datetime.now(UTC).isoformat()
    project.query("CREATE TABLE goods (id int)")
    [endpoint] = api.get(f"{project.path}/endpoints")["endpoints"]
    assert endpoint["current_state"] == "active"
    api.advance(2 * _DAY)
    assert [branch["name"] for branch in project.branches()] == ["main"]
    assert api.get(f"{project.path}/endpoints/{endpoint['id']}")["endpoint"]["current_state"] == "idle"
    said = api.post(f"{project.path}/branches", {"branch": {"parent_timestamp": before}}, status=422)
    assert "outside of the history that is kept" in said["message"]


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
