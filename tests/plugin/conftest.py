"""Projects with applications of their own."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from tests.plugin.existing import TESTS, Existing
from tests.plugin.production import Databases, Production, fill
from tests.plugin.projects import NOTES_APP, PASSWORD, POSTGRES, SHOP_APP, Project

if TYPE_CHECKING:
    from collections.abc import Iterator

APPS = Path(__file__).parent / "apps"

# Inner runs have the plugins that a test names, and nothing of whoever runs the suite.
_FOREIGN = (
    "BRANCHES_",
    "NEON_",
    "QUESTIONS_",
    "PG",
    "PYTEST_",
    "COV_",
    "COVERAGE_",
    "DATABASE_URL",
    "AUDIT_URL",
    "MIGRATED",
)

collect_ignore = ["apps"]


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


@pytest.fixture
def existing(notes: Project, request: pytest.FixtureRequest) -> Existing:
    """A database beside the application's own."""
    if POSTGRES:
        databases: Databases = request.getfixturevalue("databases")
        notes.variable("DATABASE_URL", databases.make("notes"))
        made = Existing(databases.make("copy"))
    else:
        made = Existing(f"sqlite:///{notes.folder / 'copy.sqlite'}")
    fill(made.url, "product", "name")
    notes.files(test_notes=TESTS)
    return made
