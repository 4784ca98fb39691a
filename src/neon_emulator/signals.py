"""The signals that a command is asked to end by."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Takes SIGINT, SIGTERM and SIGHUP, so that everything can be stopped in order.

    A pipe and no event: a handler can be interrupted by the next signal's, and must then not wait for a lock that it
    holds itself.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._missed = False  # one has come while there was no answer
        self._answer: Callable[[int], object] | None = None
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        for number in _ENDING:
            signal.signal(number, self._note)

    def first(self) -> int | None:
        """The first that came; None as long as none has."""
        return self._first

    def wait(self) -> None:
        """Wait for the first of them."""
        os.read(self._reading, 1)

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
        with suppress(BlockingIOError):  # full, it wakes as well
            os.write(self._writing, b"\0")
        # Which of the two is said here: who sets the answer cannot know what has come just before, or just after.
        if self._answer is None:
            self._missed = True
        else:
            self._answer(number)


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
