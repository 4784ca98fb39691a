from __future__ import annotations

import os
import signal
import sys
from typing import IO, TYPE_CHECKING

import pytest

import local_postgres

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.local_postgres.conftest import Processes, Query, StartUser, Until

_FORKING = """
import os, sys, local_postgres
lease = local_postgres.lease(sys.argv[1], throwaway=sys.argv[2] == "True")
child = os.fork()
if child:
    print(child, flush=True)
    lease.release()
    os._exit(0)
sys.stdin.read()
lease.release()
"""

_SLOW_DEATH = """
import os, signal, sys, local_postgres
from local_postgres import cluster
launch = cluster.Cluster.{method}
def killed(*arguments):
    {order}
    os.kill(os.getpid(), signal.SIGKILL)
cluster.Cluster.{method} = killed
local_postgres.lease(sys.argv[1], throwaway=sys.argv[2] == "True")
"""


def _line(process: subprocess.Popen[str]) -> str:
    output: IO[str] | None = process.stdout
    assert output is not None
    return output.readline().strip()


def _killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_last_user_stops_the_server(
    place: Path, start_user: StartUser, query: Query, until: Until, processes: Processes
) -> None:
    """Processes share one server, and it is stopped after the last one, which may leave by SIGKILL."""
    users = [start_user(place / "pg") for _ in range(2)]
    assert [_line(user) for user in users] == ["ready", "ready"]
    cluster = local_postgres.Cluster(place / "pg")
    _killed(users[0])
    assert query(cluster, "SELECT 1") == 1
    assert cluster.is_running()
    _killed(users[1])
    until(lambda: not processes(str(place)))
    assert (place / "pg" / "data" / "PG_VERSION").exists()


def test_a_lease_ends_once(place: Path, query: Query, until: Until) -> None:
    """Two leases of one process count twice, and letting go twice of one counts once."""
    first = local_postgres.lease(place / "pg", throwaway=True)
    with local_postgres.lease(place / "pg", throwaway=True) as second:
        first.release()
        first.release()
        assert query(second.cluster, "SELECT 1") == 1
    until(lambda: not (place / "pg").exists())


def test_a_forked_child_keeps_the_server(
    place: Path, start_user: StartUser, query: Query, until: Until, processes: Processes
) -> None:
    """A child that was forked is a user of its own, also when its parent has let go and is gone."""
    parent = start_user(place / "pg", throwaway=True, script=_FORKING)
    child = int(_line(parent))
    parent.wait()
    assert query(local_postgres.Cluster(place / "pg", throwaway=True), "SELECT 1") == 1
    assert child in processes(str(place))
    parent.communicate()
    until(lambda: not (place / "pg").exists())


def test_what_users_execute_is_no_user(place: Path, until: Until) -> None:
    """A program that a user runs does not keep the server: the lock is closed on exec, and so it is for the server."""
    with local_postgres.lease(place / "pg", throwaway=True):
        pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    try:
        until(lambda: not (place / "pg").exists())
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_throwaway_cluster_is_gone_after_sigkill(
    place: Path, start_user: StartUser, until: Until, processes: Processes
) -> None:
    """When all users are killed, server and folder go."""
    users = [start_user(place / "pg", throwaway=True) for _ in range(2)]
    assert [_line(user) for user in users] == ["ready", "ready"]
    for user in users:
        _killed(user)
    until(lambda: not (place / "pg").exists() and not processes(str(place)))


@pytest.mark.usefixtures("interruptible")
def test_a_terminal_s_interrupt_reaches_neither_server_nor_keeper(
    place: Path, start_user: StartUser, query: Query, until: Until
) -> None:
    """Ctrl-C goes to the whole group of the process that started them: the server stays for its other users."""
    starter = start_user(place / "pg", throwaway=True)
    assert _line(starter) == "ready"
    with local_postgres.lease(place / "pg", throwaway=True) as lease:
        server = query(lease.cluster, "SELECT pg_postmaster_start_time()")
        os.killpg(starter.pid, signal.SIGINT)
        starter.wait()
        assert query(lease.cluster, "SELECT pg_postmaster_start_time()") == server
    until(lambda: not (place / "pg").exists())


def test_a_killed_keeper_is_replaced(place: Path, query: Query, until: Until, processes: Processes) -> None:
    """Whoever leases next starts a new keeper, which takes care of the server that runs already."""
    first = local_postgres.lease(place / "pg")
    cluster = first.cluster
    server = query(cluster, "SELECT pg_postmaster_start_time()")
    (killed,) = processes("keeper", str(place))
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in processes("keeper", str(place)))
    second = local_postgres.lease(place / "pg")
    assert len(processes("keeper", str(place))) == 1
    assert query(cluster, "SELECT pg_postmaster_start_time()") == server
    first.release()
    second.release()
    until(lambda: not processes(str(place)))


