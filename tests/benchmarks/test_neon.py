"""What a session on Neon costs: requests of the API, time to the first test, time for each test; on the emulator."""

from __future__ import annotations

import re
import shutil
import textwrap
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.emulator.conftest import emulator
from tests.neon.runs.guests import APPS, CONFTEST, ROWS, Production

import local_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.emulator.running import Emulator

pytestmark = pytest.mark.benchmark

__all__ = ["emulator"]

_ROUNDS = 7
_MANY = 400
_TESTS = f"""
import os
import time
from pathlib import Path

import pytest
from guests import Guest, db

@pytest.mark.parametrize("number", range(int(os.environ["MANY"])))
def test_it(app, number):
    if number == 0:
        Path("began").write_text(repr(time.time()))
    client = app.test_client()
    assert client.post("/guests", json={{"name": "new"}}).json == {{"guests": {ROWS} + 1}}
    assert client.get("/guests").json == {{"guests": {ROWS} + 1}}
"""


@pytest.fixture
def production(emulator: Emulator) -> Iterator[Production]:
    """A production on the emulator."""
    made = Production(emulator, emulator.client().project())
    made.fill()
    yield made
    made.neon.client.http.delete(f"projects/{made.neon.id}")


@pytest.fixture
def server() -> Iterator[str]:
    """The same on a Postgres of this machine, by its URL."""
    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True) as lease:
        address = lease.cluster.address
        with psycopg.connect(address.conninfo(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE guests")
        query = {"host": address.host, "port": str(address.port)}
        url = sa.URL.create("postgresql", address.user, database="guests", query=query)
        text = url.render_as_string(hide_password=False)
        with psycopg.connect(text, autocommit=True) as connection:
            Production.fill_over(connection)
        yield text


@pytest.fixture
def session(working_directory: Path, run_pytest: Callable[..., str]) -> Callable[..., str]:
    """Run pytest on the guests' application; gives what it says."""
    folder = working_directory / "guests"
    shutil.copytree(APPS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pytest.ini").write_text("[pytest]\nbranches_app = guests:create_app\n")
    (folder / "conftest.py").write_text(textwrap.dedent(CONFTEST))
    (folder / "test_it.py").write_text(_TESTS)

    def run(*arguments: str, many: int = 1, **variables: str) -> str:
        plugins = ["-p", "pytest_branches.plugin", "-p", "xdist"]
        return run_pytest(folder, *plugins, *arguments, MANY=str(many), **variables)

    return run


@pytest.fixture
def first_test(session: Callable[..., str], working_directory: Path) -> Callable[..., float]:
    """The seconds from the command to the first test of a session."""

    def run(**variables: str) -> float:
        asked = time.time()
        session(**variables)
        return float((working_directory / "guests" / "began").read_text()) - asked

    return run


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_how_often_the_api_is_asked(
    session: Callable[..., str], production: Production, ratio: Any, workers: int
) -> None:
    """By the number of workers."""
    said = session(f"-n{workers if workers > 1 else 0}", many=8, **production.variables)

    found = re.search(r"branches: (\d+) requests", said)
    assert found is not None, said
    ratio(f"neon: workers, and requests of the API, for a session on {workers}", workers, int(found[1]), "")


def test_a_session_s_start_and_its_tests(
    session: Callable[..., str],
    first_test: Callable[..., float],
    production: Production,
    server: str,
    medians: Callable[..., dict[str, float]],
    ratio: Any,
) -> None:
    """From the command to the first test, and for each of many tests, beside a Postgres of this machine."""
    neon, local = production.variables, {"DATABASE_URL": server}
    session(**neon)
    session(**local)  # compiled, and its template made

    took = medians(
        _ROUNDS,
        local_first=lambda: first_test(**local),
        neon_first=lambda: first_test(**neon),
        local_one=lambda: session(**local) and None,
        neon_one=lambda: session(**neon) and None,
        local_many=lambda: session(many=_MANY + 1, **local) and None,
        neon_many=lambda: session(many=_MANY + 1, **neon) and None,
    )

    ratio("from the command to the first test: local Postgres to Neon", took["local_first"], took["neon_first"], "s")
    ratio("a whole session of one test: local Postgres to Neon", took["local_one"], took["neon_one"], "s")
    each = {name: (took[f"{name}_many"] - took[f"{name}_one"]) / _MANY * 1000 for name in ("local", "neon")}
    ratio("a test of two requests (at most 1.1): local Postgres to Neon", each["local"], each["neon"], "ms")
