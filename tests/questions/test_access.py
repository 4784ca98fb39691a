"""Who may write where a token is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

WRITES = [("POST", "/questions"), ("PATCH", "/questions/1"), ("DELETE", "/questions/1")]
QUESTION = {"title": "Why?", "description": "Because."}


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
