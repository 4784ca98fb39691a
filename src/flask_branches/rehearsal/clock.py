"""The time that migrations take, without what is measured in between."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """Milliseconds since it was made, but those of pauses."""

    def __init__(self) -> None:
        # One value, read by other threads: when it began, and where it stands if it does.
        self._state: tuple[float, float | None] = (time.perf_counter(), None)

    def now(self) -> float:
        """How many they are."""
        zero, stands = self._state
        return ((stands or time.perf_counter()) - zero) * 1_000

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it stand for the time of a block, which no migration is in."""
        zero, began = self._state[0], time.perf_counter()
        self._state = (zero, began)
        try:
            yield
        finally:
            self._state = (zero + time.perf_counter() - began, None)
