from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

import local_postgres
from local_postgres import account, folders
from local_postgres import cluster as cluster_module
from local_postgres.account import Account

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_postgres.conftest import Processes, Query, Until

DURABLE = {"shared_buffers": "16MB"}


@pytest.fixture
def cluster(place: Path) -> Iterator[local_postgres.Cluster]:
    """A throwaway cluster that runs."""
    cluster = local_postgres.Cluster(place / "pg", throwaway=True)
    cluster.start()
    yield cluster
    cluster.stop(timeout=0)


def _pid(cluster: local_postgres.Cluster) -> int:
    return int((cluster.data / "postmaster.pid").read_text().split()[0])


def test_start_and_stop(place: Path, query: Query) -> None:
    """A cluster is made once; its data and its address stay, and starting and stopping twice does no harm."""
    cluster = local_postgres.Cluster(place / "deep" / "down" / "pg", settings=DURABLE)
    assert not cluster.is_running()
    cluster.start()
    cluster.start()
    address = cluster.address
    query(cluster, "CREATE TABLE kept AS SELECT 42 AS answer")
    cluster.stop()
    cluster.stop()
    assert not cluster.is_running()
    cluster.start()
    assert cluster.address == address
    assert query(cluster, "SELECT answer FROM kept") == 42
    assert query(cluster, "SHOW fsync") == "on"
    cluster.stop()


def test_the_server_is_private(cluster: local_postgres.Cluster, query: Query) -> None:
    """It listens on a socket in a folder that only its own account and root can enter, and nowhere else."""
    status = cluster.socket_folder.stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o700, cluster.account.uid)
    assert cluster.socket_folder.joinpath(".s.PGSQL.5432").is_socket()
    assert query(cluster, "SHOW listen_addresses") == ""
    assert query(cluster, "SELECT current_user") == "postgres"


def test_what_every_cluster_has(cluster: local_postgres.Cluster, query: Query) -> None:
    """UTF-8, a locale that is the same everywhere, UTC, and Postgres's own number of connections."""
    assert query(cluster, "SHOW server_encoding") == "UTF8"
    assert query(cluster, "SELECT datlocale FROM pg_database LIMIT 1") == "C.UTF-8"
    assert query(cluster, "SHOW timezone") == "UTC"
    assert query(cluster, "SHOW max_connections") == "100"
    assert query(cluster, "SHOW fsync") == "off"


def test_settings_go_before_files(place: Path, query: Query) -> None:
    """Settings are passed to the server, TCP with a password among them, and no file is edited for that."""
    settings = {"port": "28515", "listen_addresses": "127.0.0.1", "work_mem": "7MB"}
    cluster = local_postgres.Cluster(place / "pg", settings=settings, throwaway=True)
    cluster.start()
    assert cluster.port == cluster.address.port == 28515
    assert query(cluster, "SHOW work_mem") == "7MB"
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect("host=127.0.0.1 port=28515 user=postgres dbname=postgres")
    query(cluster, "ALTER ROLE postgres PASSWORD 'secret'")
    psycopg.connect("host=127.0.0.1 port=28515 user=postgres dbname=postgres password=secret").close()
    assert "28515" not in (cluster.data / "postgresql.conf").read_text()

    with pytest.raises(local_postgres.SettingsError, match="runs on port 28515: stop it to use 5432"):
        local_postgres.Cluster(place / "pg", throwaway=True).start()
    cluster.stop()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"work mem": "1MB"}, "'work mem' has an impossible name or value"),
        ({"work_mem": "1\0MB"}, "'work_mem' has an impossible name or value"),
        ({"Data_Directory": "/"}, "Data_Directory cannot be set, since clients rely on where the cluster lies"),
        ({"port": "http"}, "port is 'http': name a number from 1 to 65535"),
    ],
)
def test_settings_that_cannot_be_passed_on(settings: dict[str, str], message: str, place: Path) -> None:
    """A setting that would be misread, or would move what clients rely on, is refused before anything is made."""
    with pytest.raises(local_postgres.SettingsError, match=message):
        local_postgres.Cluster(place / "pg", settings=settings)


def test_a_failing_start_is_quoted(place: Path, processes: Processes) -> None:
    """What the server said ends the error, and no process stays."""
    cluster = local_postgres.Cluster(place / "pg", settings={"shared_buffers": "many"}, throwaway=True)
    with pytest.raises(local_postgres.ServerError, match=r'did not start:\n(.*\n)*.*"shared_buffers": "many"'):
        cluster.start()
    assert not processes(str(place))


def test_data_of_another_version_is_left_alone(cluster: local_postgres.Cluster) -> None:
    """The error names both versions, and what to do."""
    cluster.stop()
    version = cluster.data / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(
        local_postgres.ServerError, match=r"was made by Postgres 16, and .* is version 18: set POSTGRES"
    ):
        cluster.start()


