"""An end for what has none: a statement that waits for ever, a loop that does not stop."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_GRACE = 3
"""Seconds for a statement that was cancelled to end, before the code that sent it is ended too."""


class Overdue(BaseException):
    """Time is up; no ``except Exception`` of a migration's keeps it."""


@contextmanager
def within(seconds: float, cancel: Callable[[], None]) -> Iterator[None]:
    """End a block that takes longer: first what the database does, and then, in the main thread, its Python code.

    Args:
        seconds: how long it may take.
        cancel: ends what the database does; called in another thread.

    Raises:
        Overdue: in the block.
    """
    timer = threading.Timer(seconds, cancel)
    timer.daemon = True
    timer.start()
    alarmed = _may_be_alarmed()
    try:
        if alarmed:
            signal.signal(signal.SIGALRM, _ring)
            signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)
        yield
    finally:
        timer.cancel()
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _may_be_alarmed() -> bool:
    """Whether nobody else has a use for the signal, as a server's worker may have."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise Overdue
