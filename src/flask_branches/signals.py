"""Signals kept from ending a process in the middle of what has to be finished."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALLED = 128
"""A shell's status for a program that a signal has ended is above it, by the signal's number."""
_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


class _Ended(SystemExit):
    """What a signal ends a block by; a :class:`SystemExit` of others' code may have any status."""


@contextmanager
def raising() -> Iterator[None]:
    """Let SIGTERM, and a terminal that is closed, end a block as Ctrl-C does, unless somebody has a use for them."""
    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name) and _in_main_thread()]
    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def held(names: tuple[str, ...] = _ENDING) -> Iterator[list[int]]:
    """Keep the signals that arrive during a block in a list; what is still in it afterwards is delivered then.

    What is ignored, as nohup has it, stays ignored. Outside the main thread nothing is kept.
    """
    arrived: list[int] = []
    before = {}
    for name in names if _in_main_thread() else ():
        number = getattr(signal, name, None)
        # A handler that is no Python function could not be put back.
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in arrived:
            signal.raise_signal(number)


def is_exit(error: BaseException) -> bool:
    """Whether an error is how :func:`raising` ends a block, and none of its own code's."""
    return isinstance(error, _Ended)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _exit(number: int, _frame: FrameType | None) -> None:
    raise _Ended(_SIGNALLED + number)
