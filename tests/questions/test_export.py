"""`flask questions export`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


@pytest.mark.branches(data="empty")
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_export_gives_back_what_was_imported(
    working_directory: Path, imported: Any, runner: FlaskCliRunner, stored: Any, suffix: str
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


@pytest.mark.branches(data="empty")
def test_export_writes_json_lines_to_standard_output_unless_told(imported: Any, runner: FlaskCliRunner) -> None:
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


def test_a_file_is_replaced_where_it_lies_and_as_it_was_protected(
    runner: FlaskCliRunner, working_directory: Path
) -> None:
    """A link goes on leading to it, and its mode stays: what was private is private."""
    (working_directory / "real.csv").write_text("old")
    (working_directory / "real.csv").chmod(0o600)
    (working_directory / "link.csv").symlink_to("real.csv")

    assert runner.invoke(args=["questions", "export", "link.csv"]).exit_code == 0

    assert (working_directory / "link.csv").is_symlink()
    assert (working_directory / "real.csv").read_text().startswith("title,description")
    assert stat.S_IMODE((working_directory / "real.csv").stat().st_mode) == 0o600


def test_a_pipe_is_written_to_and_not_replaced(runner: FlaskCliRunner, working_directory: Path) -> None:
    """So is a device: /dev/stdout stays what it is."""
    os.mkfifo(working_directory / "pipe.csv")
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit((working_directory / "pipe.csv").read_text)

        result = runner.invoke(args=["questions", "export", "pipe.csv"])

        assert (result.exit_code, read.result(30).splitlines()[0]) == (0, "title,description")
    assert (working_directory / "pipe.csv").is_fifo()


@pytest.mark.branches(isolation="branch")
@pytest.mark.parametrize(
    ("arguments", "redirected", "message"),
    [
        (["export", "--format", "csv"], ">/dev/full", "Error: - cannot be written: No space left on device."),
        (["export"], ">&-", "Error: - stands for standard input or output, which is closed: name a file."),
        (
            ["import", "-", "--format", "csv"],
            "<&-",
            "Error: - stands for standard input or output, which is closed: name a file.",
        ),
    ],
)
def test_a_stream_that_cannot_be_used_is_a_message(
    process_settings: None, monkeypatch: pytest.MonkeyPatch, arguments: list[str], redirected: str, message: str
) -> None:
    """Status 1 and the reason, no traceback, not even of what Python does at its end with a buffer that is full."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    command = [sys.executable, "-m", "flask", "--app", "questions", "questions", *arguments]

    ended = subprocess.run(
        ["bash", "-c", f'"$@" {redirected}', "bash", *command], capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (1, f"{message}\n")


def test_a_file_that_cannot_be_written_is_a_message(runner: FlaskCliRunner, working_directory: Path) -> None:
    """Status 1 and the reason, no traceback."""
    result = runner.invoke(args=["questions", "export", "no/such/folder.csv"])

    assert result.exit_code == 1
    assert result.stderr == "Error: no/such/folder.csv cannot be written: No such file or directory.\n"
