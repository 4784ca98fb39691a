"""How long there is patience, and how long to wait before another try."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import SystemRandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST = 0.25
_LONGEST = 10.0
_SHARE = 6
_DOUBLINGS = 16
# Not the module's own generator: tests seed that, and workers that wait alike ask again together.
_RANDOM = SystemRandom()
_SECONDS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Deadline:
    """The end of a call's patience, in seconds from its beginning."""

    patience: float
    _began: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """The seconds since the call began."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """The seconds that are left; none or fewer when patience is used up."""
        return self.patience - self.spent

    def back_off(self, tries: int) -> float:
        """A wait after so many tries: anything up to 0.25 s, doubled with each, so that many clients spread out."""
        longest = min(_LONGEST, self.patience / _SHARE, _FIRST * 2 ** min(tries - 1, _DOUBLINGS))
        return _RANDOM.uniform(0, longest)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that an answer asks to wait; None where it does not, or not in a way that can be read."""
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    until = _http_date(text)
    # By the clock of who says so, where that is told: this machine's may be another.
    now = _http_date(headers.get("date", "")) or datetime.now(UTC)
    return None if until is None else max(0.0, (until - now).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
