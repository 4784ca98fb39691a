"""An end for what has none: a statement that waits for ever, a loop that does not stop."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from types import FrameType

    from sqlalchemy.engine import Connection

_GRACE = 3
"""Seconds for a statement that was cancelled to end, before the code that sent it is ended too."""
_AGAIN = 1
"""Seconds between one attempt to end what the database does and the next."""


class Overdue(BaseException):
    """Time is up; no ``except Exception`` of a migration's keeps it."""


class Deadline:
    """The time that all of a rehearsal may take together.

    Args:
        span: how long that is.
    """

    def __init__(self, span: timedelta) -> None:
        self.span = span
        self._ends = time.monotonic() + span.total_seconds()

    @property
    def left(self) -> float:
        """How many seconds there are."""
        return max(self._ends - time.monotonic(), 0)

    @property
    def is_over(self) -> bool:
        """Whether there are none."""
        return not self.left

    @contextmanager
    def within(self, cancel: Callable[[], None]) -> Iterator[None]:
        """End a block when the time is up, as :func:`within` does.

        Raises:
            Overdue: in the block, or before it.
        """
        if self.is_over:
            raise Overdue
        with within(self.left, cancel):
            yield


@contextmanager
def within(seconds: float, cancel: Callable[[], None]) -> Iterator[None]:
    """End a block that takes longer: first what the database does, and then, in the main thread, its Python code.

    Args:
        seconds: how long it may take.
        cancel: ends what the database does; called in another thread, again each second until the block has ended.

    Raises:
        Overdue: in the block.
    """
    ended = threading.Event()
    ending = threading.Thread(target=_end, args=(seconds, cancel, ended), name="rehearsal-timeout", daemon=True)
    ending.start()
    alarmed = _may_be_alarmed()
    try:
        if alarmed:
            signal.signal(signal.SIGALRM, _ring)
            signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)
        yield
    finally:
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        ended.set()
        ending.join()  # what comes after the block is not to be cancelled


def end_statement(connection: Connection) -> None:
    """End what a session does at this moment; from another thread than the one that waits for it."""
    # Who is gone, or was closed meanwhile, does nothing any more.
    with suppress(sa.exc.SQLAlchemyError, cast("Any", connection.dialect.loaded_dbapi).Error):
        pooled: Any = connection.connection
        if connection.dialect.name != "sqlite":
            pooled.driver_connection.cancel()  # an env.py may be asynchronous: SQLAlchemy's adapter has no such word
        elif hasattr(pooled.dbapi_connection, "interrupt"):
            pooled.dbapi_connection.interrupt()


def _end(seconds: float, cancel: Callable[[], None], ended: threading.Event) -> None:
    """Again and again: code that tries once more after an error sends the next statement."""
    while not ended.wait(seconds):
        cancel()
        seconds = _AGAIN


def _may_be_alarmed() -> bool:
    """Whether nobody else has a use for the signal, as a server's worker may have."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise Overdue
