"""An application that has nothing to do with `questions`, on every kind of database, and what it held before a test."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask, g, session
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from flask_branches.contexts import apart
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"
KINDS = ["psycopg", "psycopg2"] if POSTGRES else ["file", "wal", "memory"]


@dataclass(frozen=True)
class World:
    """An application, its tables, and where it is."""

    app: Flask
    db: Any
    Note: Any
    Entry: Any
    kind: str

    def count(self, model: Any = None) -> int:
        """How many rows the application sees."""
        model = model or self.Note
        return int(self.db.session.scalar(sa.select(sa.func.count(model.id))))

    def engine(self, key: str | None = None) -> sa.Engine:
        """One of its engines."""
        with self.app.app_context():
            engine: sa.Engine = self.db.engines[key]
            return engine


@pytest.fixture(scope="session")
def server() -> Iterator[sa.URL]:
    """A Postgres of the tests' own."""
    import local_postgres

    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True) as lease:
        address = lease.cluster.address
        query = {"host": address.host, "port": str(address.port)}
        yield sa.URL.create("postgresql+psycopg", username=address.user, database=address.user, query=query)


def _url(kind: str, name: str, folder: Path, request: pytest.FixtureRequest) -> sa.URL:
    if kind == "memory":
        return sa.URL.create("sqlite")
    if kind in {"file", "wal"}:
        return sa.URL.create("sqlite", database=str(folder / f"{name}.sqlite"))
    url: sa.URL = request.getfixturevalue("server")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {kind}_{name}"))
        connection.execute(sa.text(f"CREATE DATABASE {kind}_{name}"))
    return url.set(drivername=f"postgresql+{kind}", database=f"{kind}_{name}")


@pytest.fixture(scope="session", params=KINDS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The application: two tables, the second one in a bind, and one row in each."""
    kind: str = request.param
    if kind == "psycopg2":
        pytest.importorskip("psycopg2")
    folder = tmp_path_factory.mktemp(kind)
    app = Flask(kind, instance_path=str(folder / "instance"))
    app.secret_key = "not one"
    app.config["SQLALCHEMY_DATABASE_URI"] = _url(kind, "first", folder, request)
    app.config["SQLALCHEMY_BINDS"] = {"second": _url(kind, "second", folder, request)}
    db = SQLAlchemy(app)

    class Note(db.Model):  # type: ignore[name-defined,misc]
        id = orm.mapped_column(sa.Integer, primary_key=True)
        text = orm.mapped_column(sa.String(100), unique=True, nullable=False)

    class Entry(db.Model):  # type: ignore[name-defined,misc]
        __bind_key__ = "second"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        text = orm.mapped_column(sa.String(100))

    _add_views(app, db, Note)
    with app.app_context():
        if kind == "wal":
            for engine in db.engines.values():
                with engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        db.create_all()
        db.session.add_all([Note(text="first"), Entry(text="first")])
        db.session.commit()
    yield World(app, db, Note, Entry, kind)
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


def _add_views(app: Flask, db: Any, note: Any) -> None:
    @app.post("/add/<text>")
    def add(text: str) -> str:
        db.session.add(note(text=text))
        db.session.commit()
        return "added"

    @app.post("/forget/<text>")
    def forget(text: str) -> str:
        db.session.add(note(text=text))
        db.session.flush()
        g.seen = g.get("seen", 0) + 1
        session["text"] = text
        return str(g.seen)

    @app.post("/twice/<text>")
    def twice(text: str) -> tuple[str, int]:
        db.session.add(note(text=f"{text}, kept"))
        db.session.commit()
        db.session.add(note(text=text))
        try:
            db.session.commit()
        except sa.exc.IntegrityError:
            db.session.rollback()
            return "taken", 409
        return "added", 201

    @app.post("/core/<text>")
    def core(text: str) -> str:
        before = db.session.scalar(sa.select(sa.func.count(note.id)))
        with db.engine.begin() as connection:
            connection.execute(sa.insert(note).values(text=text))
        with db.engine.connect() as connection:
            after = connection.scalar(sa.select(sa.func.count(note.id)))
        db.session.add(note(text=f"{text}, too"))
        db.session.commit()
        return f"{before} {after}"

    @app.get("/count")
    def count() -> str:
        return str(db.session.scalar(sa.select(sa.func.count(note.id))))


@pytest.fixture
def another(untouched: World) -> Iterator[Callable[..., SQLAlchemy]]:
    """Make an application of the same database with options of its own; ``app`` is it, its context is pushed."""
    with ExitStack() as undo:

        def make(*, binds: dict[str, sa.URL] | None = None, **options: Any) -> SQLAlchemy:
            app = Flask("another")
            app.config["SQLALCHEMY_DATABASE_URI"] = untouched.engine().url
            app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
            app.config["SQLALCHEMY_BINDS"] = binds or {}
            db: Any = SQLAlchemy(app)
            undo.enter_context(app.app_context())
            for engine in db.engines.values():
                undo.callback(engine.dispose)
            db.app = app
            made: SQLAlchemy = db
            return made

        yield make


def _rows(world: World) -> list[Any]:
    rows: list[Any] = []
    for key, model in ((None, world.Note), ("second", world.Entry)):
        with world.engine(key).connect() as connection:
            rows += connection.execute(sa.select(model.id, model.text).order_by(model.id)).all()
            rows += sorted(sa.inspect(connection).get_table_names())
    return rows


@pytest.fixture
def untouched(built: World) -> Iterator[World]:
    """The application; after the test its databases hold what they held before."""
    before = _rows(built)
    yield built
    assert _rows(built) == before


@pytest.fixture
def isolation(untouched: World) -> Iterator[Isolation]:
    """The isolation of the test."""
    with Isolation(untouched.app) as isolation:
        yield isolation


@pytest.fixture
def world(untouched: World, isolation: Isolation) -> Iterator[World]:
    """The application as the plugin gives it to a test: isolated, each request apart."""
    with apart(untouched.app, isolation.raise_swallowed):
        yield untouched


@pytest.fixture
def http(world: World) -> FlaskClient:
    """A client."""
    return world.app.test_client()
