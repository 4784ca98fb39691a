"""Alive, ready, and what is answered without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask_migrate import stamp, upgrade

from questions import PostgresConfig, create_app
from questions.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient


@pytest.fixture
def out_of_reach(other_app: Callable[..., Flask], unreachable_url: sa.URL) -> Flask:
    """An application whose database cannot be reached."""
    return other_app(unreachable_url, api_token="t")


def test_alive_and_ready(client: FlaskClient) -> None:
    """Both probes answer 200 on a migrated database."""
    for probe in ("/healthz", "/readyz"):
        answer = client.get(probe)
        assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/readyz"),
        ("GET", "/questions"),
        ("GET", "/questions/1"),
        ("POST", "/questions"),
        ("PATCH", "/questions/1"),
        ("DELETE", "/questions/1"),
    ],
)
def test_without_its_database_the_service_answers_503(out_of_reach: Flask, method: str, url: str) -> None:
    """It says so as problem+json and when to come back, without the database's own words; it stays alive."""
    client = out_of_reach.test_client()
    body = {"title": "Why?", "description": "Because."}

    answer = client.open(url, method=method, json=body, headers={"Authorization": "Bearer t"})

    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Retry-After"] == "5"
    assert answer.get_json()["detail"].startswith("The database cannot be reached or is too busy.")
    assert "no_such" not in answer.text
    assert client.get("/healthz").status_code == 200


def test_a_pending_migration_makes_the_service_unready(app: Flask, client: FlaskClient) -> None:
    """/readyz says at which revision the database is and which it should be at; migrating makes it ready."""
    with app.app_context():
        stamp(revision="base")

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["detail"] == (
        "The database is at no revision, this code needs 0002. Run: flask --app questions db upgrade"
    )
    with app.app_context():
        stamp(revision="0002")
    assert client.get("/readyz").status_code == 200


def test_a_database_without_tables_is_503_with_the_remedy(app: Flask, client: FlaskClient) -> None:
    """A database that was never migrated is not ready for requests, and the answer names the command."""
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE questions"))

    answer = client.get("/questions")

    assert answer.status_code == 503
    assert answer.get_json()["detail"] == "The database is not migrated. Run: flask --app questions db upgrade"
    with app.app_context():
        stamp(revision="base")
        upgrade()
    assert client.get("/questions").status_code == 200


def test_a_file_that_is_no_database_is_503(
    sqlite_only: None, other_app: Callable[..., Flask], working_directory: Path
) -> None:
    """A mistaken path: the service and its commands say so, and the file stays as it is."""
    file = working_directory / "notes.txt"
    file.write_text("No database, but long enough for its header to be looked at. " * 100)
    before = file.read_bytes()
    app = other_app(sa.URL.create("sqlite", database=str(file)))
    detail = "The file that DATABASE_URL names is not a SQLite database. Name another."

    for url in ("/readyz", "/questions"):
        answer = app.test_client().get(url)
        assert (answer.status_code, answer.get_json()["detail"]) == (503, detail)
    for command in (["db", "upgrade"], ["questions", "export"]):
        result = app.test_cli_runner().invoke(args=command)
        assert (result.exit_code, result.stderr) == (1, f"Error: {detail} (file is not a database)\n")
    assert file.read_bytes() == before


@pytest.mark.branches(isolation="branch")
def test_a_connection_that_is_lost_after_the_answer_costs_nothing(
    postgres_only: None, database_url: str, other_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    """As a suspended compute does it: the answer stays what it is, the log says so, and the next request goes on."""
    app = other_app(database_url)
    others = sa.create_engine(database_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    sessions = sa.text(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE state = 'idle in transaction'"
        " AND datname = current_database()"
    )

    @app.teardown_appcontext
    def lose(_error: BaseException | None) -> None:
        with others.connect() as connection:
            lost.extend(connection.execute(sessions).scalars())

    for _ in range(2):
        lost: list[bool] = []
        assert app.test_client().get("/questions").status_code == 200
        assert lost == [True]
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == [
        "database: terminating connection due to administrator command"
    ] * 2


@pytest.mark.branches(isolation="branch")
def test_a_role_without_rights_is_503(
    postgres_only: None, database_url: str, other_app: Callable[..., Flask], word: str
) -> None:
    """The answer says what is to be done, and so do the commands."""
    owner = sa.create_engine(database_url, poolclass=sa.NullPool)
    name = f"stranger_{word}"
    with owner.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN PASSWORD 'p'"))
    stranger = other_app(owner.url.set(username=name, password="p"))
    detail = "The role that DATABASE_URL names lacks a right to the database. Grant it, or name another."
    try:
        for path in ("/readyz", "/questions"):
            answer = stranger.test_client().get(path)
            assert (answer.status_code, answer.get_json()["detail"]) == (503, detail)
        for command in (["import", "--sample"], ["export"]):
            result = stranger.test_cli_runner().invoke(args=["questions", *command])
            assert (result.exit_code, result.stderr.partition(" (")[0]) == (1, f"Error: {detail}")
    finally:
        with stranger.app_context():
            db.engine.dispose()
        with owner.begin() as connection:
            connection.execute(sa.text(f"DROP ROLE {name}"))


@pytest.mark.branches(isolation="branch")
def test_a_database_that_can_only_be_read_is_503_to_writes(
    postgres_only: None, app: Flask, client: FlaskClient, ask: Callable[..., Any]
) -> None:
    """A standby, or a primary that was demoted: reads go on."""
    asked = ask()
    with app.app_context():
        with db.engine.begin() as connection:
            name = connection.dialect.identifier_preparer.quote(str(db.engine.url.database))
            connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        db.engine.dispose()

    answer = client.patch(asked["url"], json={"title": "How?"})

    assert answer.status_code == 503
    assert answer.get_json()["detail"].startswith("The database can only be read now.")
    assert client.get(asked["url"]).get_json()["title"] == "Why?"


@pytest.mark.branches(isolation="branch")
def test_a_full_pool_is_503(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no connection comes free in time the service is busy, not broken."""
    with app.app_context():
        pool = db.engine.pool
        monkeypatch.setattr(pool, "_timeout", 0.01)
        held = [db.engine.connect() for _ in range(pool.size() + pool._max_overflow)]  # type: ignore[attr-defined]

    answer = client.get("/questions")

    assert answer.status_code == 503
    for connection in held:
        connection.close()
    assert client.get("/questions").status_code == 200


def test_a_mistake_of_ours_is_500_without_its_details(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns nothing of the inside; the log has it all, but no parameter of the statement."""
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", value=False)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE questions"))
        columns = "id INTEGER PRIMARY KEY, title TEXT, search TEXT, version INTEGER, description TEXT"
        connection.execute(sa.text(f"CREATE TABLE questions ({columns}, CHECK (length(description) < 5))"))

    answer = client.post("/questions", json={"title": "Why?", "description": "A secret of mine."})

    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["title"] == "Internal Server Error"
    for inside in ("INSERT", "questions", "Traceback", "CHECK"):
        assert inside not in answer.text
    assert any(record.exc_info for record in caplog.records)
    assert "A secret of mine." not in caplog.text


def test_a_server_that_is_gone_is_noticed_at_once() -> None:
    """A refused connection is answered, not waited for."""
    app = create_app(PostgresConfig(database_url="postgresql://nobody@127.0.0.1:1/none"))

    assert app.test_client().get("/questions").status_code == 503
