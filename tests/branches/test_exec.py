"""`flask branches exec`: the command has the caller's input, output, signals and status, and a branch for its time."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_branches import urls

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Program, World

    MakeWorld = Callable[..., World]
    Start = Callable[..., Program]
    Until = Callable[[Callable[[], Any]], Any]

_FLASK = ("-m", "flask", "--app", "notes", "branches", "exec")
# They wait for signals that they keep back: one that comes right before a handler's caller sleeps would be missed.
_HEEDS = """if True:
    import signal, sys
    known = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, known)
    print("ready", flush=True)
    print(signal.Signals(signal.sigwait(known)).name, flush=True)
    sys.exit(7)
"""
_STUBBORN = """if True:
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    print("ready", flush=True)
    for _ in range(3):
        signal.sigwait({signal.SIGTERM})
        print("not yet", flush=True)
"""
_COUNTS = """if True:
    import signal, sys
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    print("ready", flush=True)
    signal.sigwait({signal.SIGINT})
    print("heard", flush=True)
    sys.stdin.readline()
    print("times:", 1 + len(signal.sigpending()), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """What a command, and ours around it, have left."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(one: World, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `flask branches exec` to its end; whatever that is, no branch is left, and no signal's handler."""

    def run(*arguments: str, world: World = one) -> Ended:
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        result = world.app.test_cli_runner().invoke(args=["branches", "exec", *arguments])
        assert world.branches.list() == []
        assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers
        said = capfd.readouterr()
        return Ended(result.exit_code, said.out, result.stderr + said.err)

    return run


def test_a_command_has_the_caller_s_input_output_and_status(one: World, start: Start) -> None:
    """And nothing of ours in between; its own options are its own."""
    process = start(
        one, *_FLASK, "mine", "--", "sh", "-c", 'cat; echo "$@" >&2; exit 3', "sh", "--json", "-x", "--", "y"
    )

    assert process.communicate("a\nb\n", timeout=60) == ("a\nb\n", "--json -x -- y\n")
    assert process.returncode == 3
    assert one.branches.list() == []


def test_a_command_is_led_to_the_branch(make_world: MakeWorld, run: Callable[..., Any]) -> None:
    """By DATABASE_URL, its binds by DATABASE_URL_<BIND>; each where other programs can read it."""
    world = make_world(binds=True)
    script = 'echo "$DATABASE_URL"; echo "$DATABASE_URL_SECOND"'

    first, second = run("mine", "sh", "-c", script, world=world).out.splitlines()

    for url, database in ((first, world.branches.databases.all[0]), (second, world.branches.databases.all[1])):
        assert ("mine" in url) is (world.kind != "neon")
        main = database.backend.main
        assert url.startswith(f"{main.get_backend_name()}:")
        assert urls.key(urls.parsed(url)) != urls.key(main)


def test_a_command_finds_its_parent_s_rows_and_main_keeps_its_own(one: World, run: Callable[..., Any]) -> None:
    """Whatever it does there."""
    script = """if True:
        import os, sys
        url = os.environ["DATABASE_URL"]
        if url.startswith("sqlite:///"):
            import sqlite3
            connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        else:
            import psycopg
            connection = psycopg.connect(url)
        print(*connection.execute("SELECT count(*) FROM note").fetchone())
        connection.execute("DELETE FROM note")
        connection.commit()
    """

    assert run("mine", "--", sys.executable, "-c", script).out == "2\n"
    assert run("--data", "empty", "mine", "--", sys.executable, "-c", script).out == "0\n"
    assert one.texts() == ["first", "second"]


def test_options_stand_before_the_name(one: World, run: Callable[..., Any]) -> None:
    """As JSON the branch is shown on standard error: standard output is the command's."""
    ended = run("--json", "--parent", "empty", "--expires-in", "2h", "mine", "echo", "hello")

    shown = json.loads(ended.err)
    assert (shown["name"], shown["parent"], ended.out) == ("mine", None, "hello\n")


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (
            "no-such-command",
            127,
            "Error: 'no-such-command' cannot be run: No such file or directory. Correct the command",
        ),
        ("/", 126, "Error: '/' cannot be run: Permission denied. Correct the command after --.\n"),
    ],
)
def test_a_command_that_cannot_be_run(run: Callable[..., Any], command: str, status: int, said: str) -> None:
    """Has the status that a shell gives, and one line that names it."""
    ended = run("mine", "--", command)

    assert ended.status == status
    assert ended.err.startswith(said)


