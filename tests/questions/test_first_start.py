"""The database that a newcomer never has to make."""

from __future__ import annotations

import errno
import os
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
    from collections.abc import Callable, Iterator
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
    detail = "The database is at no revision, this code needs 0002. Run: flask --app questions db upgrade"
    assert answer.get_json()["detail"] == detail
    command = [sys.executable, "-m", "flask", "--app", "questions", "run", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, f"Error: {detail}")
    assert "Traceback" not in ended.stderr
    with later.app_context():
        db.engine.dispose()
    assert (working_directory / FILE).read_bytes() == before


def test_a_file_ahead_of_the_code_is_refused_with_another_remedy(fresh: Flask) -> None:
    """Migrating would not help: this code knows no way from there."""
    client = fresh.test_client()
    client.get("/questions")
    with fresh.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    answer = client.get("/readyz")

    assert answer.status_code == 503
    detail = "The database is at 9999, which this code does not know. Run the newer code that made it."
    assert answer.get_json()["detail"] == detail


def test_the_command_that_migrates_makes_the_folder_too(fresh: Flask, working_directory: Path) -> None:
    """`flask db upgrade` is what every error recommends: it works before anything else did."""
    result = fresh.test_cli_runner().invoke(args=["db", "upgrade"])

    assert result.exit_code == 0, result.output
    assert (working_directory / FILE).is_file()
    assert fresh.test_client().get("/readyz").status_code == 200


def test_a_folder_of_any_name_will_do(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is no part of a URL: what means something there is an ordinary character here."""
    odd = working_directory / "q?3%41#x y"
    odd.mkdir()
    monkeypatch.chdir(odd)

    app = create_app("sqlite")

    assert app.test_client().get("/questions").status_code == 200
    with app.app_context():
        db.engine.dispose()
    assert [path.name for path in working_directory.iterdir()] == [odd.name]
    assert [path.name for path in (odd / "instance").iterdir()] == ["questions.sqlite"]


def test_a_file_system_without_hard_links_gets_another_way(
    fresh: Flask, working_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start says what to run instead, and that is enough."""

    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)

    answer = fresh.test_client().get("/questions")

    assert answer.status_code == 503
    assert answer.get_json()["detail"] == (
        f"{working_directory / FILE} cannot be put in place: Operation not permitted. "
        "Make it with: flask --app questions db upgrade"
    )
    assert fresh.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    assert fresh.test_client().get("/questions").status_code == 200


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


def test_a_database_that_was_named_is_never_migrated_unasked(
    other_app: Callable[..., Flask], working_directory: Path
) -> None:
    """Only the application's own database is made for it."""
    app = other_app(sa.URL.create("sqlite", database=str(working_directory / "named.sqlite")))

    answer = app.test_client().get("/questions")

    assert answer.status_code == 503
    assert answer.get_json()["detail"] == "The database is not migrated. Run: flask --app questions db upgrade"
