"""Servers that were killed, hang, or were not there in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

import local_postgres
from local_postgres import cluster as cluster_module
from local_postgres import postmaster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_postgres.conftest import Query, Until


def _pid(cluster: local_postgres.Cluster) -> int:
    return int((cluster.data / "postmaster.pid").read_text().split()[0])


def test_a_killed_server_s_busy_backend_does_not_keep_the_next_from_starting(
    cluster: local_postgres.Cluster, query: Query, until: Until
) -> None:
    """A backend that outlives its server is ended, and the stale pid file is no obstacle."""
    with psycopg.connect(cluster.address.conninfo()) as connection:
        connection.pgconn.send_query(b"DO 'BEGIN LOOP END LOOP; END'")
        backend = connection.info.backend_pid
        os.kill(_pid(cluster), signal.SIGKILL)
        until(lambda: not cluster.is_running())
        connection.close()
    os.kill(backend, 0)
    cluster.start()
    assert query(cluster, "SELECT 1") == 1
    until(lambda: not _is_alive(backend))


def test_stop_ends_what_a_killed_server_left(cluster: local_postgres.Cluster, until: Until) -> None:
    """Stopping is not done while a backend of a killed server is alive."""
    with psycopg.connect(cluster.address.conninfo()) as connection:
        connection.pgconn.send_query(b"DO 'BEGIN LOOP END LOOP; END'")
        backend = connection.info.backend_pid
        os.kill(_pid(cluster), signal.SIGKILL)
        connection.close()
    cluster.stop()
    until(lambda: not _is_alive(backend))
    cluster.start()  # which frees the killed server's shared memory


def test_a_living_server_s_processes_are_no_orphans(cluster: local_postgres.Cluster) -> None:
    """A server that is just starting has children before its pid file tells of it: whoever looks then harms none."""
    with psycopg.connect(cluster.address.conninfo(), autocommit=True) as connection:
        postmaster.end_orphans(cluster.data, cluster.account)

        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert "terminated by signal" not in cluster.log.read_text()


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline") as command:  # noqa: PTH123 - a path of the kernel's
            return bool(command.read())
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells whose process a pid is")
def test_a_pid_file_that_names_another_process(cluster: local_postgres.Cluster, query: Query) -> None:
    """After a restart of the machine the pid may be anybody's: it is neither taken for the server nor harmed."""
    path = cluster.data / "postmaster.pid"
    lines = path.read_text().splitlines()
    cluster.stop()
    own = cluster.account
    switch = {} if own.is_own else {"user": own.uid}
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, **switch) as other:  # type: ignore[call-overload]  # of the keywords, mypy knows no dict
        path.write_text("\n".join([str(other.pid), *lines[1:], ""]))
        path.chmod(0o600)
        os.chown(path, own.uid, own.gid)
        assert not cluster.is_running()
        cluster.start()
        assert query(cluster, "SELECT 1") == 1
        assert other.poll() is None
        other.communicate()


def test_without_a_proc_folder_a_stale_pid_is_nobody_s_server(
    cluster: local_postgres.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only a pid tells of the server, as on macOS, whoever holds none of its locks is left alone."""
    monkeypatch.setattr(postmaster, "_PROC", cluster.home / "no" / "proc")
    assert cluster.is_running()
    path = cluster.data / "postmaster.pid"
    lines = path.read_text().splitlines()
    cluster.stop()
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as other:
        path.write_text("\n".join([str(other.pid), *lines[1:], ""]))
        assert not cluster.is_running()
        cluster.stop()
        assert other.poll() is None
        other.communicate()
    path.unlink()


def test_a_stop_that_takes_too_long_is_cut_short(cluster: local_postgres.Cluster) -> None:
    """After the deadline the server is told to leave at once."""
    cluster.stop(timeout=0)
    assert "received immediate shutdown request" in cluster.log.read_text()


def test_a_server_that_does_not_stop(cluster: local_postgres.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the folder and quotes the log."""
    monkeypatch.setattr(cluster_module, "_IMMEDIATE_SECONDS", 0.1)
    server = _pid(cluster)
    os.kill(server, signal.SIGSTOP)
    try:
        with pytest.raises(local_postgres.ServerError, match=r"does not stop:\n(.*\n)*.*ready to accept connections"):
            cluster.stop(timeout=0)
    finally:
        os.kill(server, signal.SIGCONT)


def test_a_server_that_is_not_ready_in_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that it was not ready; it may be recovering, so it is left to that."""
    cluster = local_postgres.Cluster(place / "pg", throwaway=True)
    monkeypatch.setattr(cluster_module, "_START_SECONDS", -1)
    with pytest.raises(local_postgres.ServerError, match="was not ready in time"):
        cluster.start()
    cluster.stop()
