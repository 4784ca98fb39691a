"""The command: `serve` prints what to export, `exec` runs a command and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.emulator import processes
from tests.emulator.running import clean_environment, start_command, until

import local_postgres
from local_postgres import folders
from neon_emulator.engine import ClusterFailed
from neon_emulator.home import Home
from neon_emulator.server import SERVER_ERRORS, Server

if TYPE_CHECKING:
    from collections.abc import Callable

_SHOW = "import os, sys; print(*(os.environ[name] for name in sys.argv[1:]), sep='\\n')"
_QUERY = "import os, psycopg; print(psycopg.connect(os.environ['DATABASE_URL']).execute('SELECT * FROM t').fetchall())"


def _exec(*arguments: str, code: int = 0) -> tuple[str, str]:
    process = start_command("exec", *arguments, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out, err


def test_exec_tells_the_command_all_it_needs() -> None:
    """The command finds the API, a key, a project and the URL of the default branch in its environment."""
    names = ("NEON_API_HOST", "NEON_API_KEY", "NEON_PROJECT_ID", "DATABASE_URL")
    out, err = _exec("--", sys.executable, "-c", _SHOW, *names)
    api, key, project, url = out.splitlines()
    assert api.startswith("http://127.0.0.1:")
    assert api.endswith("/api/v2")
    assert key.startswith("napi_")
    assert len(project.split("-")) == 3
    assert url.startswith("postgresql://neondb_owner:")
    assert "sslmode=require" in url
    assert err == ""


def test_exec_loads_a_file(tmp_path: Path) -> None:
    """`--load` runs a file of SQL in the default branch, COPY blocks as pg_dump writes them included."""
    (tmp_path / "data.sql").write_text("CREATE TABLE t (n integer);\nCOPY t FROM stdin;\n1\n2\n\\.\n")
    out, _ = _exec("--load", str(tmp_path / "data.sql"), "--", sys.executable, "-c", _QUERY)
    assert out == "[(1,), (2,)]\n"


def test_exec_refuses_a_file_that_is_wrong(tmp_path: Path) -> None:
    """A file that Postgres refuses is one line of error, and the command does not run."""
    (tmp_path / "data.sql").write_text("CREATE TABLE t (n integer);\nSELECT * FROM nothing;\n")
    out, err = _exec("--load", str(tmp_path / "data.sql"), "--", sys.executable, "-c", "print('ran')", code=1)
    assert out == ""
    assert 'relation "nothing" does not exist' in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("code", "status"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_exec_returns_the_commands_status(code: str, status: int) -> None:
    """The exit status is the command's; 128 and the signal's number where one ended it."""
    _exec("--", sys.executable, "-c", code, code=status)


def test_exec_of_nothing_that_runs() -> None:
    """A command that cannot be run is one line of error."""
    _, err = _exec("--", "no-such-command-anywhere", code=1)
    assert err == "Error: no-such-command-anywhere cannot be run: No such file or directory.\n"


def _homes(emulator: int) -> list[Path]:
    """The folders of a process's supervisors."""
    commands = map(processes.command, processes.supervisors(emulator))
    return [Path(command.split("--home ")[1].split()[0]) for command in commands if "--home " in command]


