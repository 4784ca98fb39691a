"""One server: what it is made of, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.ports import free_port

import local_postgres
from local_postgres import account
from local_postgres.account import Account

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_postgres.conftest import Processes, Query

DURABLE = {"shared_buffers": "16MB"}


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
    port = free_port()
    settings = {"port": str(port), "listen_addresses": "127.0.0.1", "work_mem": "7MB"}
    cluster = local_postgres.Cluster(place / "pg", settings=settings, throwaway=True)
    cluster.start()
    assert cluster.port == cluster.address.port == port
    assert query(cluster, "SHOW work_mem") == "7MB"
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres")
    query(cluster, "ALTER ROLE postgres PASSWORD 'secret'")
    psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres password=secret").close()
    assert str(port) not in (cluster.data / "postgresql.conf").read_text()

    with pytest.raises(local_postgres.SettingsError, match=f"runs on port {port}: stop it to use 5432"):
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


def test_an_account_without_a_name() -> None:
    """A container often runs under a number that has no name."""
    assert account._account(54321, 54321) == Account("54321", 54321, 54321)


def test_a_connection_string_survives_odd_values() -> None:
    """Quotes and backslashes in a value are the value's."""
    text = local_postgres.Address(r"/a 'b\c", 1).conninfo("x y")
    named = {"host": r"/a 'b\c", "port": "1", "user": "postgres", "dbname": "x y"}
    assert named.items() <= psycopg.conninfo.conninfo_to_dict(text).items()


def test_no_variable_of_libpq_leads_to_another_server(
    cluster: local_postgres.Cluster, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGHOSTADDR goes before a host that is named, unless that says that there is no address."""
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    monkeypatch.setenv("PGREQUIREAUTH", "scram-sha-256")

    shown = query(cluster, "SHOW unix_socket_directories")

    assert shown == f'"{cluster.socket_folder}"'
