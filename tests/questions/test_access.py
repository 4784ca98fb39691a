"""Who may write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from questions import create_app
from questions.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa
    from flask import Flask
    from flask.testing import FlaskClient

WRITES = [("POST", "/questions"), ("PATCH", "/questions/1"), ("DELETE", "/questions/1")]
QUESTION = {"title": "Why?", "description": "Because."}


@pytest.fixture
def open_client(databases: Any, database_url: sa.URL) -> Iterator[FlaskClient]:
    """A client of an application without a token."""
    app: Flask = create_app(databases.config(database_url))
    yield app.test_client()
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(("method", "url"), WRITES)
@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer a-token-for-tests-and-more",
        "Bearer \xe9",
        "Basic YTpiLXRva2VuLWZvci10ZXN0cw==",
        "a-token-for-tests",
    ],
)
def test_a_write_without_the_token_is_401(client: FlaskClient, method: str, url: str, authorization: str) -> None:
    """A missing or wrong token is refused before the request is read, with the way to authenticate."""
    answer = client.open(url, method=method, data=b"{", environ_overrides={"HTTP_AUTHORIZATION": authorization})

    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="questions"'
    assert "token" in answer.get_json()["detail"]


def test_reads_need_no_token(app: Flask, ask: Callable[..., dict[str, Any]]) -> None:
    """The token is for writes."""
    url = ask()["url"]
    anonymous = app.test_client()

    assert anonymous.get(url).status_code == 200
    assert anonymous.head(url).status_code == 200
    assert anonymous.options(url).status_code == 200
    assert anonymous.get("/questions").status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_whatever_its_case(app: Flask, scheme: str) -> None:
    """RFC 9110, 11.1: the name of a scheme is case-insensitive."""
    headers = {"Authorization": f"{scheme} a-token-for-tests"}

    assert app.test_client().post("/questions", json=QUESTION, headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("peer", "host"),
    [("127.0.0.1", "localhost:5000"), ("127.1.2.3", "127.0.0.1"), ("::1", "[::1]:5000"), ("127.0.0.1", "LOCALHOST")],
)
def test_without_a_token_sqlite_is_open_on_this_machine(
    sqlite_only: None, open_client: FlaskClient, peer: str, host: str
) -> None:
    """A newcomer may write at once: from a loopback address, to a loopback name."""
    environ = {"REMOTE_ADDR": peer, "HTTP_HOST": host}

    assert open_client.post("/questions", json=QUESTION, environ_overrides=environ).status_code == 201


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
    open_client: FlaskClient, method: str, url: str, environ: dict[str, str]
) -> None:
    """Behind a proxy every peer is on loopback: whatever hints at another machine closes writes, with the remedy."""
    answer = open_client.open(url, method=method, json=QUESTION, environ_overrides=environ)

    assert answer.status_code == 403
    assert answer.content_type == "application/problem+json"
    assert "Set QUESTIONS_API_TOKEN" in answer.get_json()["detail"]
    assert "WWW-Authenticate" not in answer.headers


def test_without_a_token_postgres_is_closed_everywhere(postgres_only: None, open_client: FlaskClient) -> None:
    """Only the sqlite environment is for a first look."""
    assert open_client.post("/questions", json=QUESTION).status_code == 403
    assert open_client.get("/questions").status_code == 200
