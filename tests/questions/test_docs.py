"""The description of the API, its page, and the written documents: each complete."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

import questions
from questions import NeonConfig, errors
from questions.config import known_variables
from questions.settings_files import SELECTORS
from questions.shipped import shipped

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

CHECKOUT = shipped("config").parent
README = (CHECKOUT / "README.md").read_text("utf-8")


@pytest.fixture
def description(client: FlaskClient) -> dict[str, Any]:
    """The OpenAPI description."""
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    return dict(answer.get_json())


def test_every_route_of_the_api_is_described(app: Flask, description: dict[str, Any]) -> None:
    """And nothing that is not there."""
    routes = {
        (re.sub(r"<[^:]+:(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("questions.", "health."))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    described = {
        (path, method) for path, item in description["paths"].items() for method in item if method != "parameters"
    }
    assert described == routes


def test_every_error_is_described_as_problem_json(description: dict[str, Any]) -> None:
    """A client can rely on one shape."""
    for path in description["paths"].values():
        for method, operation in path.items():
            if method == "parameters":
                continue
            for status, response in operation["responses"].items():
                if status.isdigit() and int(status) >= 400:
                    name = response.get("$ref", "").split("/")[-1]
                    found = description["components"]["responses"].get(name, response)
                    assert list(found["content"]) == ["application/problem+json"], (path, method, status)
                    schema = found["content"]["application/problem+json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}


def test_writes_are_described_with_their_token(description: dict[str, Any]) -> None:
    """So the page has a place to enter it."""
    assert description["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    for path in description["paths"].values():
        for method, operation in path.items():
            if method in {"post", "patch", "delete"}:
                assert operation["security"] == [{"token": []}]
            elif method == "get":
                assert "security" not in operation


def test_the_page_of_the_api_needs_nothing_from_elsewhere(client: FlaskClient) -> None:
    """/ leads to /docs, and all that the page loads comes from the service itself."""
    assert client.get("/").headers["Location"] == "/docs/"
    page = client.get("/docs", follow_redirects=True)

    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) >= 4
    for url in loaded:
        assert url.startswith("/docs/")
        with client.get(url) as file:
            assert file.status_code == 200
    assert '"url": "../openapi.json"' in page.text
    assert '"validatorUrl": null' in page.text


def test_every_error_class_has_a_status_and_stands_in_the_tree() -> None:
    """No domain error can reach the caller as 500 for want of a row."""
    classes = {
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.QuestionsError)
    }

    assert set(errors.STATUS) == classes - {errors.QuestionsError}
    assert errors.__doc__
    for each in classes:
        assert each.__name__ in errors.__doc__


def test_the_exported_names_are_complete_and_sorted() -> None:
    """What the package exports is what it imports."""
    public = {name for name, value in vars(questions).items() if isinstance(value, type) or name == "create_app"}

    assert questions.__all__ == sorted(public)


@pytest.mark.parametrize("name", sorted(known_variables() | {*SELECTORS, "WEB_CONCURRENCY", "WEB_THREADS", "PORT"}))
def test_every_setting_is_in_the_readme_and_the_example(name: str) -> None:
    """A setting that nobody can find is none."""
    assert f"`{name}`" in README
    if not name.startswith(("WEB_", "PORT")):
        assert re.search(rf"^{name}=$", (shipped("config") / "env.example").read_text("utf-8"), re.MULTILINE)


def test_the_shipped_toml_files_hold_only_fields() -> None:
    """They stand where the README says, and hold no key that the classes do not know."""
    for name in ("sqlite", "postgres", "neon"):
        keys = tomllib.loads((shipped("config") / f"{name}.toml").read_text("utf-8"))
        assert set(keys) <= set(NeonConfig.model_fields)
