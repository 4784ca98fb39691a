"""The service as a customer of the extension: its settings, its commands, its tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_branches import ConfigurationError, IsolationError
from flask_branches.binding import bound
from questions import ConfigError, create_app
from questions.extensions import branches, db
from questions.models import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskCliRunner

    from flask_branches import Branch


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BRANCHES_EXPIRY", "BRANCHES_EXPIRY in the environment is not a setting. Did you mean BRANCHES_EXPIRE?"),
        ("BRANCHES_EXPIRE", "BRANCHES_EXPIRE 'soon' is not a duration: write for example 30m, 12h or 7d."),
    ],
)
def test_a_wrong_setting_of_the_branches_is_one_of_ours(
    monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    """So that `flask` and gunicorn show it as a message, whichever command it is."""
    monkeypatch.setenv(name, "soon")

    with pytest.raises(ConfigError) as error:
        create_app()

    assert error.value.message == message


def test_a_branch_is_the_service_s_database_over_again(bare_url: str, other_app: Callable[..., Flask]) -> None:
    """Made by a command, it answers with what its parent had, and keeps what is written to it to itself."""
    runner = other_app(bare_url).test_cli_runner()
    question = json.dumps({"title": "Why?", "description": "Of both."})
    assert runner.invoke(args=["db", "upgrade"]).exit_code == 0
    assert runner.invoke(args=["questions", "import", "-", "--format", "jsonl"], input=question).exit_code == 0

    assert runner.invoke(args=["branches", "create", "try-it"]).exit_code == 0
    try:
        url = runner.invoke(args=["branches", "url", "try-it"]).stdout.strip()
        branched = other_app(url).test_cli_runner()
        assert branched.invoke(args=["questions", "export"]).stdout == f"{question}\n"
        assert branched.invoke(args=["questions", "import", "--sample"]).exit_code == 0
        assert runner.invoke(args=["questions", "export"]).stdout == f"{question}\n"
    finally:
        assert runner.invoke(args=["branches", "delete", "try-it"]).exit_code == 0


def test_main_is_what_the_application_was_configured_with(
    branch: Branch, own_branch: Branch, other_app: Callable[..., Flask]
) -> None:
    """Also where the first question for it is asked while the application works on a branch, which goes later."""
    app = other_app(branch.url)

    with bound(app, own_branch), app.app_context():
        main = branches.databases.default.main

    assert main.database == sa.make_url(branch.url).database


def test_an_application_that_connects_its_own_way_is_refused_a_branch(
    branch: Branch, own_branch: Branch, other_app: Callable[..., Flask]
) -> None:
    """Its tests would else change its own database, and nobody would know."""
    app = other_app(branch.url)

    def connect(dialect: Any, _entry: object, arguments: list[Any], named: dict[str, Any]) -> Any:
        return dialect.connect(*arguments, **named)

    with app.app_context():
        sa.event.listen(db.engine, "do_connect", connect)

    with (
        bound(app, own_branch),
        app.app_context(),
        pytest.raises(ConfigurationError, match="a do_connect listener that connects by itself, and cannot be led"),
    ):
        db.session.execute(sa.text("SELECT 1"))


def test_a_command_of_a_test_has_a_session_of_its_own(app: Flask, runner: FlaskCliRunner, word: str) -> None:
    """It cannot see what the test has not committed: on one connection that is an error, and no wrong answer."""
    db.session.add(Question(title=word, description="Not yet."))
    db.session.flush()

    with pytest.raises(IsolationError, match="changes that are not committed"):
        runner.invoke(args=["questions", "export"])
