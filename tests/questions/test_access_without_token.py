"""Who may write where no token is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

WRITES = [("POST", "/questions"), ("PATCH", "/questions/1"), ("DELETE", "/questions/1")]
QUESTION = {"title": "Why?", "description": "Because."}


@pytest.fixture(scope="module")
def app(app_on_branch: Callable[..., Flask]) -> Flask:
    """The application without a token."""
    return app_on_branch()


@pytest.fixture
def anonymous(app: Flask) -> FlaskClient:
    """A client that has none either."""
    return app.test_client()


@pytest.mark.parametrize(
    ("peer", "host"),
    [("127.0.0.1", "localhost:5000"), ("127.1.2.3", "127.0.0.1"), ("::1", "[::1]:5000"), ("127.0.0.1", "LOCALHOST")],
)
def test_without_a_token_sqlite_is_open_on_this_machine(
    sqlite_only: None, anonymous: FlaskClient, peer: str, host: str
) -> None:
    """A newcomer may write at once: from a loopback address, to a loopback name."""
    environ = {"REMOTE_ADDR": peer, "HTTP_HOST": host}

    assert anonymous.post("/questions", json=QUESTION, environ_overrides=environ).status_code == 201


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"REMOTE_ADDR": ""},
        {"HTTP_HOST": "questions.example"},
        {"HTTP_HOST": "localhost.example"},
        {"HTTP_HOST": "127.0.0.1.example"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_X_FORWARDED_HOST": "localhost"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"HTTP_X_REAL_IP": "127.0.0.1"},
        {"HTTP_VIA": "1.1 proxy"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "url"), WRITES)
def test_without_a_token_another_machine_may_not_write(
    anonymous: FlaskClient, method: str, url: str, environ: dict[str, str]
) -> None:
    """Behind a proxy every peer is on loopback: whatever hints at another machine closes writes, with the remedy."""
    answer = anonymous.open(url, method=method, json=QUESTION, environ_overrides=environ)

    assert answer.status_code == 403
    assert answer.content_type == "application/problem+json"
    assert "Set QUESTIONS_API_TOKEN" in answer.get_json()["detail"]
    assert "WWW-Authenticate" not in answer.headers


def test_without_a_token_postgres_is_closed_everywhere(postgres_only: None, anonymous: FlaskClient) -> None:
    """Only the sqlite environment is for a first look."""
    assert anonymous.post("/questions", json=QUESTION).status_code == 403
    assert anonymous.get("/questions").status_code == 200
