"""What the stories of this folder begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient, FlaskCliRunner


@pytest.fixture
def word() -> str:
    """A word that no other row has, so that a search finds this test's questions alone."""
    return uuid4().hex


@pytest.fixture
def ask(client: FlaskClient) -> Callable[..., dict[str, Any]]:
    """Ask a question over HTTP; gives its fields, its ETag and its URL."""

    def ask(title: str = "Why?", description: str = "Because.") -> dict[str, Any]:
        answer = client.post("/questions", json={"title": title, "description": description})
        assert answer.status_code == 201, answer.text
        return {**answer.get_json(), "etag": answer.headers["ETag"], "url": answer.headers["Location"]}

    return ask


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """Run a command of the application."""
    return app.test_cli_runner()
