"""A small application that has nothing to do with `questions`, on every kind of database that can be branched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from flask_branches import Branches, DatabaseFailed, embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask_branches import Branch
    from flask_branches.backends import Backend

POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"
KINDS = ["embedded", "server"] if POSTGRES else ["file", "memory"]


@dataclass(frozen=True)
class World:
    """An application with a table in its default database and one in a bind, and its branches."""

    app: Flask
    db: Any
    Note: Any
    Tag: Any
    branches: Branches
    kind: str
    served_in: Path | None = None
    """The folder of the Postgres that it brings along."""

    @property
    def backend(self) -> Backend:
        """How its default database is branched."""
        return self.branches.databases.default

    @property
    def main(self) -> sa.URL:
        """Its default database."""
        return self.backend.main

    def environ(self, **more: str) -> dict[str, str]:
        """What leads a program of its own, `programs/notes.py`, to its databases."""
        urls = {key: engine.url.render_as_string(hide_password=False) for key, engine in self.db.engines.items()}
        values = {
            "NOTES_MAIN": urls.pop(None),
            "NOTES_BINDS": json.dumps(urls),
            "NOTES_INSTANCE": self.app.instance_path,
        }
        if self.served_in is not None:
            values["NOTES_FOLDER"] = str(self.served_in)
        path = [str(Path(__file__).parent / "programs"), os.environ.get("PYTHONPATH", "")]
        return {**os.environ, **values, "PYTHONPATH": os.pathsep.join(filter(None, path)), **more}

    def texts(self, model: Any = None) -> list[str]:
        """What the application's own database holds."""
        model = model or self.Note
        found = list(self.db.session.scalars(sa.select(model.text).order_by(model.id)))
        self.let_go()
        return found

    def add(self, *texts: str, model: Any = None) -> None:
        """Write to the application's own database."""
        self.db.session.add_all([(model or self.Note)(text=text) for text in texts])
        self.db.session.commit()
        self.let_go()

    def let_go(self) -> None:
        """Keep no connection that would be in another process's way."""
        self.db.session.remove()
        for each in self.branches.databases.all:
            each.let_go()


