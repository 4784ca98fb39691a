"""Whatever is killed, at whatever moment: what was answered with success is there, and nothing else is left."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest
from tests.emulator import processes
from tests.emulator.running import NEVER_TOLD, Emulator, Project, start_command, until

import local_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Start = Callable[..., Emulator]


@pytest.fixture(autouse=True)
def _told_by_proc() -> None:
    processes.needs_proc()


def _home(emulator: Emulator) -> Path:
    return Path(os.path.realpath(emulator.data))


def _pid(emulator: Emulator) -> int:
    assert emulator.process is not None
    return emulator.process.pid


def _supervisor(emulator: Emulator) -> int:
    (pid,) = processes.supervisors(_pid(emulator))
    return pid


def _again(emulator: Emulator, project: Project) -> Project:
    """The same project in an emulator that was started again."""
    emulator.start()
    return Project(emulator.client(), project.id, project.made)


def _fill(project: Project, branch: str | None = None, value: int = 1) -> None:
    project.query("CREATE TABLE IF NOT EXISTS kept (n integer)", branch)
    with project.connect(branch) as connection:
        connection.execute("INSERT INTO kept VALUES (%s)", [value])


@pytest.mark.parametrize("end", [Emulator.stop, Emulator.kill], ids=["stopped", "killed"])
def test_all_is_there_after_a_restart(own_emulator: Start, end: Callable[[Emulator], Any]) -> None:
    """Branches, data, passwords and addresses are the same after a restart, whichever way the emulator ended."""
    emulator = own_emulator()
    project = emulator.client().project()
    _fill(project)
    made = project.branch(name="child")
    _fill(project, made["branch"]["id"], 2)
    uris = [project.uri(), project.uri(made["branch"]["id"])]
    end(emulator)
    project = _again(emulator, project)
    assert [one["name"] for one in project.branches()] == ["child", "main"]
    assert [project.uri(), project.uri(made["branch"]["id"])] == uris
    assert project.query("SELECT n FROM kept") == [(1,)]
    assert project.query("SELECT n FROM kept ORDER BY n", made["branch"]["id"]) == [(1,), (2,)]


def test_nothing_outlives_the_emulator(own_emulator: Start) -> None:
    """After a SIGKILL of the emulator its supervisor stops every server, lets go of every port, and ends."""
    emulator = own_emulator()
    project = emulator.client().project()
    port = int(project.uri().split("@")[1].split(":")[1].split("/")[0])
    _fill(project)
    emulator.kill()
    until(lambda: not processes.of(_home(emulator)))
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))


def test_nothing_outlives_emulator_and_supervisor(own_emulator: Start) -> None:
    """Killed both at once, they leave no server behind, and the next start finds all data."""
    emulator = own_emulator()
    project = emulator.client().project()
    _fill(project)
    supervisor = _supervisor(emulator)
    os.kill(_pid(emulator), signal.SIGSTOP)  # else it would start another supervisor
    os.kill(supervisor, signal.SIGKILL)
    emulator.kill()
    until(lambda: not processes.servers(_home(emulator)))
    assert _again(emulator, project).query("SELECT n FROM kept") == [(1,)]


def test_another_supervisor_takes_over(own_emulator: Start) -> None:
    """A killed supervisor is replaced while the emulator goes on: same data, same addresses."""
    emulator = own_emulator()
    project = emulator.client().project()
    _fill(project)
    uri = project.uri()
    killed = _supervisor(emulator)
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in processes.supervisors(_pid(emulator)) and _answers(uri))
    assert _supervisor(emulator) != killed
    assert project.query("SELECT n FROM kept") == [(1,)]
    project.branch(name="after")
    assert project.uri() == uri


def test_a_killed_server_is_started_again(own_emulator: Start) -> None:
    """A branch's Postgres that was killed loses no commit, and comes back when somebody connects."""
    emulator = own_emulator()
    project = emulator.client().project()
    _fill(project)
    (server,) = processes.servers(_home(emulator))
    os.kill(server, signal.SIGKILL)
    until(lambda: server not in processes.servers(_home(emulator)) and _answers(project.uri()))
    assert project.query("SELECT n FROM kept") == [(1,)]


@pytest.mark.parametrize("again", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 5))])
def test_a_kill_while_branches_are_made(own_emulator: Start, again: int) -> None:
    """Of the branches that were being made when the emulator was killed, those that were answered are there, whole."""
    emulator = own_emulator()
    project = emulator.client().project()
    _fill(project)
    answered: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        makers = [pool.submit(_make_branches, project, range(first, 100, 4), answered) for first in range(4)]
        until(lambda: len(answered) > again)
        emulator.kill()
    assert [maker.result() for maker in makers] == [None] * 4
    project = _again(emulator, project)
    project.settle()
    ids = {one["id"] for one in project.branches()}
    assert ids >= set(answered)
    until(lambda: len(_clusters(emulator)) == len(ids))
    for branch in ids - {project.main}:
        project.client.post(f"{project.path}/endpoints", {"endpoint": {"branch_id": branch, "type": "read_write"}})
        project.settle()
        assert project.query("SELECT n FROM kept", branch) == [(1,)]


def _make_branches(project: Project, numbers: Iterable[int], answered: list[str]) -> None:
    """Make branches until nobody answers any more, and take down those that were answered for."""
    http = project.client.http
    with httpx2.Client(base_url=http.base_url, headers=http.headers, timeout=60, trust_env=False) as client:
        for number in numbers:
            try:
                answer = client.post(f"projects/{project.id}/branches", json={"branch": {"name": f"b{number}"}})
            except httpx2.HTTPError:
                return
            if answer.status_code == 201:
                answered.append(answer.json()["branch"]["id"])


def test_a_folder_is_used_once(own_emulator: Start) -> None:
    """A second emulator on a folder is refused with one line that says so."""
    emulator = own_emulator()
    second = start_command("serve", "--data", emulator.data, stderr=-1)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert (
        said.strip() == f"Error: Another emulator uses {_home(emulator)}: end it, or name another folder with --data."
    )


def test_a_folder_of_somebody_else_is_left_alone() -> None:
    """A folder with something else in it is refused, and stays as it is."""
    folder = local_postgres.throwaway_folder()
    (folder / "letter").write_text("dear")
    process = start_command("serve", "--data", folder, stderr=-1)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is not empty, and no emulator's: name a new folder" in said
    assert [path.name for path in folder.iterdir()] == ["letter"]
    (folder / "letter").unlink()
    folder.rmdir()


def test_data_is_private(own_emulator: Start) -> None:
    """Nobody but its owner can look into an emulator's folder."""
    emulator = own_emulator()
    assert _home(emulator).stat().st_mode & 0o077 == 0
    for name in ("state.db", "api-key", "certificate.pem"):
        assert (_home(emulator) / name).stat().st_mode & 0o077 == 0, name


def _clusters(emulator: Emulator) -> list[Path]:
    return list((_home(emulator) / "clusters").iterdir())


def _answers(uri: str) -> bool:
    try:
        psycopg.connect(uri, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if any(words in str(error) for words in NEVER_TOLD):
            raise
        return False
    return True
