"""Where a moment stands on the timeline, in per cent of its width."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_branches.rehearsal.observed import Span
    from flask_branches.rehearsal.report import Report

_LEAST = 6.0
"""What a revision takes at least, so that it can be seen and has room for its number."""
_FOR_ALL = 50.0
"""What these parts take together at most."""
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000)
_MINUTES = (60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000)
_TICKS = 5
_APART = 14.0


@dataclass(frozen=True)
class Scale:
    """Moments, and where each of them stands; between two of them time runs evenly."""

    moments: tuple[float, ...]
    places: tuple[float, ...]

    def at(self, moment: float) -> float:
        """Where a moment stands."""
        after = min(max(bisect_right(self.moments, moment), 1), len(self.moments) - 1)
        began, ended = self.moments[after - 1], self.moments[after]
        left, right = self.places[after - 1], self.places[after]
        part = (moment - began) / (ended - began) if ended > began else 0.0
        return left + (right - left) * min(max(part, 0.0), 1.0)

    def ticks(self) -> list[tuple[float, float]]:
        """Round moments that are well apart, and where they stand."""
        end = self.moments[-1]
        step = next((each for each in (*_STEPS, *_MINUTES) if end / each <= _TICKS), end / _TICKS)
        found = [(0.0, 0.0)]
        for number in range(1, _TICKS + 1):
            place = self.at(number * step)
            if number * step < end and place - found[-1][1] >= _APART and place <= 100 - _APART / 2:
                found.append((number * step, place))
        return found


def scale(report: Report) -> Scale:
    """The scale of a report: even, but for a little that every revision is given so that it can be seen."""
    spans = [each.span for each in report.revisions]
    end = max([report.took, *(each.ended for each in spans), *_ends(report)], default=0.0) or 1.0
    borders = sorted({0.0, end, *(min(max(each, 0.0), end) for span in spans for each in (span.began, span.ended))})
    extra = min(_LEAST, _FOR_ALL / max(len(spans), 1))
    widths = [
        (ended - began) / end * (100 - extra * len(spans)) + extra * _shares(began, ended, spans)
        for began, ended in pairwise(borders)
    ]
    places = [0.0]
    for width in widths:
        places.append(places[-1] + width)
    return Scale(tuple(borders), tuple(each * 100 / places[-1] for each in places))


def is_widened(span: Span, end: float) -> bool:
    """Whether a revision is so short that it is drawn much wider than it is."""
    return span.length / end * 100 < _LEAST / 2


def _ends(report: Report) -> Iterable[float]:
    for each in report.blocking:
        yield from (span.ended for span in (*each.reads[-1:], *each.writes[-1:]))


def _shares(began: float, ended: float, spans: list[Span]) -> float:
    return sum(
        (ended - began) / each.length for each in spans if each.length and each.began <= began and ended <= each.ended
    )
