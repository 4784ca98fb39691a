"""The migrations: there and back, equal to the models, and within each database's reach."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import click
import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from flask_migrate import downgrade, upgrade

from questions import NeonConfig, create_app, models, schemas
from questions.extensions import db
from questions.models import Question
from questions.shipped import shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskCliRunner


@pytest.fixture
def bare(bare_url: str, other_app: Callable[..., Flask]) -> Iterator[Flask]:
    """An application on a database that has nothing in it."""
    app = other_app(bare_url)
    with app.app_context():
        yield app


@pytest.fixture
def refused() -> Iterator[list[dict[str, Any]]]:
    """Every connection is refused; gives what each was to be made with."""
    asked: list[dict[str, Any]] = []

    def connect(_dialect: object, _entry: object, _arguments: object, parameters: dict[str, Any]) -> None:
        asked.append(parameters)
        raise psycopg.OperationalError("not from here")

    sa.event.listen(sa.Engine, "do_connect", connect)
    yield asked
    sa.event.remove(sa.Engine, "do_connect", connect)


def checks(table: str) -> list[tuple[str | None, str]]:
    return sorted((check["name"], check["sqltext"]) for check in sa.inspect(db.engine).get_check_constraints(table))


def reflected() -> dict[str, Any]:
    inspector = sa.inspect(db.engine)
    return {
        name: (
            [
                (each["name"], str(each["type"]), each["nullable"], each["default"])
                for each in inspector.get_columns(name)
            ],
            checks(name),
            sorted(str(index["name"]) for index in inspector.get_indexes(name)),
        )
        for name in inspector.get_table_names()
        if name != "alembic_version"
    }


def test_down_and_up_again_is_the_same_schema(bare: Flask) -> None:
    """Each migration can be undone, and done again."""
    upgrade()
    before = reflected()
    downgrade(revision="base")
    assert reflected() == {}
    upgrade()

    assert "questions" in before
    assert reflected() == before


def test_the_models_and_the_migrated_schema_agree(bare: Flask) -> None:
    """Alembic finds no difference of tables, columns, types or indexes."""
    upgrade()

    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": _known})
        assert compare_metadata(context, db.metadata) == []


def test_the_checks_are_those_of_the_models(bare: Flask) -> None:
    """Alembic compares no CHECK: what create_all makes is what the migrations make."""
    upgrade()
    migrated = checks("questions")
    downgrade(revision="base")
    db.create_all()

    assert checks("questions") == migrated
    assert len(migrated) >= 2


def _known(_object: object, name: str | None, kind: str, *_: object) -> bool:
    return not (kind == "index" and name == "ix_questions_search_trgm")


def test_schema_and_models_agree_on_the_lengths() -> None:
    """The schema imports nothing of ours, so its numbers stand twice."""
    for name in ("TITLE_LENGTH", "DESCRIPTION_LENGTH", "LARGEST_ID"):
        assert getattr(schemas, name) == getattr(models, name)


@pytest.mark.parametrize(
    ("title", "description"),
    [
        ("x" * 101, "y"),
        ("x", "y" * 20_001),
        ("", "y"),
        ("x", ""),
        ("x\x00" + "x" * 200, "y"),
        ("x", "y\x00" + "y" * 20_001),
    ],
)
def test_the_database_itself_holds_the_lengths(app: Flask, title: str, description: str) -> None:
    """What goes round the schema is refused by every database alike."""
    with app.app_context():
        db.session.add(Question(title=title, description=description))
        with pytest.raises((sa.exc.IntegrityError, sa.exc.DataError)):
            db.session.commit()


@pytest.mark.branches(isolation="branch")
def test_the_commands_of_flask_db(runner: FlaskCliRunner) -> None:
    """`flask db` works as everywhere: it sees no difference to write a migration for, and goes down and up."""
    assert runner.invoke(args=["db", "upgrade"]).exit_code == 0
    assert runner.invoke(args=["db", "check"]).exit_code == 0
    assert runner.invoke(args=["db", "downgrade", "base"]).exit_code == 0
    assert runner.invoke(args=["db", "check"]).exit_code == 1
    assert runner.invoke(args=["db", "upgrade"]).exit_code == 0


def test_the_migrations_can_be_written_as_sql(runner: FlaskCliRunner, environment: str) -> None:
    """`flask db upgrade --sql` needs no decision of the server."""
    result = runner.invoke(args=["db", "upgrade", "--sql"])

    assert result.exit_code == 0, result.output
    assert "CREATE TABLE questions" in result.output
    assert ("gin_trgm_ops" in result.output) == (environment != "sqlite")


def test_migrating_without_a_database_is_a_message(other_app: Callable[..., Flask], unreachable_url: sa.URL) -> None:
    """Status 1 and the reason, no traceback, no password."""
    result = other_app(unreachable_url).test_cli_runner().invoke(args=["db", "upgrade"])

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database cannot be reached or is too busy. Try again. (")
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("postgresql://me:hunter2@ep-a-1-pooler.example.invalid/d", "ep-a-1.example.invalid"),
        ("postgresql://me:hunter2@ep-a-1.example.invalid/d", "ep-a-1.example.invalid"),
    ],
)
def test_migrations_go_past_the_pooler(refused: list[dict[str, Any]], url: str, host: str) -> None:
    """`flask db` connects to the branch's direct host, whichever DATABASE_URL names."""
    app = create_app(NeonConfig(database_url=url))

    result = app.test_cli_runner().invoke(args=["db", "upgrade"])

    assert result.exit_code == 1
    assert result.stderr.endswith("(not from here)\n")
    assert [parameters["host"] for parameters in refused] == [host]


