"""How long a compute is waited for."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
import stamina

from flask_branches import DatabaseFailed
from flask_branches.backends.neon import waking

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries: no other time passes."""
    made: list[float] = []
    clock = SimpleNamespace(sleep=made.append, monotonic=lambda: sum(made))
    monkeypatch.setattr(waking, "time", clock)
    return made


@pytest.fixture
def nobody() -> Iterator[sa.URL]:
    """Where a port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield sa.make_url(f"postgresql+psycopg://someone:hunter2@127.0.0.1:{taken.getsockname()[1]}/db")


@pytest.fixture
def silent() -> Iterator[sa.URL]:
    """Where connections are taken, and nothing is said until half a minute is over."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        end = threading.Timer(30, listening.close)
        end.start()
        yield sa.make_url(f"postgresql+psycopg://someone:hunter2@127.0.0.1:{listening.getsockname()[1]}/db")
        end.cancel()


def test_it_is_tried_again_while_there_is_patience(nobody: sa.URL, pauses: list[float]) -> None:
    """Whatever an application's tests have told stamina; no pause goes beyond the end."""
    stamina.set_active(False)
    try:
        with pytest.raises(DatabaseFailed, match=r"cannot be reached"):
            waking.await_answer(nobody, {}, 1.0)
    finally:
        stamina.set_active(True)

    assert len(pauses) > 1
    assert sum(pauses) < 1.0


def test_a_parent_that_says_nothing_is_given_up(silent: sa.URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the driver's own limit, as a branch is."""
    monkeypatch.setattr(waking, "_CONNECT_SECONDS", 2)

    with pytest.raises(DatabaseFailed, match="timeout"):
        waking.copy_revision(silent, silent, {})