@pytest.mark.parametrize("throwaway", [False, True])
def test_a_lease_while_the_server_is_being_stopped(place: Path, query: Query, *, throwaway: bool) -> None:
    """Who comes while the keeper stops the server, or deletes the folder, gets a running one of its own."""
    for _ in range(4):
        with local_postgres.lease(place / "pg", throwaway=throwaway) as lease:
            assert query(lease.cluster, "SELECT 1") == 1
            assert (place / "pg").exists()


def test_eight_processes_at_once(place: Path, start_user: StartUser, until: Until, processes: Processes) -> None:
    """Whoever is first starts the one server; nobody fails."""
    users = [start_user(place / "pg", throwaway=True) for _ in range(8)]
    assert [_line(user) for user in users] == ["ready"] * 8
    assert len(processes("keeper", str(place))) == 1
    # A child that has only just begun still has its server's command line.
    until(lambda: len(processes("bin/postgres -D", str(place))) == 1)
    for user in users:
        user.kill()
    until(lambda: not (place / "pg").exists() and not processes(str(place)))


@pytest.mark.parametrize(
    ("method", "order"),
    [("_put_in_place", "pass"), ("_launch", "pass"), ("_launch", "launch(*arguments)")],
    ids=["during initdb", "before the server", "behind the server"],
)
@pytest.mark.parametrize("throwaway", [False, True])
def test_a_starter_that_is_killed(
    place: Path,
    start_user: StartUser,
    query: Query,
    until: Until,
    processes: Processes,
    *,
    method: str,
    order: str,
    throwaway: bool,
) -> None:
    """Whatever a starter left half done, nothing goes on running, and the next one gets a working server."""
    starter = start_user(place / "pg", throwaway=throwaway, script=_SLOW_DEATH.format(method=method, order=order))
    assert starter.wait() == -signal.SIGKILL
    until(lambda: not processes(str(place)))
    assert (place / "pg").exists() != throwaway
    with local_postgres.lease(place / "pg", throwaway=throwaway) as lease:
        assert query(lease.cluster, "SELECT 1") == 1
        assert not list((place / "pg").glob("data.new-*"))


def test_a_killed_server_is_started_by_the_next_lease(place: Path, query: Query, until: Until) -> None:
    """The stale pid file that it leaves is no obstacle, and the address stays."""
    with local_postgres.lease(place / "pg", throwaway=True) as first:
        pid = int((first.cluster.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        until(lambda: not first.cluster.is_running())
        with local_postgres.lease(place / "pg", throwaway=True) as second:
            assert second.cluster.address == first.cluster.address
            assert query(first.cluster, "SELECT 1") == 1


def test_a_folder_with_something_in_it_is_no_throwaway(place: Path) -> None:
    """What would be deleted in the end has to be new, empty, or of that kind; and such a one holds nothing durable."""
    place.joinpath("mine").mkdir()
    place.joinpath("mine", "thesis").touch()
    with pytest.raises(local_postgres.FolderError, match="mine is not empty, and would be deleted in the end"):
        local_postgres.lease(place / "mine", throwaway=True)
    with (
        local_postgres.lease(place / "pg", throwaway=True),
        pytest.raises(local_postgres.FolderError, match="pg is a throwaway cluster's, and will be deleted"),
    ):
        local_postgres.lease(place / "pg")
    assert place.joinpath("mine", "thesis").exists()


@pytest.mark.parametrize(
    ("python", "message"),
    [("/no/python", "'/no/python' cannot be run"), ("/bin/false", "did not start with /bin/false: set sys.executable")],
)
def test_without_a_keeper_there_is_no_server(
    python: str, message: str, place: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that nobody would stop is not started."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", python)
        with pytest.raises(local_postgres.KeeperError, match=message):
            local_postgres.lease(place / "pg", throwaway=True)
    assert not processes(str(place))


def test_a_folder_that_always_goes_away(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease does not try without end."""
    monkeypatch.setattr(sys.modules["local_postgres.lease"], "_ATTEMPTS", 0)
    with pytest.raises(local_postgres.FolderError, match="pg is deleted again and again: see who does so"):
        local_postgres.lease(place / "pg")


def test_a_caller_s_pipes_are_not_kept_open(place: Path, start_user: StartUser) -> None:
    """Whoever reads a user's output to its end does not wait for the server or the keeper."""
    with local_postgres.lease(place / "other", throwaway=True):
        user = start_user(place / "pg", throwaway=True)
        with local_postgres.lease(place / "pg", throwaway=True):
            assert user.communicate(timeout=60)[0] == "ready\n"
