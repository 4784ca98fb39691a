"""Where the plan has too few branches: a database for each worker, in one branch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.neon.runs.guests import ROWS, Production, crowded, lead
from tests.neon.runs.test_ended import CRASHES
from tests.neon.runs.test_runs import OWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.running import Emulator
    from tests.plugin.projects import Project

TESTS = f"""
    import pytest
    from guests import Guest, db

    @pytest.mark.parametrize("number", range(6))
    def test_it(app, branch, number):
        assert db.session.query(Guest).count() == {ROWS}
        print("on:", branch.name, branch.url.rpartition("@")[2])
"""


@pytest.fixture
def full(guests: Project, own_emulator: Callable[..., Emulator]) -> Production:
    """A production in a project that has room for one more branch."""
    production = crowded(own_emulator("--plan", "free"), others=8)
    lead(guests, production)
    return production


def test_each_worker_has_a_database_in_one_branch(guests: Project, full: Production) -> None:
    """The header says so, and why; the branch is gone afterwards, and production as it was."""
    before = full.dump()
    guests.files(test_guests=TESTS, test_own=OWN)

    result = guests.run("-n2", "-rP", "-p", "no:randomly")

    result.assert_outcomes(passed=9)
    result.stdout.fnmatch_lines(
        ["branches: neon, a database in one branch for each of 2 workers, of main (*; the plan allows 10 branches, *"]
    )
    places = set(re.findall(r"^on: (gw\d) (\S+?)/(\S+?)\?", result.stdout.str(), re.MULTILINE))
    assert {worker for worker, _, _ in places} == {"gw0", "gw1"}
    assert len({host for _, host, _ in places}) == 1
    assert len({database for _, _, database in places}) == 2
    assert len(full.branches()) == 8
    assert full.dump() == before


def test_a_worker_that_crashes_is_not_looked_for(guests: Project, full: Production) -> None:
    """It has made no branch, so the list of those is asked for once, before the run."""
    guests.files(test_guests=CRASHES)
    full.neon.client.control("DELETE", "requests", status=204)

    result = guests.run("-n2")

    result.assert_outcomes(passed=3, failed=1)
    asked = full.neon.client.control("GET", "requests")["requests"]
    assert len([each for each in asked if each["method"] == "GET" and each["path"].endswith("/branches")]) == 1
    assert len(full.branches()) == 8


def test_one_that_is_kept_keeps_the_branch(guests: Project, full: Production) -> None:
    """Until it expires, and its URL leads there."""
    guests.files(test_guests="def test_fails(app, branch): assert False")

    result = guests.run("-n2", "--branches-keep=failed")

    result.assert_outcomes(failed=1)
    (kept,) = [each for each in full.branches() if each["name"].startswith("kept-test-")]
    assert kept["expires_at"] is not None
    where = "postgresql*://neondb_owner:[*][*][*]@127.0.0.1:*/neondb__gw?[?]*"
    result.stdout.fnmatch_lines([f"kept {kept['name']} until *: {where}"])
