"""What is answered where Postgres fails at what the API has asked of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from flask import Flask

from neon_emulator import http

if TYPE_CHECKING:
    from tests.emulator.running import Project

_GONE = "the branch's Postgres has ended meanwhile: try again"


def _answered(error: psycopg.Error) -> tuple[int, str]:
    """The status and the message of a request that fails so; its body has the API's shape."""
    app = Flask("failing")
    http.init_app(app)

    @app.get("/")
    def fail() -> str:
        raise error

    answer = app.test_client().get("/")
    body: dict[str, Any] = answer.json or {}
    assert body.keys() == {"request_id", "code", "message"}
    return answer.status_code, body["message"]


@pytest.mark.parametrize("error", [psycopg.OperationalError, psycopg.errors.AdminShutdown])
def test_a_server_that_has_ended(error: type[psycopg.Error]) -> None:
    """Only who was lost is worth another try, and the answer says so."""
    assert _answered(error("server closed the connection")) == (HTTPStatus.SERVICE_UNAVAILABLE, _GONE)


@pytest.mark.parametrize("error", [psycopg.errors.DiskFull, psycopg.errors.LockNotAvailable, psycopg.DataError])
def test_a_server_that_fails(error: type[psycopg.Error]) -> None:
    """Any other failure is told as it is, and nobody is asked to try again."""
    assert _answered(error("no room")) == (HTTPStatus.INTERNAL_SERVER_ERROR, "no room")


def test_the_words_of_a_server(project: Project) -> None:
    """Of what Postgres says its message is told, without the statement and where in it the mistake is."""
    with project.connect() as session, pytest.raises(psycopg.Error) as caught:
        session.execute("SELECT 1 / 0")
    assert _answered(caught.value) == (HTTPStatus.INTERNAL_SERVER_ERROR, "division by zero")
