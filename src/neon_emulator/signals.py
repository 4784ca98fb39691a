"""The signals that a command is asked to end by."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Takes SIGINT, SIGTERM and SIGHUP, so that everything can be stopped in order.

    Whoever waits reads a pipe, which Python itself writes to at each signal. One that comes right before the wait, or
    that the system gives to another thread, as it does with the second of two, would not interrupt any other wait.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._missed = False  # one has come while there was no answer
        self._answer: Callable[[int], object] | None = None
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)  # full, it wakes as well
        for number in _ENDING:
            signal.signal(number, self._note)

    def first(self) -> int | None:
        """The first that came; None as long as none has."""
        return self._first

    def wait(self) -> None:
        """Wait for the first of them."""
        os.read(self._reading, 1)

    def meanwhile(self, work: Callable[[], _T]) -> _T:
        """Do what takes long, and answer signals meanwhile."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            future.add_done_callback(lambda _: self._wake())
            while not future.done():
                os.read(self._reading, 1)
            return future.result()

    @contextmanager
    def answered(self, answer: Callable[[int], object], *, missed: Callable[[], object]) -> Iterator[None]:
        """Have something done about each of them for the time of a block.

        Args:
            answer: what to do, given the signal's number.
            missed: what to do about those that have come before.
        """
        self._answer = answer
        try:
            if self._missed:
                missed()
            yield
        finally:
            self._answer = None

    def _note(self, number: int, _frame: object) -> None:
        if self._first is None:
            self._first = number
        # Which of the two is said here: who sets the answer cannot know what has come just before, or just after.
        if self._answer is None:
            self._missed = True
        else:
            self._answer(number)

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._writing, b"\0")


def hand_on(number: int, program: subprocess.Popen[bytes]) -> None:
    """Send a program a signal that has come, unless that is Ctrl-C, and the program hears it from the terminal too."""
    if number != signal.SIGINT or not _is_in_foreground(program.pid):
        program.send_signal(number)


def _is_in_foreground(pid: int) -> bool:
    """Whether a process is one of those that our terminal sends its signals to."""
    with suppress(OSError):  # there is no terminal, or the process has ended
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.tcgetpgrp(terminal) == os.getpgid(pid)
        finally:
            os.close(terminal)
    return False