def _left(home: Path) -> list[Path]:
    """What there is of an emulator's folder, one that is being deleted included, and the folder of its sockets."""
    found = list(home.parent.glob(f"{home.name}*"))
    sockets = folders.socket_folder(home)
    return [*found, sockets] if sockets.exists() else found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_exec_that_is_ended_while_it_starts_runs_no_command(number: signal.Signals, tmp_path: Path) -> None:
    """A signal during the start, even many times, ends all in order, and the command has never run."""
    processes.needs_proc()
    ran = tmp_path / "ran"
    code = f"import pathlib; pathlib.Path({str(ran)!r}).touch()"
    process = start_command("exec", "--", sys.executable, "-c", code)
    until(lambda: _homes(process.pid))
    (home,) = _homes(process.pid)
    for _ in range(100):
        process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert not ran.exists()
    assert _left(home) == []
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize(
    ("variables", "said"), [({"POSTGRES_BIN": "/nowhere"}, "POSTGRES_BIN is /nowhere, which has no initdb")]
)
def test_exec_that_cannot_start_leaves_nothing(variables: dict[str, str], said: str, tmp_path: Path) -> None:
    """Without a Postgres there is one line of error, and no folder is left."""
    missing = tmp_path / "throwaway"
    code = (
        "import local_postgres, pathlib; made = local_postgres.throwaway_folder\n"
        "def note():\n"
        "    folder = made()\n"
        f"    pathlib.Path({str(missing)!r}).write_text(str(folder))\n"
        "    return folder\n"
        "local_postgres.throwaway_folder = note\n"
        "from neon_emulator.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "exec", "--", "true"]
    environment = clean_environment() | variables
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr
    assert not Path(missing.read_text()).exists()


def test_an_extra_that_is_not_installed() -> None:
    """What the supervisor would miss is one line of error that names the remedy."""
    code = "import sys; sys.modules['cryptography'] = None; from neon_emulator.cli import main; main()"
    command = [sys.executable, "-c", code, "exec", "--", "true"]
    shown = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    remedy = "install it with pip install 'questions[emulator]'"
    assert (shown.returncode, shown.stderr) == (1, f"Error: The emulator needs cryptography: {remedy}.\n")


def test_variables_of_psql_do_not_lead_a_load_elsewhere(tmp_path: Path) -> None:
    """What the caller's environment tells psql, and no other client, has no effect on `--load`."""
    (tmp_path / "data.sql").write_text("CREATE TABLE t AS SELECT 1;\n")
    variables = {"PGSERVICE": "missing", "PGOPTIONS": "-c nonsense=1"}
    command = ("exec", "--load", tmp_path / "data.sql", "--", "true")
    process = start_command(*command, stderr=subprocess.PIPE, env=clean_environment() | variables)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")


def test_a_project_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no project can be made, the reason is one of the errors that the command tells, and all is stopped."""
    with Home.make_throwaway() as home:
        server = Server(home, port=0, plan="scale", branch_delay=0, history_bytes=1 << 30).start()
        try:
            monkeypatch.setattr(server._link, "new_cluster", _full)
            with pytest.raises(SERVER_ERRORS, match="No space left on device"):
                server.create_project()
        finally:
            server.close()
    assert not home.folder.exists()


@pytest.mark.parametrize(
    ("call", "trouble", "said"),
    [
        (Server.create_project, "PRAGMA query_only = ON", "attempt to write a readonly database"),
        (Server.environment, "ALTER TABLE project RENAME TO gone", "no such table: project"),
    ],
)
def test_a_state_that_fails_while_it_is_used(call: Callable[[Server], object], trouble: str, said: str) -> None:
    """What SQLite refuses once all has started is one of the errors that the command tells, in one line."""
    with Home.make_throwaway() as home:
        server = Server(home, port=0, plan="scale", branch_delay=0, history_bytes=1 << 30).start()
        try:
            with server._emulation._store.session() as session:
                session.execute(sa.text(trouble))
            with pytest.raises(SERVER_ERRORS, match=said) as told:
                call(server)
        finally:
            server.close()
    assert "\n" not in str(told.value)


def _full(**_: str) -> None:
    raise ClusterFailed("No space left on device")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("state.db", "no database", "cannot be used: file is not a database"),
        ("certificate.pem", "no certificate", "certificate.pem cannot be used as the endpoints' certificate"),
    ],
)
def test_a_broken_file_is_told(name: str, content: str, said: str, tmp_path: Path) -> None:
    """A file of the emulator's that cannot be read is an error without a traceback."""
    process = start_command("serve", "--data", tmp_path / "data")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    process.wait(60)
    process.stdout.close()
    (tmp_path / "data" / name).write_text(content * 100)
    process = start_command("serve", "--data", tmp_path / "data", stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("Error: ")
    assert said in err
    assert "Traceback" not in err


def test_a_folder_that_was_only_just_taken_is_taken_again() -> None:
    """A kill right after a new folder's lock was made does not make the folder somebody else's."""
    folder = local_postgres.throwaway_folder()
    (folder / "emulator.lock").touch(0o600)
    with Home.take(folder):
        assert (folder / "neon_emulator").exists()
    shutil.rmtree(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_exec_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """However it ends, no process, no folder and no socket of an `exec` is left."""
    processes.needs_proc()
    said = tmp_path / "home"
    code = f"import os, time, pathlib; pathlib.Path({str(said)!r}).write_text(str(os.getppid())); time.sleep(600)"
    process = start_command("exec", "--", sys.executable, "-c", code)
    until(said.exists)
    (home,) = _homes(process.pid)
    (command,) = set(processes.children(process.pid)) - set(processes.supervisors(process.pid))
    assert home.exists()
    assert folders.socket_folder(home).exists()
    os.kill(process.pid, number)
    if number == signal.SIGKILL:
        os.kill(command, signal.SIGKILL)  # nobody is left to end it
    process.wait(60)
    until(lambda: _left(home) == [])
    until(lambda: not processes.of(home))
    assert process.stdout is not None
    process.stdout.close()


def test_serve_prints_what_to_export(tmp_path: Path) -> None:
    """`serve` prints lines for a shell, and ends in order at Ctrl-C."""
    process = start_command("serve", "--data", tmp_path / "data")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[0].startswith("export NEON_API_HOST=http://127.0.0.1:")
    assert lines[1].startswith("export NEON_API_KEY=napi_")
    assert lines[2] == "# The emulator is ready; Ctrl-C stops it.\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()


_ASK = """
import json, os, urllib.request
host, key = os.environ["NEON_API_HOST"], os.environ["NEON_API_KEY"]
url = host.replace("/api/v2", "/_emulator/requests")
print(urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})).read().decode())
"""


def test_the_command_asks_nothing_of_the_api() -> None:
    """What was asked, in the list of requests, is what the command's own users have asked."""
    out, _ = _exec("--", sys.executable, "-c", _ASK)
    assert json.loads(out) == {"requests": []}


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """A port of another program is one line of error that names the option."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        process = start_command("serve", "--data", tmp_path / "data", "--port", port, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == f"Error: The port {port} cannot be listened on: Address already in use. Name another with --port.\n"


def test_the_command_is_installed() -> None:
    """`neon-emulator` stands beside the interpreter."""
    program = Path(sys.executable).with_name("neon-emulator")
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True, env=clean_environment())
    assert "serve" in shown.stdout
    assert "exec" in shown.stdout