@dataclass(frozen=True)
class Client:
    """Somebody who knows nothing but a URL."""

    url: str

    def run(self, statement: str) -> list[Any]:
        """Run one statement, and give its rows."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
            return [tuple(row) for row in result] if result.returns_rows else []

    def texts(self, table: str = "note") -> list[str]:
        """What is in a table."""
        return [text for (text,) in self.run(f"SELECT text FROM {table} ORDER BY id")]  # noqa: S608

    def add(self, text: str, table: str = "note") -> None:
        """Write a row."""
        quoted = text.replace("'", "''")
        self.run(f"INSERT INTO {table} (text) VALUES ('{quoted}')")  # noqa: S608


@pytest.fixture
def at() -> Callable[[str | Branch], Client]:
    """Go to a branch, or a URL, as any other program would."""
    return lambda place: Client(place if isinstance(place, str) else place.url)


@pytest.fixture(scope="session")
def server() -> Iterator[sa.URL]:
    """A Postgres that is known by its URL."""
    import local_postgres

    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True) as lease:
        address = lease.cluster.address
        query = {"host": address.host, "port": str(address.port)}
        yield sa.URL.create("postgresql+psycopg", username=address.user, database="postgres", query=query)


@pytest.fixture(scope="session")
def admin(server: sa.URL) -> Client:
    """A superuser of that server, who stays nowhere."""
    return Client(server.render_as_string(hide_password=False))


@pytest.fixture(scope="session")
def brought_along() -> Iterator[Path]:
    """The folder of a Postgres that applications bring along; kept running for all tests by a lease of its own."""
    import local_postgres

    base = local_postgres.throwaway_folder()
    folder = base / "postgres"
    with local_postgres.lease(folder):
        yield folder
    local_postgres.Cluster(folder).stop()
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def spare() -> dict[str, list[sa.URL]]:
    """Databases that earlier tests have left with nothing in them, by kind."""
    return {"embedded": [], "server": []}


@dataclass(frozen=True)
class Places:
    """Finds databases for applications of the tests, and takes what is in them away."""

    request: pytest.FixtureRequest
    folder: Path
    spare: dict[str, list[sa.URL]]
    undo: ExitStack

    def url(self, kind: str, name: str) -> sa.URL:
        """Where a database of that kind is that has nothing in it."""
        if kind == "memory":
            return sa.URL.create("sqlite")
        if kind == "file":
            return sa.URL.create("sqlite", database=str(self.folder / f"{name}.sqlite"))
        if self.spare[kind]:
            return self.spare[kind].pop()
        name = f"main_{uuid.uuid4().hex[:8]}"
        if kind == "embedded":
            return embedded.url(name)
        admin: Client = self.request.getfixturevalue("admin")
        admin.run(f"CREATE DATABASE {name}")
        server: sa.URL = self.request.getfixturevalue("server")
        return server.set(database=name)

    def serve(self, app: Flask, db: Any) -> Path:
        """Let an application of the kind `embedded` have its server."""
        folder: Path = self.request.getfixturevalue("brought_along")
        with app.app_context():
            for engine in db.engines.values():
                embedded.serve(engine, folder)
        return folder

    def clear(self, kind: str, branches: Branches, db: Any) -> None:
        """Take away what an application, in whose context this is called, has and has branched."""
        there = branches.databases
        with suppress(DatabaseFailed):  # a test has named one that cannot be reached
            for each in there.all:
                for branch in each.backend.branches():
                    each.backend.delete(branch)
            there.sweep(dry_run=False)
        there.close()
        db.session.remove()
        for engine in db.engines.values():
            if engine.dialect.name == "postgresql":
                # Who may not do that has a database that is dropped as a whole.
                with suppress(sa.exc.DBAPIError), engine.begin() as connection:
                    connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            engine.dispose()
            if kind in self.spare and engine.url not in self.spare[kind]:
                self.spare[kind].append(engine.url)


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path, spare: dict[str, list[sa.URL]]) -> Iterator[Places]:
    """Where applications of this test get their databases."""
    with ExitStack() as undo:
        yield Places(request, tmp_path, spare, undo)


@pytest.fixture
def new_database(places: Places, server: sa.URL, admin: Client) -> Callable[..., sa.URL]:
    """Make a database of whatever name, by the server's superuser; it is dropped after the applications are gone."""

    def make(name: str, options: str = "") -> sa.URL:
        quoted = '"' + name.replace('"', '""') + '"'
        places.undo.callback(admin.run, f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
        admin.run(f"CREATE DATABASE {quoted} {options}")
        return server.set(database=name)

    return make


@pytest.fixture
def role(places: Places, admin: Client) -> str:
    """A role of that server that may log in and nothing else."""
    admin.run("CREATE ROLE tester LOGIN")
    places.undo.callback(admin.run, "DROP ROLE tester")
    places.undo.callback(admin.run, "DROP OWNED BY tester")
    return "tester"


@pytest.fixture
def make_world(places: Places, tmp_path: Path) -> Callable[..., World]:
    """Make an application with two rows in each of its databases; its context is the current one."""

    def make(
        kind: str = KINDS[-1] if POSTGRES else KINDS[0],
        *,
        name: str = "app",
        branches: Branches | None = None,
        url: sa.URL | None = None,
        binds: dict[str, Any] | bool = False,
        fill: bool = True,
        **settings: Any,
    ) -> World:
        app = Flask(name, instance_path=str(tmp_path / f"{name}-instance"))
        app.config["SQLALCHEMY_DATABASE_URI"] = url or places.url(kind, f"{name}_first")
        app.config["SQLALCHEMY_BINDS"] = (
            {"second": places.url(kind, f"{name}_second")} if binds is True else binds or {}
        )
        app.config.update(settings)
        db = SQLAlchemy()
        note, tag = _models(db, bind="second" in app.config["SQLALCHEMY_BINDS"])
        branches = branches or Branches()
        db.init_app(app)
        branches.init_app(app)
        served_in = places.serve(app, db) if kind == "embedded" else None
        places.undo.enter_context(app.app_context())
        places.undo.callback(places.clear, kind if url is None else "named", branches, db)
        world = World(app, db, note, tag, branches, kind, served_in)
        if fill:
            db.create_all()
            world.add("first", "second")
        if fill and tag:
            world.add("red", "green", model=tag)
        return world

    return make


class Program(subprocess.Popen[str]):
    """A program that a test has started."""

    def says(self, word: str) -> None:
        """Wait for its next line, which has a word; where it has none, show what the program complains of."""
        assert self.stdout is not None
        line = self.stdout.readline()
        assert word in line, (line, self.communicate(timeout=60))


@pytest.fixture
def start(interruptible: None) -> Iterator[Callable[..., Program]]:
    """Start a program on a world's databases; its last one is ended with the test."""
    started: list[Program] = []

    def start(world: World, *command: str, **environ: str) -> Program:
        pipe = subprocess.PIPE
        process = Program(
            [sys.executable, *command],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=world.environ(**environ),
            start_new_session=True,  # no terminal, which would send its signals to everybody
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Every kind of database of this run, one after the other."""
    return str(request.param)


@pytest.fixture
def world(kind: str, make_world: Callable[..., World]) -> World:
    """The application, on every kind of database."""
    return make_world(kind)


@pytest.fixture
def two(kind: str, make_world: Callable[..., World]) -> World:
    """The application with a second database, in a bind."""
    return make_world(kind, binds=True)


@pytest.fixture
def one(make_world: Callable[..., World]) -> World:
    """The application on one kind of database, for rules that do not depend on it."""
    return make_world()


@pytest.fixture
def light(make_world: Callable[..., World]) -> World:
    """The application in memory, for what is decided before any database is asked."""
    return make_world("memory")


def _models(db: Any, *, bind: bool) -> tuple[Any, Any]:
    class Note(db.Model):  # type: ignore[misc]
        id = orm.mapped_column(sa.Integer, primary_key=True)
        text = orm.mapped_column(sa.String(100), nullable=False)

    if not bind:
        return Note, None

    class Tag(db.Model):  # type: ignore[misc]
        __bind_key__ = "second"
        id = orm.mapped_column(sa.Integer, primary_key=True)
        text = orm.mapped_column(sa.String(100))

    return Note, Tag
