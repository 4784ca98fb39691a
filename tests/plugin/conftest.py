"""Projects with applications of their own, on which pytest is run as a user runs it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_branches import configured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_branches import Branch

POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"
APPS = Path(__file__).parent / "apps"
PASSWORD = "hush-hush-7"

# Inner runs have the plugins that a test names, and nothing of whoever runs the suite.
_FOREIGN = ("BRANCHES_", "QUESTIONS_", "PG", "PYTEST_", "COV_", "COVERAGE_", "DATABASE_URL", "AUDIT_URL", "MIGRATED")
_PLUGINS = ("branches", "xdist")

collect_ignore = ["apps"]

on_files = pytest.mark.skipif(POSTGRES, reason="on SQLite")
on_a_server = pytest.mark.skipif(not POSTGRES, reason="on Postgres")

SHOP_APP = """
    import pytest
    from shop import create_app

    @pytest.fixture(scope="session")
    def app(branch):
        return create_app(branch.url, branch.binds)
"""
NOTES_APP = """
    import notes
    import pytest

    @pytest.fixture
    def app(branch):
        return notes.app
"""
CLIENT = """
    import pytest

    @pytest.fixture
    def client(app):
        return app.test_client()
"""


class Project:
    """A folder with an application and its tests."""

    def __init__(self, pytester: pytest.Pytester, patch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.folder = pytester.path
        self._patch = patch
        self._started: list[subprocess.Popen[bytes]] = []

    def ini(self, *lines: str) -> None:
        """Write pytest's ini file; warnings are errors in every project."""
        self.pytester.makeini("\n".join(["[pytest]", "filterwarnings = error", *lines]))

    def files(self, **texts: str) -> None:
        """Write modules, by name."""
        self.pytester.makepyfile(**texts)

    def variable(self, name: str, value: str | None) -> None:
        """Set a variable of the environment, or take it away."""
        if value is None:
            self._patch.delenv(name, raising=False)
        else:
            self._patch.setenv(name, value)

    def run(self, *arguments: str, plugins: tuple[str, ...] = ("flask",)) -> pytest.RunResult:
        """Run pytest to its end; where all tests pass, so does the run."""
        result = self.pytester.runpytest_subprocess(*_options(plugins), *arguments, timeout=120)
        if "passed" in result.stdout.str() and not {"failed", "errors"}.intersection(result.parseoutcomes()):
            assert result.ret == 0
        return result

    def shown(self, *arguments: str) -> str:
        """Run pytest, in this process for once, where no test is to run; gives what it says."""
        result = self.pytester.runpytest_inprocess("-pbranches", *arguments)
        assert result.ret == pytest.ExitCode.OK
        return result.stdout.str()

    def refused(self, *arguments: str) -> str:
        """Run pytest, in this process too, where it does not come to a test; gives the line that it says."""
        result = self.pytester.runpytest_inprocess("-pbranches", *arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        (line,) = (line for line in result.errlines if line and not line.startswith("INFO "))  # Alembic's
        return line.removeprefix("ERROR: ")

    def start(self, *arguments: str, plugins: tuple[str, ...] = ("flask",)) -> subprocess.Popen[bytes]:
        """Begin to run pytest, in a process group of its own."""
        command = [sys.executable, "-m", "pytest", *_options(plugins), *arguments]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True, env=_environment(self.folder)
            )
        self._started.append(process)
        return process

    def said(self) -> str:
        """What the processes that were begun have said."""
        return (self.folder / "log").read_text()

    def end(self) -> None:
        """Kill whatever was begun and still runs, and what that has started."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def flask(self, *arguments: str, app: str = "shop") -> subprocess.CompletedProcess[str]:
        """Run a command of the application."""
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", app, *arguments],
            cwd=self.folder,
            env=_environment(self.folder),
            capture_output=True,
            text=True,
            check=False,
        )

    def branches(self, url: str | None = None) -> list[Branch]:
        """The branches of a database, by default of the shop's own file."""
        main = sa.make_url(url or os.environ.get("DATABASE_URL") or f"sqlite:///{self.folder}/instance/shop.sqlite")
        backend = configured.backend_for(main)
        try:
            return backend.branches()
        finally:
            backend.close()

    def made(self) -> list[Branch]:
        """The same without the templates."""
        return [each for each in self.branches() if not each.name.startswith("template-")]

    def left(self) -> list[str]:
        """What lies where SQLite's branches are, but for the template."""
        return sorted(
            path.name for path in self.folder.glob("**/*.branches/*") if not path.name.startswith("template-")
        )

    def templates(self) -> list[str]:
        """The templates of the shop."""
        return [each.name for each in self.branches() if each.name.startswith("template-")]


