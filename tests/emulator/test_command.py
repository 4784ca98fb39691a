"""The command: `serve` prints what to export, `exec` runs a command and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.emulator import processes
from tests.emulator.running import clean_environment, start_command, until

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_exec_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """However it ends, no process, no folder and no socket of an `exec` is left."""
    processes.needs_proc()
    said = tmp_path / "home"
    code = f"import os, time, pathlib; pathlib.Path({str(said)!r}).write_text(str(os.getppid())); time.sleep(600)"
    process = start_command("exec", "--", sys.executable, "-c", code)
    until(said.exists)
    (supervisor,) = [pid for pid in processes.children(process.pid) if "supervisor" in processes.command(pid)]
    home = Path(processes.command(supervisor).split("--home ")[1].split()[0])
    command = next(pid for pid in processes.children(process.pid) if pid != supervisor)
    assert home.exists()
    os.kill(process.pid, number)
    if number == signal.SIGKILL:
        os.kill(command, signal.SIGKILL)  # nobody is left to end it
    process.wait(60)
    until(lambda: not home.exists())
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
