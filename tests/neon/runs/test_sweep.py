"""Whatever one request to Neon's API meets, a run passes or says in one line why not, and nothing is left for ever."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.neon.runs.sweeping import (
    FAULTS,
    KEEPING,
    PATIENCE,
    POINTS,
    REQUESTS,
    TABLE,
    TIMEOUT,
    Sweep,
    Table,
    require_good_end,
)

from flask_branches.backends.neon import marks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.neon.runs.guests import Production
    from tests.plugin.projects import Project

ONE_EACH = {
    "project": "503",
    "branches": "429",
    "endpoints": "524 in HTML",
    "create": "closed after the work",
    "operations": "late, after the work",
    "uri": "500",
    "delete": "closed before the work",
}


@pytest.fixture
def sweep(guests: Project, production: Production, request: pytest.FixtureRequest) -> Iterator[Sweep]:
    """A project that is impatient."""
    guests.variable("BRANCHES_API_TIMEOUT", f"{TIMEOUT}s")
    guests.variable("BRANCHES_API_PATIENCE", f"{PATIENCE}s")
    table = request.config.stash.setdefault(TABLE, Table())
    production.neon.client.control("DELETE", "requests", status=204)
    roles = f"{production.neon.path}/branches/{production.neon.main}/roles"
    production.neon.client.post(roles, {"role": {"name": "reader"}})  # so that a branch is told without its URI
    production.neon.settle()
    yield Sweep(guests, production, table)
    production.clear()
    production.neon.client.delete(f"{roles}/reader")


@pytest.mark.parametrize("request_", ["", "rename"])
def test_what_is_swept_is_what_a_run_asks(sweep: Sweep, request_: str) -> None:
    """Every request of an undisturbed run, by method, route and number, is one of the points."""
    for name in ("BRANCHES_API_TIMEOUT", "BRANCHES_API_PATIENCE"):
        sweep.project.variable(name, "60s")  # so that a busy machine is no disturbance
    sweep.production.neon.client.control("DELETE", "requests", status=204)
    process = sweep.start(request_)
    require_good_end(process.wait(), sweep.project.said())

    asked = sweep.production.neon.client.control("GET", "requests")["requests"]
    found = Counter((each["method"], _route(each["path"])) for each in asked)
    expected: Counter[tuple[str, str]] = Counter()
    for method, path, often in [*REQUESTS.values(), *(KEEPING.values() if request_ else [])]:
        expected[method, path] += often
    if request_:
        del expected["DELETE", "/projects/*/branches/*"]
    # How often operations are asked after depends on how long they take.
    assert found.pop(("GET", "/projects/*/operations")) >= expected.pop(("GET", "/projects/*/operations"))
    assert found == expected


def _route(path: str) -> str:
    return re.sub(r"/(projects|branches|endpoints)/[^/]+", r"/\1/*", path)


@pytest.mark.parametrize(("name", "fault"), ONE_EACH.items())
def test_one_fault_of_each_kind_of_request(sweep: Sweep, name: str, fault: str) -> None:
    """The run passes all the same."""
    sweep.project.variable("BRANCHES_API_PATIENCE", "60s")
    sweep.run((name, 0), fault, 1)

    assert sweep.table.rows[-1].ended == "passed"
    assert sweep.production.branches() == []


@pytest.mark.sweep
@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point[0]} {point[1] + 1}")
def test_every_fault_of_every_request(sweep: Sweep, point: tuple[str, int], fault: str, times: int) -> None:
    """Once, and five times in a row."""
    sweep.run(point, fault, times)


@pytest.mark.parametrize("effect", ["delay_before", "delay_after"])
@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, id=f"{point[0]} {point[1] + 1}", marks=[] if point == ("create", 1) else pytest.mark.sweep)
        for point in POINTS
    ],
)
def test_a_run_that_is_killed_at_a_request(sweep: Sweep, point: tuple[str, int], effect: str) -> None:
    """What it leaves expires, and `prune` names it at once, and deletes it, but for what it has kept."""
    sweep.project.variable("BRANCHES_API_TIMEOUT", "60s")

    sweep.kill(point, {effect: 3})

    left = _not_kept(sweep)
    pruned = sweep.project.flask("branches", "prune", "--json", app="guests:create_app")
    assert pruned.returncode == 0, pruned.stderr
    assert {each["name"] for each in json.loads(pruned.stdout)["branches"]} == left
    assert sweep.project.flask("branches", "prune", "--yes", app="guests:create_app").returncode == 0
    assert _not_kept(sweep) == set()


def _not_kept(sweep: Sweep) -> set[str]:
    """The branches that a run would have deleted: one that is kept lives until it expires."""
    names = {each["name"] for each in sweep.production.branches()}
    return {each for each in names if not each.startswith(marks.KEPT)}