def test_no_command_is_a_matter_of_usage(run: Callable[..., Any]) -> None:
    """Before anything is made."""
    ended = run("mine", "--")

    assert ended.status == 2
    assert ended.err.endswith("Error: Name a COMMAND after --.\n")


def test_a_command_that_was_killed(run: Callable[..., Any]) -> None:
    """Has 128 and the signal as its status, and the branch is deleted."""
    assert run("mine", "--", "sh", "-c", "kill -KILL $$").status == 128 + signal.SIGKILL


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_is_the_command_s(one: World, start: Start, name: str) -> None:
    """It decides what becomes of it, and the branch lasts as long as it does."""
    process = start(one, *_FLASK, "mine", "--", sys.executable, "-c", _HEEDS)
    process.says("ready")
    assert [each.name for each in one.branches.list()] == ["mine"]

    process.send_signal(getattr(signal, name))
    shown, said = process.communicate(timeout=60)

    assert (process.returncode, shown, said) == (7, f"{name}\n", "")
    assert one.branches.list() == []


def test_a_command_may_take_its_time(one: World, start: Start) -> None:
    """While it goes on the branch is there, however often it was told to end."""
    process = start(one, *_FLASK, "mine", "--", sys.executable, "-c", _STUBBORN)
    process.says("ready")
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        process.says("not yet")
        assert [each.name for each in one.branches.list()] == ["mine"]

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)

    assert process.returncode == 0
    assert one.branches.list() == []


def test_ctrl_c_reaches_a_command_once(one: World) -> None:
    """A terminal sends it to both; passed on as well it would count twice, which test runners take for haste."""
    one.let_go()
    outer, inner = pty.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(inner, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, *_FLASK, "mine", "--", sys.executable, "-c", _COUNTS],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env=one.environ(),
        start_new_session=True,
        preexec_fn=own_terminal,  # noqa: PLW1509  before it there is no thread of ours
    )
    try:
        os.close(inner)
        with os.fdopen(outer, "r+b", buffering=0) as terminal:
            _until(terminal, b"ready")
            terminal.write(b"\x03")
            _until(terminal, b"heard")
            terminal.write(b"\n")
            assert b"times: 1" in _until(terminal, b"times: ")
            assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert one.branches.list() == []


def _until(terminal: Any, word: bytes) -> bytes:
    found = b""
    while word not in found or not found.endswith(b"\n"):
        found += terminal.read(4096)
    return found


def test_what_a_killed_exec_leaves_is_pruned_at_once(one: World, start: Start, until: Until) -> None:
    """The command goes on without it, and nobody deletes its branch before somebody prunes."""
    process = start(one, *_FLASK, "mine", "--", "sh", "-c", "echo ready; cat")
    process.says("ready")
    assert one.branches.prune(dry_run=False) == []

    process.kill()
    process.wait(60)

    # A server notices a moment later that a client of its is gone.
    pruned = until(lambda: one.branches.prune(dry_run=False))
    assert [each.name for each in pruned] == ["mine"]
    assert one.branches.list() == []


def test_a_bind_s_variable_can_be_read_by_a_shell(make_world: MakeWorld, run: Callable[..., Any]) -> None:
    """Whatever its key is written with."""
    world = make_world("memory", binds={"users-db=1": sa.URL.create("sqlite")})

    assert "mine" in run("mine", "sh", "-c", 'echo "$DATABASE_URL_USERS_DB_1"', world=world).out


def test_two_binds_of_one_variable_are_refused(make_world: MakeWorld, run: Callable[..., Any]) -> None:
    """Before anything is made."""
    world = make_world("memory", binds={"a": sa.URL.create("sqlite"), "A": sa.URL.create("sqlite")})

    ended = run("mine", "true", world=world)

    assert ended.status == 1
    assert ended.err == (
        "Error: The binds 'A' and 'a' would both be DATABASE_URL_A for a command: rename one of them.\n"
    )
