"""Random work by four clients and random kills, for minutes: what was answered with success is always there."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.emulator import processes
from tests.emulator.running import Client, Emulator, Project, until
from tests.emulator.soak import MAKING, Branch, Model
from tests.emulator.soak_client import ANSWER_SECONDS, WORKS, SoakClient

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.soak

_CLIENTS = 4
_LONG_ENOUGH = 60.0
"""Seconds in which every kind of work succeeds at least once."""


class _Soak:
    def __init__(self, emulator: Emulator, project: Project, seed: int) -> None:
        self.emulator = emulator
        self.project = project.id
        self.model = Model()
        self.ended = threading.Event()
        self.faults: list[str] = []
        self.names: set[str] = {"main"}
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        with project.connect() as connection:
            connection.execute(MAKING.encode())
        self.model.add(Branch(project.main, "main", None))
        clients = [SoakClient(self, seed + n) for n in range(1, _CLIENTS + 1)]
        self.threads = [threading.Thread(target=client.run, daemon=True) for client in clients]

    def count(self, what: str) -> None:
        """Take down that something was done."""
        with self._lock:
            self.counts[what] += 1

    def fail(self, why: str) -> None:
        """Take down a fault, and end."""
        self.faults.append(why)
        self.ended.set()

    def run(self, seconds: float) -> None:
        """Let the clients work, and kill something now and then."""
        limit = time.monotonic() + seconds
        for thread in self.threads:
            thread.start()
        try:
            while time.monotonic() < limit and not self.ended.wait(self.random.uniform(2, 12)):
                self._kill()
        except Exception:  # noqa: BLE001 - an emulator that does not start or stop is a fault like any other
            self.fail(traceback.format_exc())
        finally:
            self.ended.set()
            self._join()

    def _join(self) -> None:
        limit = time.monotonic() + ANSWER_SECONDS + 30
        for thread in self.threads:
            thread.join(max(0.0, limit - time.monotonic()))
            if thread.ident is not None and (frame := sys._current_frames().get(thread.ident)):
                self.fail("A client waits for ever:\n" + "".join(traceback.format_stack(frame)))

    def _kill(self) -> None:
        home, emulator = _home(self.emulator), self.emulator
        what = self.random.choice(["emulator", "supervisor", "server", "server", "stop"])
        self.count(f"killed: {what}")
        if what == "emulator":
            emulator.kill()
            emulator.start()
        elif what == "stop":
            assert emulator.stop() == 0
            emulator.start()
        else:
            assert emulator.process is not None
            pids = processes.servers(home) if what == "server" else processes.supervisors(emulator.process.pid)
            if pids:
                with suppress(ProcessLookupError):  # stopped meanwhile
                    os.kill(self.random.choice(pids), signal.SIGKILL)


def test_random_work_and_kills(own_emulator: Callable[..., Emulator]) -> None:
    """Four clients make, write, read, reset, suspend and delete branches while emulator, supervisor and servers die."""
    processes.needs_proc()
    seconds, seed = float(os.environ.get("SOAK_SECONDS", "600")), int(os.environ.get("SOAK_SEED", "1"))
    emulator = own_emulator()
    with emulator.client().http as http:
        soak = _Soak(emulator, Client(http).project(), seed)
    soak.run(seconds)
    print(f"seed {seed}, {seconds:.0f} s:", *(f"{n} {what}" for what, n in sorted(soak.counts.items())), sep="\n")
    assert not soak.faults, "\n".join(soak.faults)
    assert seconds < _LONG_ENOUGH or WORKS.keys() <= soak.counts.keys()
    _check_the_end(soak)
    emulator.kill()
    until(lambda: not processes.of(_home(emulator)))
    emulator.start()
    _check_the_end(soak)


def _check_the_end(soak: _Soak) -> None:
    """Nothing is under way any more, every branch has its data, and there is no other folder."""
    home = _home(soak.emulator)
    with soak.emulator.client().http as http:
        project = Project(Client(http), soak.project, {})
        until(lambda: not {one["status"] for one in _operations(project)} & {"scheduling", "running"})
        failed = [one for one in _operations(project) if one["status"] != "finished"]
        assert not failed
        listed = {one["id"]: one["name"] for one in project.branches()}
        assert set(listed.values()) <= soak.names
        known = {one.id: one for one in soak.model.all()}
        assert {one for one in known.keys() - listed.keys() if not soak.model.may_be_gone(one)} == set()
        for branch, name in listed.items():
            _check(project, known.get(branch) or Branch(branch, name, None, set(), soak.model.all_numbers()))
        until(lambda: len(list((home / "clusters").iterdir())) == len(listed))


def _check(project: Project, branch: Branch) -> None:
    path, parameters = f"{project.path}/connection_uri".lstrip("/"), {"branch_id": branch.id}
    parameters |= {"database_name": "neondb", "role_name": "neondb_owner"}
    # The last kill may only just have been.
    until(lambda: project.client.http.get(path, params=parameters).status_code == 200)
    with project.connect(branch.id) as connection:
        branch.check(connection)


def _operations(project: Project) -> list[dict[str, str]]:
    """All operations, from all pages."""
    found: list[dict[str, str]] = []
    wish = {"limit": "1000"}
    while True:
        page = project.client.get(f"{project.path}/operations", params=wish)
        found += page["operations"]
        if len(page["operations"]) < 1000:
            return found
        wish["cursor"] = page["pagination"]["cursor"]


def _home(emulator: Emulator) -> Path:
    return Path(os.path.realpath(emulator.data))