def _options(plugins: tuple[str, ...]) -> list[str]:
    return [f"-p{name}" for name in (*_PLUGINS, *plugins)]


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="session")
def migrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Flask-Migrate makes it for two databases, with the shop's first revision."""
    folder = tmp_path_factory.mktemp("shop") / "migrations"
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    flask_migrate.Migrate(app, SQLAlchemy(app))
    with app.app_context(), contextlib.redirect_stdout(io.StringIO()):
        flask_migrate.init(directory=str(folder), multidb=True)
    shutil.copy(APPS / "first_revision.py", folder / "versions" / "0001_first.py")
    return folder


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, working_directory: Path) -> Iterator[Project]:
    """An empty project."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.chdir(pytester.path)
    project = Project(pytester, monkeypatch)
    yield project
    project.end()


@pytest.fixture
def shop(project: Project, migrations: Path) -> Project:
    """The application with a factory, a bind and migrations, and the lines that a README shows."""
    shutil.copytree(APPS / "shop", project.folder / "shop", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(migrations, project.folder / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    project.ini("branches_app = shop:create_app")
    project.files(conftest=SHOP_APP)
    return project


@pytest.fixture
def notes(project: Project) -> Project:
    """The module-level application, and the lines that a README shows."""
    shutil.copy(APPS / "notes.py", project.folder)
    project.ini("branches_app = notes:app")
    project.files(conftest=NOTES_APP)
    return project


class Production:
    """An application's own databases, full of rows, and what is in them."""

    def __init__(self, url: str, audit_url: str) -> None:
        self.url = url
        self.audit_url = audit_url

    def content(self) -> Any:
        """Whatever changes with a write."""
        if self.url.startswith("sqlite"):
            return [Path(str(sa.make_url(url).database)).read_bytes() for url in (self.url, self.audit_url)]
        return [_counted(url) for url in (self.url, self.audit_url)]


def _counted(url: str) -> list[Any]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        tables = sorted(sa.inspect(connection).get_table_names())
        counts = [(name, connection.scalar(sa.text(f"SELECT count(*) FROM {name}"))) for name in tables]  # noqa: S608
        written = connection.execute(
            sa.text("SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del) FROM pg_stat_user_tables")
        ).one()
    return [counts, tuple(written)]


ROWS = 1000


def fill(url: str, table: str, column: str) -> None:
    """Make a table as the shop's first revision has it, with rows, and say so to Alembic."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        integer = "INTEGER PRIMARY KEY" if url.startswith("sqlite") else "SERIAL PRIMARY KEY"
        connection.execute(sa.text(f"CREATE TABLE {table} (id {integer}, {column} VARCHAR(80) NOT NULL UNIQUE)"))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('0001')"))
        connection.execute(
            sa.text(f"INSERT INTO {table} ({column}) VALUES (:text)"),  # noqa: S608
            [{"text": f"row {number}"} for number in range(ROWS)],
        )
    engine.dispose()


@pytest.fixture
def production(shop: Project, request: pytest.FixtureRequest) -> Production:
    """The shop's own databases, with rows, named by the environment; on Postgres, with a password."""
    if POSTGRES:
        databases: Databases = request.getfixturevalue("databases")
        made = Production(databases.make("shop"), databases.make("audit"))
    else:
        made = Production(*(f"sqlite:///{shop.folder / name}.sqlite" for name in ("shop_main", "audit_main")))
    fill(made.url, "product", "name")
    fill(made.audit_url, "event", "text")
    shop.variable("DATABASE_URL", made.url)
    shop.variable("AUDIT_URL", made.audit_url)
    return made


class Databases:
    """Databases of one test on the session's server."""

    def __init__(self, server: sa.URL) -> None:
        self._server = server
        self._made: list[str] = []

    def make(self, name: str) -> str:
        """A new database; gives its URL, which has a password."""
        self._run(f'CREATE DATABASE "{name}"')
        self._made.append(name)
        url = self._server.set(database=name, username="tester", password=PASSWORD)
        return url.render_as_string(hide_password=False)

    def names(self) -> list[str]:
        """Every database of the server that it did not come with."""
        engine = sa.create_engine(self._server, poolclass=sa.NullPool)
        with engine.connect() as connection:
            found = connection.execute(sa.text("SELECT datname FROM pg_database WHERE NOT datistemplate")).scalars()
            return sorted(name for name in found if name not in {"postgres", *self._made})

    def drop_all(self) -> None:
        """Leave the server as it was."""
        for name in (*self.names(), *self._made):
            self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        engine = sa.create_engine(self._server, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)


@pytest.fixture(scope="session")
def server() -> Iterator[sa.URL]:
    """A Postgres of the tests' own, which takes few connections, with a role that has a password."""
    import local_postgres

    settings = {"max_connections": "20"}
    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True, settings=settings) as lease:
        address = lease.cluster.address
        query = {"host": str(address.host), "port": str(address.port)}
        url = sa.URL.create("postgresql+psycopg", username=address.user, database="postgres", query=query)
        engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE tester SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        yield url


@pytest.fixture
def databases(server: sa.URL) -> Iterator[Databases]:
    """Where a test gets databases of its own."""
    made = Databases(server)
    yield made
    made.drop_all()


def add(url: str, table: str, column: str, text: str) -> None:
    """Store one more row."""
    _change(url, f"INSERT INTO {table} ({column}) VALUES ('{text}')")  # noqa: S608


def delete(url: str, table: str, count: int) -> None:
    """Take away the rows with the lowest ids."""
    _change(url, f"DELETE FROM {table} WHERE id <= {count}")  # noqa: S608


def _change(url: str, statement: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
