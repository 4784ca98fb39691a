"""Random work by four clients and random kills, for minutes: what was answered with success is always there."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest
from tests.emulator import processes
from tests.emulator.running import Client, Emulator, Project, until
from tests.emulator.soak import MAKING, Branch, Model

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.soak

_CLIENTS = 4
_MOST = 12
_RETRIED = {404, 422, 423, 503}
_CONNECTING = 30
_POINT = "SELECT clock_timestamp(), pg_current_wal_lsn()::text"


class _Refused(Exception):
    """The emulator was not there, or had something else to do: no wrong answer, and no success."""


class _Worker:
    """One client, which does one random thing after the other."""

    def __init__(self, soak: _Soak, seed: int) -> None:
        self.soak = soak
        self.model = soak.model
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.http = httpx2.Client(timeout=60, trust_env=False)

    def run(self) -> None:
        """Work until the time is over, or somebody has found a fault."""
        works = [self.write] * 8 + [self.read] * 4 + [self.branch] * 3 + [self.past] * 2
        works += [self.delete] * 3 + [self.reset, self.suspend, self.list]
        while not self.soak.ended.is_set():
            work = self.random.choice(works)
            try:
                work()
            except (_Refused, psycopg.OperationalError, psycopg.InterfaceError) as error:
                self.soak.count(f"{work.__name__}: {str(error).splitlines()[0][:90] if str(error) else 'no answer'}")
                time.sleep(0.05)
            except Exception:  # noqa: BLE001 - whatever it is, it ends the test
                self.soak.fail(traceback.format_exc())
            else:
                self.soak.count(work.__name__)
        self.http.close()

    def write(self) -> None:
        """Move an amount and write a number, in one transaction."""
        branch = self.random.choice(self.model.all())
        with self.model.held(branch) as held:
            if not held:
                return
            number = self.model.number()
            branch.tried.add(number)
            with self._connect(branch) as connection, connection.transaction():
                connection.execute("UPDATE accounts SET amount = amount - 1 WHERE id = 1")
                connection.execute("INSERT INTO seen VALUES (%s)", [number])
                connection.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 2")
            branch.certain.add(number)

    def read(self) -> None:
        """Check a branch."""
        branch = self.random.choice(self.model.all())
        with self.model.held(branch) as held:
            if held:
                with self._connect(branch) as connection:
                    branch.certain = branch.check(connection)

    def branch(self) -> None:
        """Make a branch at the head of a parent that others write to."""
        parent = self.random.choice(self.model.all())
        self._make(parent, set(parent.certain))

    def past(self) -> None:
        """Make a branch at a point of the first branch that was just read."""
        first = self.model.all()[0]
        with self._connect(first) as connection:
            certain = set(first.certain)
            when, lsn = connection.execute(_POINT).fetchall()[0]
            tried = set(first.tried)
        time.sleep(self.random.random())
        at = self.random.choice([{"parent_timestamp": when.isoformat()}, {"parent_lsn": lsn}])
        self._make(first, certain, tried, **at)

    def _make(self, parent: Branch, certain: set[int], tried: set[int] | None = None, **at: Any) -> None:
        if len(self.model.all()) >= _MOST:
            return
        name = f"b{self.model.number()}"
        body = {"branch": {"name": name, "parent_id": parent.id, **at}, "endpoints": [{"type": "read_write"}]}
        self.soak.names.add(name)
        made = self._ask("POST", "/branches", body)["branch"]
        branch = Branch(made["id"], name, parent.id, certain, set(parent.tried) if tried is None else tried)
        with branch.lock:
            self.model.add(branch)
            with self._connect(branch) as connection:
                branch.certain = branch.check(connection)

    def delete(self) -> None:
        """Delete a branch without children."""
        leaves = self.model.leaves()
        if len(leaves) < 3:
            return
        branch = self.random.choice(leaves)
        with self.model.held(branch) as held:
            if held:
                self.model.deleting.add(branch.id)
                self._ask("DELETE", f"/branches/{branch.id}")
                self.model.remove(branch)

    def reset(self) -> None:
        """Reset a branch without children to its parent's head."""
        leaves = self.model.leaves()
        if not leaves:
            return
        branch = self.random.choice(leaves)
        parent = next((one for one in self.model.all() if one.id == branch.parent), None)
        with self.model.held(branch) as held:
            if not held or parent is None:
                return
            before, certain = set(branch.certain), set(parent.certain)
            branch.certain = before & certain  # until it is known whether it happened
            try:
                self._ask("POST", f"/branches/{branch.id}/restore", {"source_branch_id": parent.id})
            except _Refused:
                branch.tried |= set(parent.tried)
                raise
            branch.certain, branch.tried = certain, set(parent.tried)
            with self._connect(branch) as connection:
                branch.certain = branch.check(connection)

    def suspend(self) -> None:
        """Suspend a compute in the middle of what others do."""
        branch = self.random.choice(self.model.all())
        for endpoint in self._ask("GET", f"/branches/{branch.id}/endpoints")["endpoints"]:
            self._ask("POST", f"/endpoints/{endpoint['id']}/suspend")

    def list(self) -> None:
        """Everything that was answered for is listed."""
        expected = {branch.id for branch in self.model.all()}
        listed = {one["id"] for one in self._ask("GET", "/branches")["branches"]}
        missing = {one for one in expected - listed if one not in self.model.deleting}
        assert not missing, f"not listed: {missing}"

    def _connect(self, branch: Branch) -> psycopg.Connection[Any]:
        parameters = {"branch_id": branch.id, "database_name": "neondb", "role_name": "neondb_owner"}
        uri = self._ask("GET", "/connection_uri", params=parameters)["uri"]
        return psycopg.connect(uri, autocommit=True, connect_timeout=_CONNECTING)

    def _ask(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        exported = self.soak.emulator.exported
        if not exported:
            raise _Refused
        url = f"{exported['NEON_API_HOST']}/projects/{self.soak.project}{path}"
        headers = {"Authorization": f"Bearer {exported['NEON_API_KEY']}"}
        try:
            answer = self.http.request(method, url, headers=headers, json=json, **options)
        except httpx2.HTTPError as error:
            raise _Refused from error
        if answer.status_code in _RETRIED:
            raise _Refused(f"{answer.status_code} {answer.json()['message']}")
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


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
        self.workers = [threading.Thread(target=_Worker(self, seed + n).run) for n in range(1, _CLIENTS + 1)]

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
        for worker in self.workers:
            worker.start()
        while time.monotonic() < limit and not self.ended.wait(self.random.uniform(2, 12)):
            self._kill()
        self.ended.set()
        for worker in self.workers:
            worker.join()

    def _kill(self) -> None:
        home = Path(os.path.realpath(self.emulator.data))
        what = self.random.choice(["emulator", "supervisor", "server", "server", "stop"])
        self.count(f"killed: {what}")
        if what == "emulator":
            self.emulator.kill()
            self.emulator.start()
        elif what == "stop":
            assert self.emulator.stop() == 0
            self.emulator.start()
        else:
            pids = processes.servers(home) if what == "server" else processes.of(home, "neon_emulator.supervisor")
            if pids:
                os.kill(self.random.choice(pids), signal.SIGKILL)


def test_random_work_and_kills(own_emulator: Callable[..., Emulator]) -> None:
    """Four clients make, write, read, reset, suspend and delete branches while emulator, supervisor and servers die."""
    processes.needs_proc()
    seconds, seed = float(os.environ.get("SOAK_SECONDS", "600")), int(os.environ.get("SOAK_SEED", "1"))
    emulator = own_emulator()
    with emulator.client().http as http:
        soak = _Soak(emulator, Client(http).project(), seed)
    soak.run(seconds)
    print(
        f"seed {seed}, {seconds:.0f} s:", *(f"{count} {what}" for what, count in sorted(soak.counts.items())), sep="\n"
    )
    assert not soak.faults, "\n".join(soak.faults)
    _check_the_end(soak)


def _check_the_end(soak: _Soak) -> None:
    """After a last restart: every branch with its data, no other folder, no other process."""
    emulator = soak.emulator
    emulator.kill()
    home = Path(os.path.realpath(emulator.data))
    until(lambda: not processes.of(home))
    emulator.start()
    with emulator.client().http as http:
        project = Project(Client(http), soak.project, {})
        project.settle()
        listed = {one["id"]: one["name"] for one in project.branches()}
        assert set(listed.values()) <= soak.names
        assert {one.id for one in soak.model.all()} - set(listed) <= soak.model.deleting
        for branch in soak.model.all():
            if branch.id in listed:
                with project.connect(branch.id) as connection:
                    branch.check(connection)
        assert len(list((home / "clusters").iterdir())) == len(listed)
