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
_SIGN = 2
"""Letters' room for the sign of what is over the limit."""
_WHOLE = 100
_DENSE = 0.7
_NOTHING = 20

Where = Literal["inside", "after", "before", "nowhere"]


@dataclass(frozen=True)
class Stretch:
    """Something that went on from one place to another."""

    left: float
    right: float
    longest: float
    times: int
    text: str
    filled: float
    """How much of it something really went on; the rest are the pauses of several that are drawn as one."""

    @property
    def width(self) -> float:
        """How much it takes."""
        return self.right - self.left


@dataclass(frozen=True)
class Bar:
    """A bar with its figure."""

    left: float
    width: float
    longest: float
    label: str
    where: Where
    title: str
    over: bool = False
    """Whether it is longer than what may be."""
    comb: bool = False
    """Whether it stands for many with pauses between them."""


def merged(stretches: Iterable[Stretch], text: str = "") -> list[Stretch]:
    """Stretches with those that touch each other, or nearly, as one."""
    found: list[Stretch] = []
    for each in sorted(stretches, key=lambda one: (one.left, -one.right)):
        last = found[-1] if found else None
        if last is None or each.left - last.right > _NARROW:
            found.append(each)
            continue
        longest, times = max(last.longest, each.longest), _times(last, each)
        filled = last.filled + each.filled
        found[-1] = Stretch(last.left, max(last.right, each.right), longest, times, text or each.text, filled)
    return found


def _times(one: Stretch, other: Stretch) -> int:
    """How many both are together; what is nothing beside the other is not counted."""
    long, short = sorted((one, other), key=lambda each: -each.longest)
    return long.times if long.longest > _NOTHING * short.longest else long.times + short.times


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
        letters = len(_label(each)) + (_SIGN if each.longest > limit else 0)
        places[each], room = _place(each, letters * _LETTER + _MARGIN, taken)
        taken += room
    return tuple(_bar(each, places[each], limit) for each in stretches)


def _place(
    stretch: Stretch, needed: float, taken: list[tuple[float, float]]
) -> tuple[Where, list[tuple[float, float]]]:
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
    return Bar(
        stretch.left,
        stretch.width,
        stretch.longest,
        _label(stretch),
        where,
        f"{stretch.text}: {told}",
        over=stretch.longest > limit,
        comb=stretch.times > 1 and stretch.filled < stretch.width * _DENSE,
    )