def test_a_caller_s_environment_does_no_harm(place: Path) -> None:
    """Neither a locale that is not installed nor `PG…` variables reach the server's programs."""
    environment = os.environ | {"LC_ALL": "xx_XX.UTF-8", "LANG": "yy_YY", "PGDATA": "/nowhere", "PGPORT": "1"}
    environment |= {"PGHOST": "nowhere", "PGOPTIONS": "-c nonsense=1", "PGUSER": "nobody", "TZ": "Asia/Tokyo"}
    script = (
        "import sys, local_postgres as l; c = l.Cluster(sys.argv[1], throwaway=True); c.start(); c.stop(); print(1)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, place / "pg"], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "1\n"


@pytest.mark.parametrize(
    "name", ["with space", 'it\'s "quoted" $HOME `id`', "größe 数据", "a,b:c%d", "-rf", "back\\slash", "x" * 120]
)
def test_odd_folders(name: str, place: Path, query: Query) -> None:
    """Any name works, and the socket stays within what the system and the clients accept."""
    cluster = local_postgres.Cluster(place / name, throwaway=True)
    cluster.start()
    assert query(cluster, "SELECT 1") == 1
    assert len(os.fsencode(cluster.socket_folder / ".s.PGSQL.65535")) <= 107
    assert cluster.socket_folder.stat().st_mode & 0o777 == 0o700
    cluster.stop()
    assert cluster.socket_folder.exists() == (cluster.socket_folder.parent == cluster.home)


def test_a_short_socket_folder_of_somebody_else_is_refused(place: Path) -> None:
    """In /tmp, where everybody can make folders, one that is open to others is not trusted."""
    cluster = local_postgres.Cluster(place / ("x" * 120), throwaway=True)
    cluster.socket_folder.mkdir(mode=0o755)
    try:
        with pytest.raises(local_postgres.FolderError, match=f"{cluster.socket_folder} is not a private folder of"):
            cluster.start()
    finally:
        cluster.socket_folder.rmdir()


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


def test_a_log_that_cannot_be_written(cluster: local_postgres.Cluster) -> None:
    """Where the log is no file, the error names it; it is never followed elsewhere."""
    cluster.stop()
    cluster.log.unlink()
    cluster.log.symlink_to("/dev/null")
    with pytest.raises(local_postgres.FolderError, match=f"{cluster.log} cannot be opened"):
        cluster.start()


def test_a_log_that_the_account_cannot_open(cluster: local_postgres.Cluster) -> None:
    """What the shell says in the server's place ends the error."""
    cluster.stop()
    cluster.log.unlink()
    cluster.log.mkdir()
    with pytest.raises(local_postgres.FolderError, match=f"{cluster.log} cannot be opened: Is a directory"):
        cluster.start()
    cluster.log.rmdir()


@pytest.mark.parametrize("name", ["file", "line\nbreak", "file/below"])
def test_folders_that_cannot_be(name: str, place: Path) -> None:
    """A file, a path below a file, and a name that Postgres cannot store are refused."""
    place.joinpath("file").touch()
    message = "has a line break in it" if "\n" in name else f"{place}/file is a file: name a folder"
    with pytest.raises(local_postgres.FolderError, match=message):
        local_postgres.Cluster(place / name).start()


def test_data_that_is_no_cluster_is_left_alone(place: Path) -> None:
    """A folder of the user's at the data's place is not touched."""
    user = account.default_account()
    data = place / "pg" / "data"
    data.mkdir(parents=True)
    data.joinpath("thesis").touch()
    os.chown(data, user.uid, user.gid)
    with pytest.raises(local_postgres.FolderError, match=f"{data} is in the way, and no cluster: move it"):
        local_postgres.Cluster(place / "pg").start()
    assert [path.name for path in data.iterdir()] == ["thesis"]


def test_data_of_root_s(place: Path) -> None:
    """Postgres refuses to run as root, so data of root's cannot be served."""
    place.joinpath("pg").mkdir()
    place.joinpath("pg", "data").symlink_to("/")
    with pytest.raises(
        local_postgres.FolderError, match="pg/data belongs to root, and Postgres refuses to run as root"
    ):
        local_postgres.Cluster(place / "pg").start()


def test_data_of_another_account(cluster: local_postgres.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user cannot use another one's cluster."""
    owner = cluster.account.name
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(local_postgres.FolderError, match=f"belongs to {owner}: run the command as {owner}"):
            cluster.is_running()


def test_an_account_without_a_name() -> None:
    """A container often runs under a number that has no name."""
    assert account._account(54321, 54321) == Account("54321", 54321, 54321)


def test_a_folder_that_is_replaced_while_it_is_made(place: Path) -> None:
    """A folder that is somebody else's by now gets neither a new owner nor a new mode."""
    folder = place if os.geteuid() == 0 else place.parents[-1]
    before = folder.stat()
    with pytest.raises(local_postgres.FolderError, match=f"{folder} was replaced by somebody else"):
        folders._own(folder, 0, 0, 0o777)
    assert folder.stat() == before


def test_a_tree_that_cannot_be_deleted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting ends with an error that names the folder, not without end."""
    monkeypatch.setattr(folders, "_REMOVE_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_arguments, **_keywords: None)
        with pytest.raises(local_postgres.FolderError, match=f"{place} cannot be deleted: see who writes to it"):
            folders.remove_tree(place)


def test_a_connection_string_survives_odd_values() -> None:
    """Quotes and backslashes in a value are the value's."""
    text = local_postgres.Address(r"/a 'b\c", 1).conninfo("x y")
    assert psycopg.conninfo.conninfo_to_dict(text) == {
        "host": r"/a 'b\c",
        "port": "1",
        "user": "postgres",
        "dbname": "x y",
    }
