"""One suite for every database: each test has a migrated one of its own, and requests that share nothing with it."""

from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from contextvars import Context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from flask_migrate import upgrade
from psycopg import sql

from questions import Config, NeonConfig, PostgresConfig, SQLiteConfig, bulk, create_app
from questions.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from flask.testing import FlaskClient

    from local_postgres import Cluster

TOKEN = "a-token-for-tests"

_CLASSES: dict[str, type[Config]] = {"sqlite": SQLiteConfig, "postgres": PostgresConfig, "neon": NeonConfig}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which database the suite runs on, and what is in it already."""
    group = parser.getgroup("questions")
    group.addoption("--database", choices=sorted(_CLASSES), default="sqlite", help="what the suite runs on")
    group.addoption(
        "--existing-rows", type=int, default=0, metavar="N", help="questions that every test's database already holds"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say at once what is missing for a run on Neon; where no server is named, let no variable of libpq's name one."""
    if not os.environ.get("DATABASE_URL") and not os.environ.get("BRANCHES_URL"):
        for name in [name for name in os.environ if name.startswith("PG")]:
            del os.environ[name]
    if config.getoption("--database") == "neon" and not os.environ.get("BRANCHES_URL"):
        raise pytest.UsageError(
            "The tests on Neon need a branch that they may use: set BRANCHES_URL to its connection string. "
            "Never the one of production; make a branch with: neonctl branches create --name tests"
        )


def pytest_report_header(config: pytest.Config) -> str:
    """Which database this run is on."""
    return (
        f"questions: on {config.getoption('--database')}, each database with {config.getoption('--existing-rows')} rows"
    )


@pytest.fixture(scope="session")
def environment(pytestconfig: pytest.Config) -> str:
    """The environment that the suite runs in."""
    return str(pytestconfig.getoption("--database"))


@pytest.fixture(scope="session")
def server(environment: str) -> Iterator[sa.URL | None]:
    """The Postgres server that the tests' databases are made on: the one that was named, else one of this run's own."""
    named = os.environ.get("BRANCHES_URL" if environment == "neon" else "DATABASE_URL")
    if environment == "sqlite":
        yield None
    elif named:
        yield _CLASSES[environment](database_url=named).url
    else:
        import local_postgres

        with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True) as lease:
            address = lease.cluster.address
            query = {"host": str(address.host), "port": str(address.port)}
            yield sa.URL.create("postgresql+psycopg", username=address.user, database="postgres", query=query)


class _Databases:
    """Makes and drops databases of the run's own; never touches the one that the server was named by."""

    def __init__(self, environment: str, server: sa.URL | None, folder: Path) -> None:
        self._environment = environment
        self._server = server
        self._folder = folder

    def make(self, template: sa.URL | None = None) -> sa.URL:
        name = f"questions_test_{uuid.uuid4().hex[:12]}"
        if self._server is None:
            file = self._folder / f"{name}.sqlite"
            if template is not None:
                shutil.copyfile(str(template.database), file)
            return sa.URL.create("sqlite", database=str(file))
        source = sql.SQL("TEMPLATE {}").format(sql.Identifier(str(template.database))) if template else sql.SQL("")
        self._run(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), source))
        return self._server.set(database=name)

    def drop(self, url: sa.URL) -> None:
        if self._server is None:
            Path(str(url.database)).unlink()
        else:
            self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(url.database))))

    def config(self, url: sa.URL, **settings: Any) -> Config:
        return _CLASSES[self._environment](database_url=url.render_as_string(hide_password=False), **settings)

    def _run(self, statement: sql.Composed) -> None:
        assert self._server is not None
        conninfo = self._server.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def databases(environment: str, server: sa.URL | None, tmp_path_factory: pytest.TempPathFactory) -> _Databases:
    """Where a test gets a database that is its own."""
    return _Databases(environment, server, tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="session")
def template(databases: _Databases, pytestconfig: pytest.Config) -> Iterator[sa.URL]:
    """A migrated database, made once, with the rows that were asked for."""
    with pytest.MonkeyPatch.context() as patch:
        _forget_settings(patch)
        url = databases.make()
        app = create_app(databases.config(url))
        with app.app_context():
            upgrade()
            rows = (
                (f"Existing question {number}", f"Description {number}")
                for number in range(pytestconfig.getoption("--existing-rows"))
            )
            bulk.store_questions(rows)
            db.engine.dispose()
    yield url
    databases.drop(url)


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new working directory and no settings but the test's own."""
    _forget_settings(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def database_url(databases: _Databases, template: sa.URL) -> Iterator[sa.URL]:
    """A migrated database of the test's own."""
    url = databases.make(template)
    yield url
    databases.drop(url)


@pytest.fixture
def config(databases: _Databases, database_url: sa.URL) -> Config:
    """The settings of the test's application."""
    return databases.config(database_url, api_token=TOKEN)


@pytest.fixture
def app(config: Config) -> Iterator[Flask]:
    """The application on the test's own database."""
    app = create_app(config)
    app.testing = True
    app.wsgi_app = _apart(app.wsgi_app)  # type: ignore[method-assign]
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client that has the token."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    return client


@pytest.fixture
def empty(app: Flask) -> None:
    """Take away the rows that the test's database came with, for a test that counts all of them."""
    with app.app_context():
        db.session.execute(sa.text("DELETE FROM questions"))
        db.session.commit()


@pytest.fixture
def own_cluster(working_directory: Path) -> Iterator[Cluster]:
    """The cluster that an application brings along, wherever it really lies; nothing of it is left afterwards."""
    from local_postgres import Cluster, folders

    cluster = Cluster(working_directory / "instance" / "postgres")
    yield cluster
    if cluster.folder.exists():
        cluster.stop()
        folders.discard(cluster.home)


@pytest.fixture
def sqlite_only(environment: str) -> None:
    """Skip on other databases: the rule is one of SQLite's own."""
    if environment != "sqlite":
        pytest.skip("a rule of SQLite")


@pytest.fixture
def postgres_only(environment: str) -> None:
    """Skip on SQLite: the rule is one of Postgres' own."""
    if environment == "sqlite":
        pytest.skip("a rule of Postgres")


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Wait for a condition, not for a time, and give what it was met with; fail after a minute."""

    def wait(condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + 60
        while not (met := condition()):
            assert time.monotonic() < end, "the condition was not met in time"
            time.sleep(0.01)
        return met

    return wait


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let the test's commands feel Ctrl-C; a shell's background job hands down a SIGINT that is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _apart(wsgi_app: Any) -> Any:
    """Run each request in a context of its own: pytest-flask pushes one around the test, which requests would share."""
    return lambda environ, start_response: Context().run(wsgi_app, environ, start_response)


def _forget_settings(patch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name == "DATABASE_URL" or name.startswith("QUESTIONS_"):
            patch.delenv(name)
