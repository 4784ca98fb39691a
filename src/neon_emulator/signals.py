"""The signals that a command is asked to end by."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Takes SIGINT, SIGTERM and SIGHUP, so that everything can be stopped in order.

    A pipe and no event: a handler can be interrupted by the next signal's, and must then not wait for a lock that it
    holds itself.
    """

    def __init__(self) -> None:
        self._first: int | None = None
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

    def _note(self, number: int, _frame: object) -> None:
        if self._first is None:
            self._first = number
        with suppress(BlockingIOError):  # full, it wakes as well
            os.write(self._writing, b"\0")
