"""What every test finds: the application on the plugin's branch, settings of its own alone, a way to wait."""

from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dotenv import dotenv_values

from questions import Config, NeonConfig, PostgresConfig, SQLiteConfig, create_app
from questions.extensions import branches, db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa
    from flask import Flask
    from flask.testing import FlaskClient

    from flask_branches import Branch
    from local_postgres import Cluster

TOKEN = "a-token-for-tests"

_MEASURED = Path(__file__).parent / "questions"
_CLASSES: dict[str, type[Config]] = {"sqlite": SQLiteConfig, "postgres": PostgresConfig, "neon": NeonConfig}


def pytest_configure(config: pytest.Config) -> None:
    """Where no server is named, let no variable of libpq's name one."""
    written = dotenv_values(config.rootpath / ".env") | dotenv_values(config.rootpath / ".env.test")
    if not any(os.environ.get(name) or written.get(name) for name in ("DATABASE_URL", "BRANCHES_URL")):
        for name in [name for name in os.environ if name.startswith("PG")]:
            del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where `--cov` names nothing, the service is measured by its own tests alone: others take longer by it."""
    if config.getoption("cov_source", None) == [True]:
        for item in items:
            if not item.path.is_relative_to(_MEASURED):
                item.add_marker("no_cover")


def pytest_collection_finish() -> None:
    """Let no collection of garbage look again at what thousands of tests and their modules are made of."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def environment(branch: Branch) -> str:
    """The environment that the suite runs in: the one for the branch's kind of database."""
    return branch.backend


@pytest.fixture(scope="session")
def settings_for(environment: str) -> Callable[..., Config]:
    """The settings of an application on a database, by its URL; the others by keyword."""

    def make(url: str | sa.URL, **others: Any) -> Config:
        text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
        # A test's own branches are databases beside its own, on Neon too.
        inside = {"branches_backend": "postgres"} if environment == "neon" else {}
        return _CLASSES[environment](database_url=text, **inside, **others)

    return make


@pytest.fixture(scope="session")
def app_on_branch(
    branch: Branch, settings_for: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Flask]]:
    """Make an application on the session's branch, for many tests; each of them is kept from the next."""
    made = []

    def make(**settings: Any) -> Flask:
        with pytest.MonkeyPatch.context() as patch:
            _forget_settings(patch, tmp_path_factory.mktemp("app"))
            app = create_app(settings_for(branch.url, **settings))
        app.testing = True
        made.append(app)
        return app

    yield make
    _disconnect(made)


@pytest.fixture(scope="session")
def app(app_on_branch: Callable[..., Flask]) -> Flask:
    """The application."""
    return app_on_branch(api_token=TOKEN)


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new working directory and no settings but the test's own."""
    _forget_settings(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client that has the token."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    return client


@pytest.fixture
def other_app(settings_for: Callable[..., Config], working_directory: Path) -> Iterator[Callable[..., Flask]]:
    """Make an application of the test's own, on a database that it names."""
    made = []

    def make(url: str | sa.URL, **settings: Any) -> Flask:
        app = create_app(settings_for(url, **settings))
        app.testing = True
        made.append(app)
        return app

    yield make
    _disconnect(made)


@pytest.fixture
def bare_url(branch: Branch, other_app: Callable[..., Flask]) -> Iterator[str]:
    """The URL of a database that has nothing in it, not even a table."""
    app = other_app(branch.url)
    with app.app_context():
        bare = branches.create(parent="empty")
    yield bare.url
    with app.app_context():
        branches.delete(bare.name)


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


def _forget_settings(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Leave nothing to be read but what a test sets; whoever undoes the patch undoes that first."""
    for name in os.environ:
        if name == "DATABASE_URL" or name.startswith(("BRANCHES_", "NEON_", "QUESTIONS_")):
            patch.delenv(name)
    patch.chdir(folder)


def _disconnect(apps: list[Flask]) -> None:
    for app in apps:
        with app.app_context():
            db.engine.dispose()
            branches.databases.close()