def test_migrations_of_a_branch_leave_its_parent_alone(refused: list[dict[str, Any]]) -> None:
    """An application that was led to a branch migrates that, past its own pooler, and not what DATABASE_URL names."""
    app = create_app(NeonConfig(database_url="postgresql://me@ep-main-1-pooler.example.invalid/d"))
    with app.app_context():
        db.engine.url = sa.make_url("postgresql+psycopg://me@ep-branch-2-pooler.example.invalid/d")

        with pytest.raises(click.ClickException, match="not from here"):
            upgrade()

    assert [parameters["host"] for parameters in refused] == ["ep-branch-2.example.invalid"]


LATER = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"


def upgrade():
    op.create_table("of_{revision}", sa.Column("id", sa.Integer()))
    {then}
"""


def test_each_migration_has_a_transaction_of_its_own(bare: Flask, working_directory: Path) -> None:
    """Where the second of two fails the first one stays, and what the second had done is taken back (on Postgres)."""
    folder = working_directory / "migrations"
    shutil.copytree(shipped("migrations"), folder)
    fails = "op.execute('SELECT * FROM nowhere')"
    for revision, down_revision, then in (("0003", "0002", "pass"), ("0004", "0003", fails)):
        script = LATER.format(revision=revision, down_revision=down_revision, then=then)
        (folder / "versions" / f"{revision}.py").write_text(script)

    with pytest.raises(sa.exc.DBAPIError, match="nowhere"):
        upgrade(directory=str(folder))

    with db.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_heads() == ("0003",)
        assert sa.inspect(connection).has_table("of_0003")
        if connection.dialect.name == "postgresql":
            assert not sa.inspect(connection).has_table("of_0004")


def test_the_search_has_an_index(postgres_only: None, app: Flask) -> None:
    """A search by three characters or more can use trigrams."""
    with app.app_context(), db.engine.connect() as connection:
        connection.execute(sa.text("SET enable_seqscan = off"))
        plan = connection.execute(
            sa.text(r"EXPLAIN SELECT id FROM questions WHERE search LIKE '%needle%' ESCAPE '/'")
        ).scalars()
        assert "ix_questions_search_trgm" in "".join(plan)


def test_an_index_that_was_made_by_hand_is_kept(postgres_only: None, bare: Flask) -> None:
    """Somebody has met a slow search before the migration came: it goes through, and away with the next downgrade."""
    upgrade(revision="0001")
    with db.engine.begin() as connection:
        connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
        connection.execute(
            sa.text("CREATE INDEX ix_questions_search_trgm ON questions USING gin (search gin_trgm_ops)")
        )

    upgrade(revision="0002")

    with db.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_heads() == ("0002",)
    assert [each["name"] for each in sa.inspect(db.engine).get_indexes("questions")] == ["ix_questions_search_trgm"]
    downgrade(revision="0001")
    assert sa.inspect(db.engine).get_indexes("questions") == []


def test_without_the_right_to_trigrams_the_search_works(
    postgres_only: None, bare: Flask, other_app: Callable[..., Flask], word: str
) -> None:
    """Where the role may not create the extension, the migration goes on without the index."""
    name = f"plain_{word}"
    with db.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN PASSWORD 'p'"))
        connection.execute(sa.text(f"GRANT CREATE ON SCHEMA public TO {name}"))
    app = other_app(db.engine.url.set(username=name, password="p"), api_token="t")
    try:
        with app.app_context():
            upgrade()
            assert sa.inspect(db.engine).get_indexes("questions") == []
        client = app.test_client()
        client.post("/questions", json={"title": "Needle", "description": "x"}, headers={"Authorization": "Bearer t"})
        assert [each["title"] for each in client.get("/questions?q=NEEDLE").get_json()] == ["Needle"]
    finally:
        with app.app_context():
            db.engine.dispose()
        with db.engine.begin() as connection:
            connection.execute(sa.text(f"GRANT {name} TO CURRENT_USER"))  # who made it need not be a superuser
            connection.execute(sa.text(f"DROP OWNED BY {name} CASCADE"))
            connection.execute(sa.text(f"DROP ROLE {name}"))
