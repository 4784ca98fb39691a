"""What the stories of this folder begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from questions.extensions import db
from questions.models import Question

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result
    from flask import Flask
    from flask.testing import FlaskClient, FlaskCliRunner

    from flask_branches import Branch


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


@pytest.fixture
def unreachable_url(branch: Branch, working_directory: Path) -> sa.URL:
    """Where there is no database, and what nobody should be shown."""
    if branch.backend == "sqlite":
        return sa.URL.create("sqlite", database=str(working_directory / "no_such_folder" / "q.sqlite"))
    return sa.make_url(branch.url).set(database="no_such_database", password="hunter2")


@pytest.fixture
def process_settings(environment: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead the processes that a test starts to its database."""
    monkeypatch.setenv("QUESTIONS_CONFIG", environment)
    if environment == "neon":
        monkeypatch.setenv("BRANCHES_BACKEND", "postgres")
    monkeypatch.setenv("DATABASE_URL", database_url)


@pytest.fixture
def stored(app: Flask) -> Callable[[], list[tuple[str, str]]]:
    """What is in the database, title and description in order of id."""

    def read() -> list[tuple[str, str]]:
        with app.app_context():
            return [
                (row.title, row.description)
                for row in db.session.execute(sa.select(Question.title, Question.description).order_by(Question.id))
            ]

    return read


@pytest.fixture
def imported(runner: FlaskCliRunner) -> Callable[..., Result]:
    """Run `flask questions import`."""
    return lambda *arguments, **named: runner.invoke(args=["questions", "import", *arguments], **named)
