"""What is left of a run on Neon, however it ends: kept, crashed, interrupted, or longer than its branches' lives."""

from __future__ import annotations

import os
import signal
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from tests.neon.runs.guests import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.neon.runs.guests import Production
    from tests.plugin.projects import Project

    Until = Callable[[Callable[[], Any]], Any]

FAILS = "def test_fails(app, branch): assert False"
OWN_FAILS = f"""
    import pytest
    from guests import Guest, db

    @pytest.mark.branches(isolation="branch")
    def test_own(app, own_branch):
        assert db.session.query(Guest).count() == {ROWS}
        assert own_branch.url == ""
"""
# As where a database is too large to be copied inside its branch.
LARGE = """
    from pytest_branches import neon_run

    neon_run._LARGE_BYTES = 0
"""
# As Ctrl-C may, which comes to the main thread alone.
INTERRUPTED = """
    from concurrent.futures import ThreadPoolExecutor

    submit = ThreadPoolExecutor.submit

    def interrupted(makers, *arguments):
        submit(makers, *arguments)
        raise KeyboardInterrupt

    ThreadPoolExecutor.submit = interrupted
"""
CRASHES = """
    import os
    from pathlib import Path

    import pytest

    @pytest.mark.parametrize("number", range(4))
    def test_it(app, branch, number):
        if number == 1 and not Path("crashed").exists():
            Path("crashed").touch()
            os._exit(1)
"""
WAITS = """
    import time
    from pathlib import Path

    def test_it(app, branch):
        Path("waiting").touch()
        while not Path("go").exists():
            time.sleep(0.01)
"""


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.slow)])
def test_a_failed_test_s_branch_is_kept(guests: Project, production: Production, workers: str) -> None:
    """It has another name, by which it outlives the run, and expires; its URL is shown without the password."""
    guests.files(test_guests=FAILS)

    result = guests.run(workers, "--branches-keep=failed")

    result.assert_outcomes(failed=1)
    (kept,) = production.branches()
    assert kept["name"].startswith("kept-test-")
    assert kept["expires_at"] is not None
    result.stdout.fnmatch_lines([f"kept {kept['name']} until *: postgresql*://neondb_owner:[*][*][*]@127.0.0.1:*"])
    assert "Nothing to prune" in guests.flask("branches", "prune", app="guests:create_app").stdout
    assert guests.flask("branches", "url", kept["name"], app="guests:create_app").returncode == 0
    assert guests.flask("branches", "delete", kept["name"], app="guests:create_app").returncode == 0
    assert production.branches() == []


def test_a_branch_that_cannot_be_kept_is_told_and_deleted(guests: Project, production: Production) -> None:
    """In one line, which says why; the run's own end stays what it was."""
    guests.variable("BRANCHES_API_PATIENCE", "1s")
    fault = {"method": "PATCH", "path": "/projects/*/branches/*", "times": 100, "status": 503}
    production.neon.client.control("POST", "faults", fault, status=201)

    result = guests.run("-n0", "--branches-keep=always")

    result.assert_outcomes(passed=4)
    assert result.ret == 0
    assert "kept-test" not in result.stdout.str()
    result.stderr.fnmatch_lines(["branches: test-* could not be kept: Neon did not change the branch br-*(503, *"])
    assert production.branches() == []


def test_a_test_s_own_database_is_kept_with_its_branch(guests: Project, production: Production) -> None:
    """The branch's name is told, and the database's URL."""
    guests.files(test_guests=OWN_FAILS)

    result = guests.run("-n0", "--branches-keep=failed")

    (kept,) = production.branches()
    own = "postgresql*://neondb_owner:[*][*][*]@127.0.0.1:*/neondb__test-*"
    result.stdout.fnmatch_lines([f"kept {kept['name']} until *: {own}"])


def test_a_large_database_s_copy_is_a_branch_of_neon(guests: Project, production: Production) -> None:
    """Of the parent, migrated too; its password, which is its own where the parent is protected, is in no report."""
    path = f"{production.neon.path}/branches/{production.neon.main}"
    production.neon.client.patch(path, {"branch": {"protected": True}})
    guests.files(test_guests=OWN_FAILS)
    conftest = guests.folder / "conftest.py"
    conftest.write_text(conftest.read_text() + "\n".join(line.strip() for line in LARGE.splitlines()))

    result = guests.run("-n0", "-l")

    production.neon.client.patch(path, {"branch": {"protected": False}})
    result.assert_outcomes(failed=1)
    said = result.stdout.str()
    assert "assert 'postgresql" in said
    assert "npg_" not in said
    assert production.branches() == []


def test_a_worker_that_crashes_leaves_nothing(guests: Project, production: Production) -> None:
    """Another one takes its place, with a branch of its own."""
    guests.files(test_guests=CRASHES)

    result = guests.run("-n2")

    result.assert_outcomes(passed=3, failed=1)
    assert production.branches() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_run_that_is_ended_while_its_branches_are_made(
    guests: Project, production: Production, until: Until, interruptible: None, workers: str, number: signal.Signals
) -> None:
    """It waits for what it has asked for, and deletes it."""
    fault = {"method": "POST", "path": "/projects/*/branches", "delay_after": 2, "times": 2}
    production.neon.client.control("DELETE", "requests", status=204)
    production.neon.client.control("POST", "faults", fault, status=201)
    process = guests.start(workers, plugins=())
    asked = 1 if workers == "-n0" else 2
    until(lambda: len(_posts(production)) == asked)

    os.kill(process.pid, number)

    assert process.wait(60) != 0
    assert "Traceback" not in guests.said(), guests.said()
    assert len(_posts(production)) == asked
    until(lambda: production.branches() == [])


def test_a_run_that_is_interrupted_before_it_knows_of_a_branch_waits_for_it(
    guests: Project, production: Production
) -> None:
    """Which is asked for by a thread that nobody has noted yet."""
    fault = {"method": "POST", "path": "/projects/*/branches", "delay_after": 2, "times": 1}
    production.neon.client.control("DELETE", "requests", status=204)
    production.neon.client.control("POST", "faults", fault, status=201)
    conftest = guests.folder / "conftest.py"
    conftest.write_text(conftest.read_text() + textwrap.dedent(INTERRUPTED))

    result = guests.run("-n2")

    assert result.ret != 0
    assert len(_posts(production)) == 1
    assert production.branches() == []


def _posts(production: Production) -> list[Any]:
    found = production.neon.client.control("GET", "requests")["requests"]
    return [each for each in found if each["method"] == "POST"]


def test_its_branches_live_as_long_as_it_does(guests: Project, production: Production, until: Until) -> None:
    """Their expiry is put off meanwhile."""
    guests.files(test_guests=WAITS)
    process = guests.start("-n0", "--branches-expire=6s", plugins=())
    until((guests.folder / "waiting").exists)
    (first,) = production.branches()

    until(lambda: production.branches()[0]["expires_at"] > first["expires_at"])

    (guests.folder / "go").touch()
    assert process.wait(60) == 0, guests.said()
    assert production.branches() == []
