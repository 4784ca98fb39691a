"""Where no variable names a database: Neon's settings do, and what they lead to is as much out of reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.neon.runs.guests import Production
    from tests.plugin.projects import Project

WRITES = """
    import os

    import pytest
    import sqlalchemy as sa

    def test_production_is_out_of_reach(app, branch):
        engine = sa.create_engine(os.environ["PRODUCTION"], poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE mine (id INTEGER)")
"""
IMPORTS = """
    import os

    import sqlalchemy as sa

    with sa.create_engine(os.environ["PRODUCTION"], poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE mine (id INTEGER)")
"""


@pytest.fixture
def elsewhere(guests: Project, production: Production) -> Project:
    """The application on SQLite, to be tested on Neon; who knows where production is, knows it in another way."""
    guests.variable("DATABASE_URL", None)
    guests.variable("BRANCHES_BACKEND", "neon")
    guests.variable("PRODUCTION", production.url.replace("postgresql://", "postgresql+psycopg://"))
    return guests


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.slow)])
def test_an_application_of_another_kind_is_tested_on_neon(
    elsewhere: Project, production: Production, workers: str
) -> None:
    """On branches of the project's default one, which is as it was afterwards."""
    before = production.dump()

    result = elsewhere.run(workers)

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["branches: neon, a branch* of main (postgresql*), because BRANCHES_BACKEND is neon"])
    assert production.dump() == before
    assert production.branches() == []


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_test_does_not_reach_production(elsewhere: Project, production: Production, workers: str) -> None:
    """It is the application's own database, though the application does not know it."""
    elsewhere.files(test_guests=WRITES)

    result = elsewhere.run(workers)

    result.assert_outcomes(failed=1)
    assert "is the application's own database, which nothing connects to while tests run" in result.stdout.str()
    assert production.neon.query("SELECT to_regclass('mine')") == [(None,)]


def test_nor_does_a_conftest(elsewhere: Project, production: Production) -> None:
    """Whatever server it connects to while it is imported, it can only read there."""
    conftest = elsewhere.folder / "conftest.py"
    conftest.write_text("\n".join(line[4:] for line in IMPORTS.splitlines()) + "\n" + conftest.read_text())

    said = elsewhere.run("-n0").stderr.str()

    assert "The application writes to a database while it is made or imported" in said
    assert production.neon.query("SELECT to_regclass('mine')") == [(None,)]
