"""What a session's start costs: the whole of a pytest run with one test in it, beside the same without the plugin."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa

import local_postgres
from flask_branches import urls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.benchmark

_ROUNDS = 7

_TEST = "def test_it(app):\n    assert app.name\n"
_ON_A_BRANCH = """
import pytest
from questions import PostgresConfig, SQLiteConfig, create_app

@pytest.fixture(scope="session")
def app(branch):
    config = SQLiteConfig if branch.backend == "sqlite" else PostgresConfig
    return create_app(config(database_url=branch.url))
"""
_ON_NOTHING = """
import pytest
from questions import SQLiteConfig, create_app

@pytest.fixture(scope="session")
def app():
    return create_app(SQLiteConfig(database_url="sqlite:///never.sqlite"))
"""


@pytest.fixture
def session(kind: str, run_pytest: Callable[..., str]) -> Callable[..., None]:
    """Run pytest in a folder, with one test, on the application with its migrations."""

    def run(folder: Path, *, plugin: bool = True, **variables: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "pytest.ini").write_text("[pytest]\n" + ("branches_app = questions:create_app\n" if plugin else ""))
        (folder / "conftest.py").write_text(_ON_A_BRANCH if plugin else _ON_NOTHING)
        (folder / "test_it.py").write_text(_TEST)
        chosen = ["-p", "pytest_branches.plugin"] if plugin else []
        run_pytest(folder, *chosen, QUESTIONS_CONFIG=kind, **variables)

    return run


def test_a_session_without_a_server_begins_soon(
    kind: str,
    session: Callable[..., None],
    working_directory: Path,
    medians: Callable[..., dict[str, float]],
    ratio: Any,
) -> None:
    """On SQLite a template is built once; an embedded Postgres is new each time, and so is what is built on it."""
    folders: list[Path] = []

    def first() -> None:
        folders.append(working_directory / uuid.uuid4().hex)
        session(folders[-1])

    first()  # compiled
    took = medians(
        _ROUNDS,
        plain=lambda: session(working_directory / "plain", plugin=False),
        first=first,
        second=lambda: session(folders[-1]),
    )

    server = "embedded postgres" if kind == "postgres" else kind
    ratio(f"{server}: a first session to plain pytest", took["plain"], took["first"], "s")
    ratio(f"{server}: a second session to plain pytest", took["plain"], took["second"], "s")


def test_a_session_on_a_running_server_begins_soon(
    kind: str,
    session: Callable[..., None],
    working_directory: Path,
    medians: Callable[..., dict[str, float]],
    ratio: Any,
) -> None:
    """The template is built once, and copied after that."""
    if kind != "postgres":
        pytest.skip("there is no server")
    folder, names = working_directory / "session", [""]
    with _server() as (admin, url):

        def first() -> None:
            names[0] = f"main_{uuid.uuid4().hex[:8]}"
            admin.execute(f"CREATE DATABASE {names[0]}".encode())
            second()

        def second() -> None:
            session(folder, DATABASE_URL=urls.plain(url.set(database=names[0])))

        first()  # compiled
        took = medians(
            _ROUNDS,
            plain=lambda: session(working_directory / "plain", plugin=False),
            first=first,
            second=second,
        )

    ratio("a running postgres: a first session to plain pytest", took["plain"], took["first"], "s")
    ratio("a running postgres: a second session to plain pytest", took["plain"], took["second"], "s")


@contextmanager
def _server() -> Iterator[tuple[psycopg.Connection[Any], sa.URL]]:
    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True) as lease:
        address = lease.cluster.address
        query = {"host": address.host, "port": str(address.port)}
        with psycopg.connect(address.conninfo(), autocommit=True) as admin:
            yield admin, sa.URL.create("postgresql+psycopg", address.user, query=query)
