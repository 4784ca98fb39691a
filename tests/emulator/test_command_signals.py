"""What becomes of signals while `exec` runs a command, or loads a file for it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING

import pytest
from tests.emulator import processes
from tests.emulator.running import clean_environment, start_command, until

from neon_emulator.signals import Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ENDING = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
# They wait for signals that they keep back: one that comes right before a handler's caller sleeps would be missed.
_ONE = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [{number}])
print("ready", flush=True)
signal.sigwait([{number}])
sys.exit(7)
"""
_COUNT = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
print("ready", flush=True)
told = 0
while signal.sigwait([signal.SIGINT, signal.SIGTERM]) == signal.SIGINT:
    told += 1
    print("told", flush=True)
sys.exit(told)
"""
_EARLY = """
import fcntl, os, signal, subprocess, sys, termios
from neon_emulator import cli
from neon_emulator.signals import Ending

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        signal.raise_signal(signal.SIGINT)
        super().__init__(*arguments, **options)

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
cli.subprocess.Popen = Popen
sys.exit(cli._run((sys.executable, "-c", "import time; time.sleep(600)"), dict(os.environ), Ending()))
"""


@_ENDING
def test_a_signal_reaches_the_command(number: signal.Signals) -> None:
    """What the emulator alone is sent is the command's to answer, and its status counts."""
    process = start_command("exec", "--", sys.executable, "-c", _ONE.format(number=number.value))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(60) == 7
    process.stdout.close()


def test_ctrl_c_reaches_the_command_once() -> None:
    """The terminal tells the command itself, so that the emulator does not tell it again."""
    ours, theirs = pty.openpty()
    process = start_command(
        "exec",
        "--",
        sys.executable,
        "-c",
        _COUNT,
        stdin=theirs,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(20):  # two that come at the same time may be one
        os.write(ours, b"\3")
        assert process.stdout.readline() == "told\n"
    process.terminate()
    assert process.wait(60) == 20
    process.stdout.close()
    os.close(ours)
    os.close(theirs)


def test_ctrl_c_right_before_the_command_starts_ends_it() -> None:
    """What the terminal has said to the emulator before there was a command is not left to the terminal to say."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _EARLY],
        env=clean_environment(),
        stdin=theirs,
        start_new_session=True,
    )
    try:
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        os.close(ours)  # which ends what still runs
        os.close(theirs)


class _Struck(Ending):
    """Is sent a signal at the very moment when it gets an answer."""

    before = False
    _given: Callable[[int], object] | None = None

    @property
    def _answer(self) -> Callable[[int], object] | None:
        return self._given

    @_answer.setter
    def _answer(self, answer: Callable[[int], object] | None) -> None:
        if answer is not None and self.before:
            signal.raise_signal(signal.SIGTERM)
        self._given = answer
        if answer is not None and not self.before:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def _former_handlers() -> Iterator[None]:
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_former_handlers")
@pytest.mark.parametrize("before", [True, False])
def test_a_signal_at_the_very_moment_is_answered_once(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes right before there is an answer to it, or right after, is neither lost nor answered twice."""
    monkeypatch.setattr(_Struck, "before", before)
    told: list[str] = []
    with _Struck().answered(lambda _: told.append("answered"), missed=lambda: told.append("missed")):
        assert told == ["missed" if before else "answered"]
    assert len(told) == 1


@pytest.mark.usefixtures("_former_handlers")
def test_a_signal_that_another_thread_takes_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may give a signal to any thread, and who waits in the main one answers it all the same."""
    waiting, answered = threading.Event(), threading.Event()
    read = os.read

    def noted(file: int, length: int) -> bytes:
        waiting.set()
        return read(file, length)

    def work() -> bool:
        assert waiting.wait(60)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        return answered.wait(60)

    monkeypatch.setattr(os, "read", noted)
    ending = Ending()
    with ending.answered(lambda _: answered.set(), missed=answered.clear):
        assert ending.meanwhile(work)


@_ENDING
def test_a_load_is_ended(number: signal.Signals, tmp_path: Path) -> None:
    """A signal that comes while a file is loaded ends all in order, and the command never runs."""
    processes.needs_proc()
    (tmp_path / "long.sql").write_text("SELECT pg_sleep(600)")
    command = ("exec", "--load", tmp_path / "long.sql", "--", sys.executable, "-c", "print('ran')")
    process = start_command(*command, stderr=subprocess.PIPE)
    until(lambda: any("/psql " in processes.command(pid) for pid in processes.children(process.pid)))
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 128 + number
