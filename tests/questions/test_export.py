"""`flask questions export`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from questions.extensions import db

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskCliRunner

QUESTIONS = [
    {"title": "Why?", "description": "Because."},
    {"title": 'A "quoted", tít\u2028ulo', "description": "line\nline\r\nend\r \u0085 \U0001f40d"},
]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_export_gives_back_what_was_imported(
    working_directory: Path, imported: Any, runner: FlaskCliRunner, stored: Any, empty: None, suffix: str
) -> None:
    """Export, import into an empty database: the same questions, character for character."""
    (working_directory / "in.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    imported("in.jsonl")

    result = runner.invoke(args=["questions", "export", f"out.{suffix}"])

    assert (result.exit_code, result.output) == (0, "")
    with db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM questions"))
    assert imported(f"out.{suffix}").exit_code == 0
    assert stored() == [(row["title"], row["description"]) for row in QUESTIONS]
    if suffix == "jsonl":
        lines = (working_directory / "out.jsonl").read_bytes().split(b"\n")
        assert [json.loads(line) for line in lines if line] == QUESTIONS


def test_export_writes_json_lines_to_standard_output_unless_told(
    imported: Any, runner: FlaskCliRunner, empty: None
) -> None:
    """A pipe needs no options."""
    imported("-", "--format", "jsonl", input=json.dumps(QUESTIONS[0]))

    assert runner.invoke(args=["questions", "export"]).stdout == '{"title": "Why?", "description": "Because."}\n'
    assert runner.invoke(args=["questions", "export", "--format", "csv"]).stdout_bytes == (
        b"title,description\r\nWhy?,Because.\r\n"
    )
    assert runner.invoke(args=["questions", "export", "x.txt"]).exit_code == 2


def test_an_export_that_fails_leaves_the_old_file(app: Flask, runner: FlaskCliRunner, working_directory: Path) -> None:
    """A file is replaced when the new one is complete; without a database there is a message, no traceback."""
    (working_directory / "out.jsonl").write_text("old")
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE questions"))

    result = runner.invoke(args=["questions", "export", "out.jsonl"])

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database is not migrated. Run: flask --app questions db upgrade")
    assert {path.name: path.read_text() for path in working_directory.glob("out*")} == {"out.jsonl": "old"}


def test_a_file_that_cannot_be_written_is_a_message(runner: FlaskCliRunner, working_directory: Path) -> None:
    """Status 1 and the reason, no traceback."""
    result = runner.invoke(args=["questions", "export", "no/such/folder.csv"])

    assert result.exit_code == 1
    assert result.stderr == "Error: no/such/folder.csv cannot be written: No such file or directory.\n"
