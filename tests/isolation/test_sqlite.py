"""SQLite's own ways with transactions."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_branches import IsolationError
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.engine import Connection
    from tests.isolation.conftest import World

POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"

pytestmark = pytest.mark.skipif(POSTGRES, reason="rules of SQLite")


def test_a_script_is_refused(world: World) -> None:
    """`executescript` commits before it begins."""
    raw = world.engine().raw_connection()
    with pytest.raises(IsolationError, match='isolation="branch"'):
        raw.driver_connection.executescript("SELECT 1")  # type: ignore[union-attr]
    with pytest.raises(IsolationError, match='isolation="branch"'):
        raw.cursor().executescript("SELECT 1")
    raw.close()


@pytest.mark.parametrize(
    "statement", ["VACUUM", "PRAGMA foreign_keys = ON", "PRAGMA synchronous = OFF", "PRAGMA journal_mode = WAL"]
)
def test_what_cannot_run_in_a_transaction_is_named(world: World, statement: str) -> None:
    """Also where SQLite itself would say nothing and do nothing."""
    if (world.kind, statement[-3:]) in {("wal", "WAL"), ("memory", "WAL")}:
        return  # it is in that mode, or cannot be
    with world.engine().connect() as connection:
        if "journal" not in statement:
            connection.execute(sa.insert(world.Note).values(text="a"))
        with pytest.raises(IsolationError, match='isolation="branch"'):
            connection.exec_driver_sql(statement)


def test_an_application_may_begin_its_transactions_itself(tmp_path: Path) -> None:
    """The recipe for savepoints: no transactions of the driver's, an explicit BEGIN."""
    app = Flask("own")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'own.sqlite'}"
    db = SQLAlchemy(app)
    note = sa.Table("note", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    with app.app_context():
        engine = db.engine

    @sa.event.listens_for(engine, "connect")
    def off(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with app.app_context():
        db.create_all()
        with Isolation(app):
            with engine.begin() as connection:
                connection.execute(sa.insert(note))
            with engine.connect() as connection:
                assert connection.scalar(sa.select(sa.func.count()).select_from(note)) == 1
        with engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(note)) == 0
        engine.dispose()


def test_an_application_that_begins_no_transaction_has_none(another: Callable[..., SQLAlchemy]) -> None:
    """What it stores is committed at once, rolled back or not: an error; what it reads and sets is none."""
    db: Any = another(connect_args={"isolation_level": None})
    with Isolation(db.app), db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
        connection.exec_driver_sql("PRAGMA cache_size = 1000")
        with pytest.raises(IsolationError, match="CREATE TABLE passing is committed at once"):
            connection.exec_driver_sql("CREATE TABLE passing (id int)")


def test_two_engines_of_one_file_share_what_is_committed(tmp_path: Path) -> None:
    """A bind that names the default database again does not wait for it, and sees what it stores."""
    url = f"sqlite:///{tmp_path / 'one.sqlite'}"
    app = Flask("one")
    app.config["SQLALCHEMY_DATABASE_URI"], app.config["SQLALCHEMY_BINDS"] = url, {"same": url}
    db = SQLAlchemy(app)
    note = sa.Table("note", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    with app.app_context():
        db.create_all()
        with Isolation(app):
            with db.engines[None].begin() as connection:
                connection.execute(sa.insert(note))
            with db.engines["same"].connect() as connection:
                assert connection.scalar(sa.select(sa.func.count()).select_from(note)) == 1
        for engine in db.engines.values():
            engine.dispose()


def test_deferred_keys_are_looked_at_when_a_transaction_commits(tmp_path: Path) -> None:
    """Not only when the test is over, where nobody would hear of it; what was violated before is no commit's fault."""
    app = Flask("deferred")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'keys.sqlite'}"
    db = SQLAlchemy(app)
    with app.app_context():
        engine = db.engine

    @sa.event.listens_for(engine, "connect")
    def keys(connection: object, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")  # type: ignore[attr-defined]

    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE b (a INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
    with closing(sqlite3.connect(tmp_path / "keys.sqlite")) as careless:
        careless.execute("INSERT INTO b VALUES (6)")
        careless.commit()
    with Isolation(app):
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO b VALUES (NULL)")
        with engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO b VALUES (7)")
            with pytest.raises(sa.exc.IntegrityError, match="FOREIGN KEY"):
                connection.commit()
            connection.rollback()
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO b VALUES (8)")
            connection.exec_driver_sql("INSERT INTO a VALUES (8)")
    engine.dispose()


def test_nothing_is_stored_after_sqlite_has_ended_the_transaction_itself(untouched: World) -> None:
    """From then on each statement would be stored for good: all are refused until the test's end."""
    engine, insert = untouched.engine(), sa.insert(untouched.Note).prefix_with("OR ROLLBACK")
    with Isolation(untouched.app), engine.connect() as connection:
        connection.execute(sa.insert(untouched.Note).values(text="a"))
        with pytest.raises(IsolationError, match="has rolled back the test's whole transaction; nothing more"):
            connection.execute(insert.values(text="a"))
        for statement in (sa.insert(untouched.Note).values(text="b"), sa.select(untouched.Note.id)):
            with pytest.raises(IsolationError, match="has rolled back"):
                connection.execute(statement)
        with pytest.raises(IsolationError, match="has rolled back"):
            connection.commit()
        with pytest.raises(IsolationError, match="has rolled back"):
            engine.connect()


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "autocommit"), reason="Python 3.12's attribute")
@pytest.mark.parametrize("autocommit", [False, True])
def test_sqlite3_s_own_autocommit(untouched: World, another: Callable[..., SQLAlchemy], autocommit: bool) -> None:
    """Where the driver always is in a transaction that one is used, and where it never is that is an error."""
    db: Any = another(connect_args={"autocommit": autocommit})
    with db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text VARCHAR(100))")
    count = "SELECT count(*) FROM note"
    with db.engine.connect() as connection:
        before = connection.exec_driver_sql(count).scalar()
    with Isolation(db.app):
        if autocommit:
            with pytest.raises(IsolationError, match="AUTOCOMMIT"):
                db.engine.connect()
            return
        with db.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO note (text) VALUES ('kept')")
        with db.engine.connect() as connection:
            assert connection.exec_driver_sql(count).scalar() == before + 1
            connection.exec_driver_sql("INSERT INTO note (text) VALUES ('lost')")
            connection.rollback()
            assert connection.exec_driver_sql(count).scalar() == before + 1
    with db.engine.connect() as connection:
        assert connection.exec_driver_sql(count).scalar() == before


@pytest.mark.parametrize("name", ["backup", "blobopen", "deserialize"])
def test_what_goes_round_the_transaction_is_refused(world: World, name: str) -> None:
    """By its name, with the remedy."""
    connection: Any = world.engine().raw_connection().driver_connection
    with pytest.raises(IsolationError, match=rf'own {name} was used.*isolation="branch"'):
        getattr(connection, name)
