"""Points of a branch's past: from the emulated clock to the engine's, and what is said where there is none."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from neon_emulator.engine import NoHistory, OutsideWindow, Point
from neon_emulator.errors import InvalidRequest, NotAllowed
from neon_emulator.service import find

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from neon_emulator.clock import Clock
    from neon_emulator.engine import Window
    from neon_emulator.service.core import Core
    from neon_emulator.service.wishes import Moment
    from neon_emulator.state.models import Branch, Project


def check_form(at: Moment) -> None:
    """Refuse a point that is given twice.

    Raises:
        InvalidRequest: where it is.
    """
    if at.lsn is not None and at.timestamp is not None:
        raise InvalidRequest("invalid request: a timestamp and an LSN exclude each other: name one of them")


def resolve(core: Core, project: Project, branch: Branch, at: Moment) -> Point | None:
    """The point in the engine's words; None for the branch's present.

    Raises:
        InvalidRequest: where it is given twice.
        NotAllowed: where the branch's past is not kept, or not that far.
    """
    check_form(at)
    if not at:
        return None
    with refusals(core.clock):
        if branch.parent_id is not None:
            raise NoHistory(branch.id)
        if at.timestamp is None:
            return Point(lsn=at.lsn)
        now = core.clock.now()
        oldest = now - timedelta(seconds=project.history_retention_seconds)
        if not oldest <= at.timestamp <= now:
            raise OutsideWindow(at.timestamp.isoformat(), _window(core, branch, oldest))
        return Point(time=core.clock.to_machine(at.timestamp))


@contextmanager
def refusals(clock: Clock) -> Iterator[None]:
    """What the engine says about a point inside of the block, in the words of the domain."""
    try:
        yield
    except OutsideWindow as error:
        raise NotAllowed(f"the point is outside of the history that is kept: {_told(clock, error.window)}") from error
    except NoHistory as error:
        raise NotAllowed(
            "the emulator keeps the history of root branches only: name a root branch, or no point in time"
        ) from error


def _window(core: Core, branch: Branch, oldest: datetime) -> Window:
    # What is too old is let go of from time to time, and not to be had from the moment on at which it is too old.
    window = core.engine.window(find.cluster(branch))
    start = min(max(window.start_time, core.clock.to_machine(oldest)), window.end_time)
    return replace(window, start_time=start)


def _told(clock: Clock, window: Window) -> str:
    start, end = (clock.from_machine(time) for time in (window.start_time, window.end_time))
    return f"from {_text(start)} (LSN {window.start_lsn}) to {_text(end)} (LSN {window.end_lsn})"


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
