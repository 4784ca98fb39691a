"""A whole test run, in which one request to Neon's API meets a fault, and what is to be so afterwards."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.emulator.running import until

if TYPE_CHECKING:
    import subprocess

    from tests.neon.runs.guests import Production
    from tests.plugin.projects import Project

WORKERS = 2
TESTS_OF_A_RUN = 4
# A request is given up after this, and nothing is tried for longer than that; a fault's delay outlasts the first.
TIMEOUT, PATIENCE, DELAY = 1, 8, 1.5
_HUNG = 90.0

# What a run with two workers asks, of a production with more than one role, and how often; a test holds it against
# a run's own log.
REQUESTS = {
    "project": ("GET", "/projects/*", 1),
    "branches": ("GET", "/projects/*/branches", 1),
    "endpoints": ("GET", "/projects/*/endpoints", 1),
    "create": ("POST", "/projects/*/branches", 2),
    "operations": ("GET", "/projects/*/operations", 2),
    "uri": ("GET", "/projects/*/connection_uri", 2),
    "delete": ("DELETE", "/projects/*/branches/*", 2),
}
# What one asks beside that which keeps its branches.
KEEPING = {
    "branches, to keep": ("GET", "/projects/*/branches", 2),
    "endpoints, to keep": ("GET", "/projects/*/endpoints", 2),
    "uri, to keep": ("GET", "/projects/*/connection_uri", 2),
    "rename": ("PATCH", "/projects/*/branches/*", 2),
    "branch": ("GET", "/projects/*/branches/*", 2),
}
FAULTS: dict[str, dict[str, Any]] = {
    "423": {"status": 423},
    "429": {"status": 429, "retry_after": 1},
    "500": {"status": 500},
    "500, done": {"status": 500, "done": True},
    "503": {"status": 503},
    "524 in HTML": {"status": 524},
    "524 in HTML, done": {"status": 524, "done": True},
    "closed before the work": {"close": "before"},
    "closed after the work": {"close": "after"},
    "late, before the work": {"delay_before": DELAY},
    "late, after the work": {"delay_after": DELAY},
}
POINTS = [(name, nth) for name, (_, _, often) in {**REQUESTS, **KEEPING}.items() for nth in range(often)]


@dataclass
class Row:
    """What became of one run."""

    point: str
    fault: str
    times: int
    ended: str
    seconds: float
    requests: str
    left: int


@dataclass
class Table:
    """What became of all runs of this session."""

    rows: list[Row] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The table, for people."""
        head = ("request", "fault", "times", "the run", "s", "requests", "left, expiring")
        cells = [
            (each.point, each.fault, str(each.times), each.ended, f"{each.seconds:.1f}", each.requests, str(each.left))
            for each in sorted(self.rows, key=lambda each: (each.point, each.fault, each.times))
        ]
        widths = [max(len(row[column]) for row in [head, *cells]) for column in range(len(head))]
        return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *cells]]


TABLE = pytest.StashKey[Table]()


@dataclass
class Sweep:
    """A production that sleeps, and a project whose runs find it."""

    project: Project
    production: Production
    table: Table

    def start(self, request: str = "") -> subprocess.Popen[bytes]:
        """Begin a run that sends a request; it keeps its branches where only such a one does."""
        keep = ["--branches-keep=always"] if request in KEEPING else []
        return self.project.start(f"-n{WORKERS}", *keep, plugins=())

    def set_fault(self, point: tuple[str, int], effect: dict[str, Any], times: int = 1) -> int:
        """Let a request of a run meet a fault; gives the fault's id."""
        name, nth = point
        method, path, _ = (REQUESTS | KEEPING)[name]
        nth += REQUESTS[before][2] if (before := name.removesuffix(", to keep")) != name else 0
        rule = {"method": method, "path": path, "skip": nth, "times": times, **effect}
        made = self.production.neon.client.control("POST", "faults", rule, status=201)
        return int(made["faults"][0]["id"] if "faults" in made else made["id"])

    def run(self, point: tuple[str, int], fault: str, times: int) -> None:
        """Run the tests, and hold what has become of it against what has to be."""
        self.production.suspend()
        before = {each["id"] for each in self._ever()}
        rule = self.set_fault(point, FAULTS[fault], times)
        began = time.monotonic()
        process = self.start(point[0])
        status = process.wait(_HUNG)
        seconds = time.monotonic() - began
        said = self.project.said()
        self.table.rows.append(
            Row(
                _named(point),
                fault,
                times,
                _ended(status, said),
                seconds,
                _asked(said),
                len(self.production.branches()),
            )
        )
        assert self._is_met(rule)
        require_good_end(status, said)
        self.require_harmless(before)

    def require_harmless(self, before: set[str]) -> None:
        """What is left expires, no branch was made twice, and production has slept on."""
        assert all(each["expires_at"] for each in self.production.branches())
        made = Counter(each["name"] for each in self._ever() if each["id"] not in before)
        assert set(made.values()) <= {1}, made
        assert not self.production.is_awake()

    def kill(self, point: tuple[str, int], effect: dict[str, Any]) -> None:
        """Kill a run, workers and all, while a request of it waits for its answer; what is left is harmless."""
        self.production.suspend()
        before = {each["id"] for each in self._ever()}
        fault = self.set_fault(point, effect)
        process = self.start(point[0])
        until(lambda: self._is_met(fault))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.production.neon.client.control("DELETE", "faults", status=204)
        until(self._is_quiet)
        self.require_harmless(before)

    def _is_met(self, fault: int) -> bool:
        found = self.production.neon.client.control("GET", "requests")["requests"]
        return any(each["fault"] == fault for each in found)

    def _is_quiet(self) -> bool:
        found = self.production.neon.client.control("GET", "requests")["requests"]
        # This very look is no request of the API's.
        return all(each["ended"] for each in found)

    def _ever(self) -> list[dict[str, Any]]:
        """Every branch that there is or was."""
        path = f"{self.production.neon.path}/branches"
        found: list[dict[str, Any]] = self.production.neon.client.get(path, params={"include_deleted": "true"})[
            "branches"
        ]
        return found


def require_good_end(status: int, said: str) -> None:
    """All tests have passed; or no test has run, and one line says why."""
    assert "Traceback" not in said, said
    assert "INTERNALERROR" not in said, said
    if status == pytest.ExitCode.OK:
        assert f"{TESTS_OF_A_RUN} passed" in said, said
    else:
        assert status == pytest.ExitCode.USAGE_ERROR, said
        assert len(re.findall(r"^ERROR: ", said, re.MULTILINE)) == 1, said


def _ended(status: int, said: str) -> str:
    if status == pytest.ExitCode.OK:
        complained = re.search(r"^branches: .* could not be (kept|deleted): ", said, re.MULTILINE)
        return "passed, with a complaint" if complained else "passed"
    line = re.search(r"^ERROR: (.*)$", said, re.MULTILINE)
    return f"refused: {line[1][:60] if line else '?'}"


def _asked(said: str) -> str:
    found = re.search(r"branches: (\d+) requests", said)
    return found[1] if found else "-"


def _named(point: tuple[str, int]) -> str:
    name, nth = point
    return f"{name} {nth + 1}" if (REQUESTS | KEEPING)[name][2] > 1 else name
