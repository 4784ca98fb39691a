"""What it costs to keep one test from the next."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

import local_postgres
from flask_branches import urls
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.benchmark

_HERE = Path(__file__).parent
_TESTS = {"plain": 200, "rollback": 200, "tables": 25, "branch": 50}

_CONFTEST = """
import json, os, time
import pytest, service

took = []

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    began = time.perf_counter()
    try:
        return (yield)
    finally:
        took.append(time.perf_counter() - began)

def pytest_sessionfinish():
    with open(os.environ["TOOK"], "w") as file:
        json.dump(took, file)
"""
_ON_ONE_DATABASE = """
@pytest.fixture(scope="session")
def app():
    app = service.create_app()
    with app.app_context():
        service.db.create_all()
        yield app
        service.db.drop_all()
        service.db.engine.dispose()
"""
_NEW_TABLES = """
@pytest.fixture(scope="session")
def application():
    app = service.create_app()
    with app.app_context():
        yield app
        service.db.engine.dispose()

@pytest.fixture
def app(application):
    service.db.create_all()
    yield application
    service.db.drop_all()
"""
_ON_A_BRANCH = """
@pytest.fixture(scope="session")
def app(branch):
    return service.create_app(branch.url)
"""
_WAYS = {"plain": _ON_ONE_DATABASE, "tables": _NEW_TABLES, "rollback": _ON_A_BRANCH, "branch": _ON_A_BRANCH}
_BODIES = {"nothing": "pass", "a row": "service.write()"}


@pytest.fixture
def url(kind: str, working_directory: Path) -> Iterator[str]:
    """A database that nobody else uses."""
    if kind == "sqlite":
        yield f"sqlite:///{working_directory / 'service.sqlite'}"
        return
    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True) as lease:
        address = lease.cluster.address
        query = {"host": address.host, "port": str(address.port)}
        yield urls.plain(sa.URL.create("postgresql+psycopg", address.user, database=address.user, query=query))


@pytest.fixture
def tests(kind: str, url: str, working_directory: Path) -> Callable[..., float]:
    """Run pytest for real, on many small tests; the median seconds of one, from its set-up to its end."""

    def run(way: str, body: str) -> float:
        folder = working_directory / f"{way} {body}"
        folder.mkdir(exist_ok=True)
        marker = "pytestmark = pytest.mark.branches(isolation='branch')" if way == "branch" else ""
        files = {
            "pytest.ini": "[pytest]\nbranches_app = service:create_app\nbranches_parent = empty\n",
            "conftest.py": _CONFTEST + _WAYS[way],
            "test_it.py": f"import pytest, service\n{marker}\n"
            f"@pytest.mark.parametrize('number', range({_TESTS[way]}))\n"
            f"def test_it(app, number):\n    {_BODIES[body]}\n",
        }
        for name, text in files.items():
            (folder / name).write_text(text)
        plugin = ["-p", "pytest_branches.plugin"] if way in {"rollback", "branch"} else ["-o", "branches_app="]
        variables = {
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(_HERE),
            "SERVICE_URL": url,
            "TOOK": str(folder / "took.json"),
        }
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        took: list[float] = json.loads((folder / "took.json").read_text())
        return statistics.median(took)

    return run


def test_a_rolled_back_block_costs_a_fraction_of_new_tables(
    kind: str, service: Any, url: str, medians: Callable[..., dict[str, float]], ratio: Any
) -> None:
    """The isolation alone: entered, used, left."""
    app = service.create_app(url)

    def isolated(use: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            with Isolation(app):
                use()

        return run

    def new_tables() -> None:
        service.db.create_all()
        service.write()
        service.db.drop_all()

    with app.app_context():
        tables = medians(21, new_tables=new_tables)["new_tables"]
        service.db.create_all()
        sides = {
            "read": service.read,
            "write": service.write,
            "nothing_isolated": isolated(lambda: None),
            "read_isolated": isolated(service.read),
            "write_isolated": isolated(service.write),
        }
        medians(20, **sides)
        took = medians(301, **sides)
        service.db.drop_all()
        service.db.engine.dispose()

    ms = {name: seconds * 1e3 for name, seconds in took.items()}
    ratio(f"{kind}: a read, isolated, to one as it is", ms["read"], ms["read_isolated"], "ms")
    ratio(f"{kind}: a row committed, isolated, to one as it is", ms["write"], ms["write_isolated"], "ms")
    ratio(f"{kind}: that, to an isolation with nothing in it", ms["nothing_isolated"], ms["write_isolated"], "ms")
    ratio(f"{kind}: create_all, a row, drop_all, to that row isolated", ms["write_isolated"], tables * 1e3, "ms")


@pytest.mark.parametrize("body", _BODIES)
def test_a_test_of_the_plugins_costs_a_fraction_of_new_tables(
    kind: str, tests: Callable[..., float], medians: Callable[..., dict[str, float]], ratio: Any, body: str
) -> None:
    """Whole tests, as pytest runs them: with nothing to keep them apart, rolled back, on new tables."""
    took = medians(
        5,
        plain=lambda: tests("plain", body),
        rollback=lambda: tests("rollback", body),
        tables=lambda: tests("tables", body),
    )

    ms = {name: seconds * 1e3 for name, seconds in took.items()}
    ratio(f"{kind}: a test with {body}, rolled back by the plugin, to plain pytest", ms["plain"], ms["rollback"], "ms")
    ratio(f"{kind}: the same on new tables, to rolled back", ms["rollback"], ms["tables"], "ms")


def test_a_branch_of_the_tests_own_is_cheaper_than_new_tables(
    kind: str, tests: Callable[..., float], medians: Callable[..., dict[str, float]], ratio: Any
) -> None:
    """A private branch for each test: made, written to, deleted."""
    took = medians(
        3,
        branch=lambda: tests("branch", "a row"),
        rollback=lambda: tests("rollback", "a row"),
        tables=lambda: tests("tables", "a row"),
    )

    ms = {name: seconds * 1e3 for name, seconds in took.items()}
    ratio(f"{kind}: a test on a branch of its own, to rolled back", ms["rollback"], ms["branch"], "ms")
    ratio(f"{kind}: the same on new tables, to a branch of its own", ms["branch"], ms["tables"], "ms")
