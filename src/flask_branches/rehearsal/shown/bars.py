"""Bars of a timeline: what stands too close together to be told apart is one, and no two figures overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flask_branches.rehearsal.shown.words import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

_NARROW = 0.6
"""Two things that are closer cannot be told apart, in per cent of the width."""
_LETTER = 2.4
"""What a letter of a figure takes on a phone."""
_MARGIN = 4.0
_WHOLE = 100

Where = Literal["inside", "after", "before", "nowhere"]


@dataclass(frozen=True)
class Stretch:
    """Something that went on from one place to another."""

    left: float
    right: float
    longest: float
    times: int
    text: str

    @property
    def width(self) -> float:
        """How much it takes."""
        return self.right - self.left


@dataclass(frozen=True)
class Bar:
    """A bar with its figure."""

    left: float
    width: float
    label: str
    where: Where
    title: str
    over: bool = False
    """Whether it is longer than what may be."""


def merged(stretches: Iterable[Stretch], text: str = "") -> list[Stretch]:
    """Stretches with those that touch each other, or nearly, as one."""
    found: list[Stretch] = []
    for each in sorted(stretches, key=lambda one: (one.left, -one.right)):
        last = found[-1] if found else None
        if last is None or each.left - last.right > _NARROW:
            found.append(each)
            continue
        longest, times = max(last.longest, each.longest), last.times + each.times
        found[-1] = Stretch(last.left, max(last.right, each.right), longest, times, text or each.text)
    return found


def packed(stretches: Iterable[Stretch], rows: int) -> list[list[Stretch]]:
    """Stretches in as few rows as they fit into; what fits into none is merged with the last one's."""
    found: list[list[Stretch]] = []
    small = [each for each in stretches if each.width < _NARROW]
    large = [each for each in stretches if each.width >= _NARROW]
    for each in sorted([*large, *merged(small, "short statements")], key=lambda one: (one.left, -one.right)):
        free = next((row for row in found if row[-1].right <= each.left + _NARROW / 2), None)
        if free is not None:
            free.append(each)
        elif len(found) < rows:
            found.append([each])
        else:
            found[-1] = merged([*found[-1], each], "several statements")
    return found


def bars(stretches: list[Stretch], limit: float) -> tuple[Bar, ...]:
    """Bars for stretches, with figures at the longest ones, wherever they have room."""
    taken = [(each.left, each.right) for each in stretches]
    places: dict[Stretch, Where] = {}
    for each in sorted(stretches, key=lambda one: -one.longest):
        places[each], room = _place(each, taken)
        taken += room
    return tuple(_bar(each, places[each], limit) for each in stretches)


def _place(stretch: Stretch, taken: list[tuple[float, float]]) -> tuple[Where, list[tuple[float, float]]]:
    needed = len(_label(stretch)) * _LETTER + _MARGIN
    if stretch.width >= needed:
        return "inside", []
    sides: tuple[tuple[Where, float, float], ...] = (
        ("after", stretch.right, stretch.right + needed),
        ("before", stretch.left - needed, stretch.left),
    )
    for where, left, right in sides:
        if left >= 0 and right <= _WHOLE and not any(began < right and left < ended for began, ended in taken):
            return where, [(left, right)]
    return "nowhere", []


def _label(stretch: Stretch) -> str:
    longest = duration(stretch.longest)
    return f"{stretch.times:,}x ≤ {longest}" if stretch.times > 1 else longest


def _bar(stretch: Stretch, where: Where, limit: float) -> Bar:
    longest = duration(stretch.longest)
    told = f"{stretch.times:,} times, {longest} at most" if stretch.times > 1 else longest
    over = stretch.longest > limit
    return Bar(stretch.left, stretch.width, _label(stretch), where, f"{stretch.text}: {told}", over=over)
