"""How many requests were sent to Neon's API: by one client, and by all of a process."""

from __future__ import annotations

import threading


class Tally:
    """A number that several threads count up."""

    def __init__(self, whole: Tally | None = None) -> None:
        """Begin at nothing; what is counted counts for a whole too, where one is given."""
        self._lock = threading.Lock()
        self._number = 0
        self._whole = whole

    @property
    def number(self) -> int:
        """How many so far."""
        with self._lock:
            return self._number

    def count(self) -> None:
        """One more."""
        with self._lock:
            self._number += 1
        if self._whole is not None:
            self._whole.count()


REQUESTS = Tally()
"""Those of this process, whoever has sent them: the application too, when it looks up its database."""
