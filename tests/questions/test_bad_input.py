"""Everything that is refused: its status, its problem, and nothing stored."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from questions.extensions import db
from questions.models import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

JSON = "application/json"
LENGTH = "Must be 1 to 100 characters long when trimmed."
NUL = "Holds a NUL character, which cannot be stored."
SURROGATE = "Holds a lone surrogate, which cannot be stored."


@pytest.fixture(autouse=True)
def nothing_stored(client: FlaskClient) -> Any:
    """Hold every test of this file to it: whatever was refused left no row."""
    count = sa.select(sa.func.count()).select_from(Question)
    before = db.session.scalar(count)
    db.session.rollback()
    yield
    db.session.rollback()
    assert db.session.scalar(count) == before


def assert_problem(answer: TestResponse, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    body = answer.get_json()
    assert (body["type"], body["title"], body["status"]) == ("about:blank", HTTPStatus(status).phrase, status)
    assert "Traceback" not in answer.text
    assert "SELECT" not in answer.text
    return dict(body)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "The body is empty; send a JSON object."),
        (b"{", "The body is not JSON: Expecting property name enclosed in double quotes at line 1, column 2."),
        (b'{"title": "\xff"}', "The body is not JSON that can be read."),
        (b"[" * 100_000, "The body is not JSON that can be read."),
        (b'{"title": ' + b"9" * 5_000 + b"}", "The body is not JSON that can be read."),
    ],
    ids=["no body", "malformed", "not UTF-8", "nested too deeply", "a number too long to read"],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_body_that_cannot_be_read_is_400(
    client: FlaskClient, a_question: str, method: str, body: bytes, detail: str
) -> None:
    """What is no JSON is malformed, whichever way it is none."""
    url = "/questions" if method == "POST" else a_question

    answer = client.open(url, method=method, data=body, content_type=JSON)

    assert assert_problem(answer, 400)["detail"] == detail


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", None])
def test_a_body_of_another_kind_is_415(client: FlaskClient, content_type: str | None) -> None:
    """JSON has to be declared, so that no HTML form of another site can post it."""
    body = json.dumps({"title": "Why?", "description": "Because."})

    answer = client.post("/questions", data=body, content_type=content_type)

    problem = assert_problem(answer, 415)
    assert problem["detail"] == "The body must be JSON; send it with Content-Type: application/json."


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"title": ""}, {"title": [LENGTH]}),
        ({"title": " \t\u3000"}, {"title": [LENGTH]}),
        ({"title": "x" * 101}, {"title": [LENGTH]}),
        ({"title": None}, {"title": ["Field may not be null."]}),
        ({"title": 7}, {"title": ["Not a valid string."]}),
        ({"title": ["x"]}, {"title": ["Not a valid string."]}),
        ({"title": "a\x00b"}, {"title": [NUL]}),
        ({"title": "a\ud800b"}, {"title": [SURROGATE]}),
        ({"description": ""}, {"description": ["Must not be blank."]}),
        ({"description": "\n\u2003"}, {"description": ["Must not be blank."]}),
        ({"description": "x" * 20_001}, {"description": ["Longer than maximum length 20000."]}),
        ({"description": None}, {"description": ["Field may not be null."]}),
        ({"description": "x\x00"}, {"description": [NUL]}),
        ({"description": "\udfff"}, {"description": [SURROGATE]}),
        ({"id": 7}, {"id": ["Unknown field."]}),
        ({"version": 7}, {"version": ["Unknown field."]}),
        ({"a\ud800": 7}, {"a\ufffd": ["Unknown field."]}),
        ({"title": "", "description": ""}, {"title": [LENGTH], "description": ["Must not be blank."]}),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_wrong_field_is_422_by_its_name(
    client: FlaskClient, a_question: str, method: str, change: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    """Each wrong field is named, with what it must be."""
    url = "/questions" if method == "POST" else a_question
    body = {"title": "Why?", "description": "Because.", **change}

    answer = client.open(url, method=method, json=body)

    problem = assert_problem(answer, 422)
    assert problem["errors"] == errors
    assert problem["detail"] == f"Not as described: {', '.join(sorted(errors))}."


@pytest.mark.parametrize("missing", ["title", "description"])
def test_a_missing_field_is_422(client: FlaskClient, missing: str) -> None:
    """A question needs both its fields."""
    body = {"title": "Why?", "description": "Because."}
    del body[missing]

    problem = assert_problem(client.post("/questions", json=body), 422)

    assert problem["errors"] == {missing: ["Missing data for required field."]}


@pytest.mark.parametrize("body", [[], "title", 7, True, None])
def test_json_that_is_no_object_is_422(client: FlaskClient, body: object) -> None:
    """The body is an object."""
    problem = assert_problem(client.post("/questions", data=json.dumps(body), content_type=JSON), 422)

    assert list(problem["errors"]) == ["body"]


@pytest.mark.parametrize("size", [262_145, 10_000_000])
def test_a_body_over_the_limit_is_413(client: FlaskClient, size: int) -> None:
    """A body is not read beyond the limit, valid or not."""
    answer = client.post("/questions", data=b" " * size, content_type=JSON)

    assert_problem(answer, 413)


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("limit=0", {"limit": ["Must be greater than or equal to 1 and less than or equal to 200."]}),
        ("limit=201", {"limit": ["Must be greater than or equal to 1 and less than or equal to 200."]}),
        ("limit=x", {"limit": ["Not a valid integer."]}),
        ("limit=", {"limit": ["Not a valid integer."]}),
        ("limit=1_0", {"limit": ["Not a valid integer."]}),
        ("limit=%D9%A3", {"limit": ["Not a valid integer."]}),
        ("limit=" + "9" * 5000, {"limit": ["Not a valid integer."]}),
        ("limit=1&limit=2", {"limit": ["Given more than once."]}),
        ("after=-1", {"after": [f"Must be greater than or equal to 0 and less than or equal to {2**63 - 1}."]}),
        (f"after={2**63}", {"after": [f"Must be greater than or equal to 0 and less than or equal to {2**63 - 1}."]}),
        ("page=2", {"page": ["Unknown field."]}),
        ("%FF=1", {"\ufffd": ["Unknown field."]}),
        ("q=a%00b", {"q": [NUL]}),
        ("q=%ED%A0%80", {"q": [SURROGATE]}),
        ("q=\xff", {"q": [SURROGATE]}),
        ("q=" + "x" * 201, {"q": ["Longer than maximum length 200."]}),
    ],
)
def test_a_wrong_parameter_is_422_by_its_name(client: FlaskClient, query: str, errors: dict[str, list[str]]) -> None:
    """Parameters are as strict as fields: unknown ones are refused, and q holds nothing that no driver takes."""
    answer = client.get("/questions", environ_overrides={"QUERY_STRING": query})

    assert assert_problem(answer, 422)["errors"] == errors


@pytest.mark.parametrize(
    ("method", "url", "allowed"),
    [
        ("PUT", "/questions", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("DELETE", "/questions", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("POST", "/questions/1", {"GET", "HEAD", "OPTIONS", "PATCH", "DELETE"}),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_405_with_those_that_are_right(
    client: FlaskClient, method: str, url: str, allowed: set[str]
) -> None:
    """The answer says what the URL can do (RFC 9110, 15.5.6)."""
    answer = client.open(url, method=method)

    assert_problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_an_unknown_url_is_404(client: FlaskClient) -> None:
    """There, too, the error has the one shape."""
    assert_problem(client.get("/answers"), 404)


@pytest.fixture
def a_question(ask: Callable[..., dict[str, Any]], nothing_stored: None, client: FlaskClient) -> Any:
    """The URL of a question that is there to be changed, and still is as it was when the test is over."""
    url = ask("Before", "Before")["url"]
    yield url
    assert client.get(url).get_json()["title"] == "Before"
    client.delete(url)
