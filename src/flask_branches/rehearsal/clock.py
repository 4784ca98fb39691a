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
        self._zero = time.perf_counter()
        self._stands: float | None = None

    def now(self) -> float:
        """How many they are."""
        return ((self._stands or time.perf_counter()) - self._zero) * 1_000

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it stand for the time of a block, which no migration is in."""
        began = self._stands = time.perf_counter()
        try:
            yield
        finally:
            self._zero += time.perf_counter() - began
            self._stands = None
