"""The database that a newcomer never has to make."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
import sqlalchemy as sa
from flask.cli import run_command
from flask_migrate import stamp

from questions import create_app
from questions.extensions import db

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask import Flask

pytestmark = pytest.mark.usefixtures("sqlite_only")

FILE = "instance/questions.sqlite"


@pytest.fixture
def fresh() -> Iterator[Flask]:
    """An application that was told of no database."""
    app = create_app("sqlite")
    yield app
    with app.app_context():
        db.engine.dispose()


def test_the_first_request_makes_and_migrates_the_database(fresh: Flask, working_directory: Path) -> None:
    """A newcomer's first request is answered, and the file lies under instance/ in the working directory, alone."""
    assert not (working_directory / "instance").exists()

    answer = fresh.test_client().get("/questions")

    assert (answer.status_code, answer.get_json()) == (200, [])
    assert fresh.test_client().get("/readyz").status_code == 200
    with fresh.app_context():
        db.engine.dispose()
    assert [file.name for file in (working_directory / "instance").iterdir()] == ["questions.sqlite"]


def test_the_made_file_can_be_read_while_somebody_writes(fresh: Flask) -> None:
    """It is in WAL mode, which stays with the file."""
    fresh.test_client().get("/questions")

    with fresh.app_context(), db.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_making_the_application_or_asking_whether_it_lives_makes_no_database(
    fresh: Flask, working_directory: Path
) -> None:
    """`flask --help` and a probe of life leave nothing behind."""
    assert fresh.test_client().get("/healthz").status_code == 200
    assert not (working_directory / "instance").exists()


def test_flask_run_makes_the_database_before_it_serves(working_directory: Path) -> None:
    """Under `flask run` the file is there before the first request."""
    with click.Context(run_command):
        app = create_app("sqlite")

    assert (working_directory / FILE).is_file()
    with app.app_context():
        db.engine.dispose()


def test_a_file_behind_the_code_is_refused_and_kept(fresh: Flask, working_directory: Path) -> None:
    """Data that is kept is never migrated unasked: requests get 503, `flask run` an error, both with the remedy."""
    client = fresh.test_client()
    client.post("/questions", json={"title": "Kept", "description": "Kept."})
    with fresh.app_context():
        stamp(revision="base")
        db.engine.dispose()
    before = (working_directory / FILE).read_bytes()

    later = create_app("sqlite")
    answer = later.test_client().get("/questions")

    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    detail = "The database is at no revision, this code needs 0001. Run: flask --app questions db upgrade"
    assert answer.get_json()["detail"] == detail
    with click.Context(run_command), pytest.raises(click.ClickException) as error:
        create_app("sqlite")
    assert error.value.message == detail
    with later.app_context():
        db.engine.dispose()
    assert (working_directory / FILE).read_bytes() == before


def test_many_first_starts_at_once_find_one_database(working_directory: Path) -> None:
    """Of eight processes that start at the same moment one makes the file, and every one is answered."""
    code = """if True:
        import os
        from questions import create_app
        for _ in range(3):
            os.fork()
        status = create_app().test_client().post("/questions", json={}).status_code
        os.write(1, b"%d " % status)
    """

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.split() == ["422"] * 8, ended.stderr
    left = {file.name.removesuffix("-wal").removesuffix("-shm") for file in (working_directory / "instance").iterdir()}
    assert left == {"questions.sqlite"}


def test_a_folder_that_cannot_be_made_is_503(fresh: Flask, working_directory: Path) -> None:
    """A file where the folder should be: the service says that it has no database, without a traceback."""
    (working_directory / "instance").write_text("in the way")

    answer = fresh.test_client().get("/questions")

    assert answer.status_code == 503
    assert "instance" in answer.get_json()["detail"]


def test_a_database_that_was_named_is_never_migrated_unasked(databases: object, working_directory: Path) -> None:
    """Only the application's own database is made for it."""
    app = create_app(databases.config(sa.URL.create("sqlite", database=str(working_directory / "named.sqlite"))))  # type: ignore[attr-defined]

    answer = app.test_client().get("/questions")

    assert answer.status_code == 503
    assert answer.get_json()["detail"] == "The database is not migrated. Run: flask --app questions db upgrade"
    with app.app_context():
        db.engine.dispose()
