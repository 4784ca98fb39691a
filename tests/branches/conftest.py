"""A small application that has nothing to do with `questions`, on every kind of database that can be branched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from tests.branches.worlds import KINDS, USUAL, Client, Places, Program, World, models

from flask_branches import Branches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result
    from tests.emulator.running import Emulator

    from flask_branches import Branch


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


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path, spare: dict[str, list[sa.URL]]) -> Iterator[Places]:
    """Where applications of this test get their databases."""
    with ExitStack() as undo:
        yield Places(request, tmp_path, spare, undo)


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """A Neon on this machine for all tests, which make projects of their own there."""
    from tests.emulator.running import Emulator

    import local_postgres

    folder = local_postgres.throwaway_folder()
    emulator = Emulator(folder / "data").start()
    yield emulator
    emulator.stop()
    shutil.rmtree(folder)


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
        kind: str = USUAL,
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
        variables = places.variables(app.config["SQLALCHEMY_DATABASE_URI"])
        app.config.update(variables | settings)
        db = SQLAlchemy()
        note, tag = models(db, bind="second" in app.config["SQLALCHEMY_BINDS"])
        branches = branches or Branches()
        db.init_app(app)
        branches.init_app(app)
        served_in = places.serve(app, db) if kind == "embedded" else None
        places.undo.enter_context(app.app_context())
        places.undo.callback(places.clear, kind if url is None else "named", branches, db)
        world = World(app, db, note, tag, branches, kind, served_in, variables)
        if fill:
            db.create_all()
            world.add("first", "second")
        if fill and tag:
            world.add("red", "green", model=tag)
        return world

    return make


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


@pytest.fixture
def file(make_world: Callable[..., World]) -> World:
    """The application on a file."""
    return make_world("file")


@pytest.fixture
def call(one: World) -> Callable[..., Result]:
    """Run `flask branches`, and look at its status."""

    def call(*arguments: str, status: int = 0, **options: Any) -> Result:
        result = one.app.test_cli_runner().invoke(args=["branches", *arguments], **options)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    return call
