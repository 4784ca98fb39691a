"""What a test run on Neon makes, does, costs and leaves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.neon.runs.guests import ROWS

if TYPE_CHECKING:
    from tests.neon.runs.guests import Production
    from tests.plugin.projects import Project

OWN = f"""
    import pytest
    from guests import Guest, db

    ROWS = {ROWS}

    @pytest.mark.branches(isolation="none")
    def test_a_what_stays(app):
        db.session.add(Guest(name="stays"))
        db.session.commit()

    @pytest.mark.branches(isolation="branch")
    @pytest.mark.parametrize("number", range(2))
    def test_b_own(app, own_branch, branch, number):
        assert own_branch.url != branch.url
        assert db.session.query(Guest).count() == ROWS
        db.session.add(Guest(name="own"))
        db.session.commit()
        assert db.session.query(Guest).count() == ROWS + 1
        print("own:", own_branch.backend)
"""


def _requests(text: str) -> int:
    found = re.search(r"branches: (\d+) requests to Neon's API", text)
    assert found, text
    return int(found[1])


@pytest.mark.parametrize("workers", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_production_is_as_it_was_and_no_branch_is_left(guests: Project, production: Production, workers: int) -> None:
    """Its data and schema to the byte; it was not even connected to, and Neon was asked few times."""
    before = production.dump()
    production.suspend()

    result = guests.run(f"-n{workers if workers > 1 else 0}", "-v")

    result.assert_outcomes(passed=4)
    assert not production.is_awake()
    assert production.branches() == []
    assert production.dump() == before
    assert _requests(result.stdout.str()) <= {1: 8, 2: 12, 4: 20}[workers]


def test_each_worker_has_a_branch_of_the_parent(guests: Project) -> None:
    """And the header says so."""
    guests.files(
        test_guests="""
        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_it(app, branch, number):
            print("on:", branch.name, branch.parent, branch.backend)
    """
    )
    result = guests.run("-n2", "-rP")

    result.stdout.fnmatch_lines(["branches: neon, a branch for each of 2 workers, of main (*), because DATABASE_URL *"])
    found = set(re.findall(r"^on: (\S+) main neon$", result.stdout.str(), re.MULTILINE))
    assert {name.rpartition("-")[2] for name in found} == {"gw0", "gw1"}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_test_s_own_branch_is_a_database_in_the_worker_s(
    guests: Project, production: Production, workers: str
) -> None:
    """It holds what the worker's branch held before any test, however the tests before have left that."""
    guests.files(test_guests=OWN)

    result = guests.run(workers, "-rP", "-p", "no:randomly")

    result.assert_outcomes(passed=3)
    assert "own: postgres" in result.stdout.str()
    assert production.branches() == []
