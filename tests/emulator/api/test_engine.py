"""What is answered when what keeps the clusters ends in the middle of a request."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.emulator import processes
from tests.emulator.api.support import message
from tests.emulator.running import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2
    from tests.emulator.running import Client, Emulator, Project


def _clusters(data: Path) -> set[str]:
    return {one.name for one in (data / "clusters").iterdir()}


def _create(project: Project, name: str) -> httpx2.Response:
    body = {"branch": {"name": name}, "endpoints": [{"type": "read_write"}]}
    return project.client.http.post(f"{project.path}/branches".lstrip("/"), json=body)


def _needs_engine(project: Project) -> int:
    """What a question is answered with that only a supervisor can answer."""
    parameters = {"database_name": "neondb", "role_name": "neondb_owner"}
    path = f"{project.path}/connection_uri".lstrip("/")
    return project.client.http.get(path, params=parameters).status_code


def _kill_supervisor(emulator: Emulator) -> None:
    assert emulator.process is not None
    pid = emulator.process.pid
    until(lambda: processes.supervisors(pid))  # the one before may only just have been killed
    for supervisor in processes.supervisors(pid):
        os.kill(supervisor, signal.SIGKILL)


def test_killed_in_the_middle(own_emulator: Callable[..., Emulator]) -> None:
    """A request whose supervisor dies is answered in Neon's shape with 503, leaves nothing, and can be repeated."""
    processes.needs_proc()
    emulator = own_emulator()
    project = emulator.client().project()
    project.query("CREATE TABLE t AS SELECT 1 AS n")
    before = _clusters(emulator.data)
    answers = {}
    with ThreadPoolExecutor(1) as pool:
        for name in ("one", "two", "three"):
            asked = pool.submit(_create, project, name)
            until(lambda: asked.done() or _clusters(emulator.data) - before)  # noqa: B023 - called at once
            _kill_supervisor(emulator)
            answers[name] = asked.result()
            until(lambda: _needs_engine(project) == 200)  # a death is noticed a moment later
            assert project.query("SELECT n FROM t") == [(1,)]
            before = _clusters(emulator.data)
    assert {answer.status_code for answer in answers.values()} <= {201, 503}
    for answer in answers.values():
        assert answer.status_code == 201 or answer.json().keys() == {"request_id", "code", "message"}
    granted = {name for name, answer in answers.items() if answer.status_code == 201}
    branches = {one["name"]: one["id"] for one in project.branches()}
    assert branches.keys() == granted | {"main"}
    for branch in branches.values():
        assert project.query("SELECT n FROM t", branch) == [(1,)]
    until(lambda: len(_clusters(emulator.data)) == len(branches))
    for name in answers.keys() - granted:
        assert _create(project, name).status_code == 201


def test_reset(own_emulator: Callable[..., Emulator]) -> None:
    """After a reset nothing is left: no project, no cluster, no move of the clock, not what was being made either."""
    emulator = own_emulator()
    client = emulator.client()
    project = client.project()
    project.branch(compute=False)
    client.advance(1000)

    def create(_: int) -> int:
        return client.http.post("projects", json={"project": {}}).status_code

    with ThreadPoolExecutor(3) as pool:
        made = pool.map(create, range(3))
        client.control("POST", "reset", status=204)
        statuses = list(made)
    assert set(statuses) <= {201, 503}
    assert client.control("GET", "clock")["offset"] == 0
    left = client.get("/projects")["projects"]
    assert project.id not in {one["id"] for one in left}
    until(lambda: len(_clusters(emulator.data)) == len(left))
    for one in left:
        client.delete(f"/projects/{one['id']}")
    until(lambda: not _clusters(emulator.data))


def test_failed_operation(own_emulator: Callable[..., Emulator]) -> None:
    """An operation that fails ends with `error` and Postgres's words, and its branch can be changed and deleted."""
    emulator = own_emulator()
    project = emulator.client().project()
    before = _clusters(emulator.data)
    made = project.branch()
    endpoint = f"{project.path}/endpoints/{made['endpoints'][0]['id']}"
    project.client.post(f"{endpoint}/suspend", status=200)
    (cluster,) = _clusters(emulator.data) - before
    (emulator.data / "clusters" / cluster / "data" / "global" / "pg_control").unlink()
    started = project.client.post(f"{endpoint}/start", status=200)["operations"][0]
    ended = project.client.get(f"{project.path}/operations/{started['id']}")["operation"]
    assert (ended["action"], ended["status"], ended["failures_count"]) == ("start_compute", "error", 1)
    assert "could not find the database system" in ended["error"] or "pg_control" in ended["error"]
    assert project.client.get(endpoint)["endpoint"]["current_state"] == "idle"
    branch = f"{project.path}/branches/{made['branch']['id']}"
    project.client.patch(branch, {"branch": {"name": "broken"}})
    project.client.delete(branch)
    assert project.query("SELECT 1") == [(1,)]


def test_failed_copy(own_emulator: Callable[..., Emulator]) -> None:
    """A copy that fails is answered with 500 in Neon's shape and Postgres's words, and leaves nothing."""
    emulator = own_emulator()
    project = emulator.client().project()
    before = _clusters(emulator.data)
    parent = project.branch(compute=False)["branch"]["id"]
    (cluster,) = _clusters(emulator.data) - before
    (emulator.data / "clusters" / cluster / "data" / "global" / "pg_control").unlink()
    there = _clusters(emulator.data)
    body = {"branch": {"parent_id": parent, "init_source": "schema-only"}}
    assert "pg_control" in message(project.client, "POST", f"{project.path}/branches", 500, body)
    until(lambda: _clusters(emulator.data) == there)
    assert len(project.branches()) == 2
    project.branch(compute=False)


def test_operations_of_a_supervisor_that_dies(own_emulator: Callable[..., Emulator]) -> None:
    """What was written down is done by the next supervisor: the password that is told is the one that opens."""
    processes.needs_proc()
    emulator = own_emulator()
    project = emulator.client().project()
    enough = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_reset_until, enough, project, emulator.client())
        try:
            for number in range(1, 4):
                until(lambda: len(project.operations()) > 5 * number)  # noqa: B023 - called at once
                _kill_supervisor(emulator)
        finally:
            enough.set()
        assert asked.result() <= {200, 503}
    until(lambda: _needs_engine(project) == 200)
    project.settle()
    assert project.query("SELECT 1") == [(1,)]


def _reset_until(enough: threading.Event, project: Project, client: Client) -> set[int]:
    path = f"{project.path}/branches/{project.main}/roles/neondb_owner/reset_password".lstrip("/")
    statuses = set()
    while not enough.is_set():
        statuses.add(client.http.post(path).status_code)
    return statuses
