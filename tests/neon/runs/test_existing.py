"""An existing branch of Neon, tested on as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.neon.runs.guests import ROWS

if TYPE_CHECKING:
    from tests.neon.runs.guests import Production
    from tests.plugin.projects import Project

TESTS = f"""
    import pytest
    from guests import Guest, db

    @pytest.mark.parametrize("number", range(4))
    def test_it(app, branch, number):
        assert db.session.query(Guest).count() == {ROWS}
        print("on:", branch.name, branch.backend)

    @pytest.mark.branches(isolation="branch")
    def test_own(app, own_branch):
        db.session.add(Guest(name="own"))
        db.session.commit()
        assert db.session.query(Guest).count() == {ROWS} + 1
"""


@pytest.mark.parametrize("where", ["BRANCHES_URL", pytest.param(".env.test", marks=pytest.mark.slow)])
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_it_is_migrated_and_stays(guests: Project, production: Production, where: str, workers: str) -> None:
    """Neon's API has said that it is a branch; workers have databases in it, which are gone afterwards."""
    made = production.neon.branch(name="staging")
    url = made["connection_uris"][0]["connection_uri"]
    if where == "BRANCHES_URL":
        guests.variable("BRANCHES_URL", url)
    else:
        (guests.folder / ".env.test").write_text(f"DATABASE_URL={url}\n")
    guests.files(test_guests=TESTS)
    before = production.dump()

    result = guests.run(workers, "-rP")

    result.assert_outcomes(passed=5)
    if workers == "-n0":
        assert "on: staging neon" in result.stdout.str()
    branch = made["branch"]["id"]
    query = production.neon.query
    assert query("SELECT version_num FROM alembic_version", branch) == [("0002",)]
    assert query("SELECT count(*) FROM guest", branch) == [(ROWS,)]
    assert query("SELECT count(*) FROM pg_database WHERE datname LIKE 'neondb\\_\\_%'", branch) == [(0,)]
    assert [each["name"] for each in production.branches()] == ["staging"]
    assert production.dump() == before


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.slow)])
def test_an_earlier_release_may_be_configured_with_it(guests: Project, production: Production, workers: str) -> None:
    """It leaves its schema as it is, where our mark says that it was made as a branch; nobody else may."""
    made = guests.flask("branches", "create", "tried", app="guests")
    assert made.returncode == 0, made.stderr
    url = guests.flask("branches", "url", "tried", app="guests").stdout.strip()
    (branch,) = production.branches()
    production.neon.query("ALTER TABLE guest ADD visits INTEGER NOT NULL DEFAULT 1", branch["id"])
    production.neon.query("UPDATE alembic_version SET version_num = 'later'", branch["id"])
    for name, value in {"DATABASE_URL": url, "BRANCHES_URL": url, "BRANCHES_MIGRATE": "never"}.items():
        guests.variable(name, value)
    guests.files(test_guests=TESTS)
    before = production.dump()

    guests.run(workers).assert_outcomes(passed=5)

    assert [each["id"] for each in production.branches()] == [branch["id"]]
    assert production.neon.query("SELECT version_num FROM alembic_version", branch["id"]) == [("later",)]
    assert "the application's own database" in guests.refused("--branches-migrate=always")
    assert production.dump() == before
