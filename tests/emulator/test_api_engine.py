"""What is answered when what keeps the clusters ends in the middle of a request."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.emulator import processes
from tests.emulator.running import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2
    from tests.emulator.running import Emulator, Project


def _clusters(data: Path) -> set[str]:
    return {one.name for one in (data / "clusters").iterdir()}


def _create(project: Project, name: str) -> httpx2.Response:
    body = {"branch": {"name": name}, "endpoints": [{"type": "read_write"}]}
    return project.client.http.post(f"{project.path}/branches".lstrip("/"), json=body)


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
            for pid in processes.of(emulator.data, "neon_emulator.supervisor"):
                os.kill(pid, signal.SIGKILL)
            answers[name] = asked.result()
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
