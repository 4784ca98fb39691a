"""What the timeline draws: in the picture, in order, wide enough to be seen, and no figure over another."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from tests.rehearsal.shown.reports import REPORTS, dangerous, safe

from flask_branches.rehearsal.observed import Blocking, Span
from flask_branches.rehearsal.shown.bars import Bar, Stretch, bars, merged, packed
from flask_branches.rehearsal.shown.scale import scale
from flask_branches.rehearsal.shown.timeline import Lane, timeline

if TYPE_CHECKING:
    from flask_branches.rehearsal.report import Report


def _bars(report: Report) -> list[Bar]:
    drawn = timeline(report)
    found = [*drawn.transactions, *(bar for row in drawn.statements for bar in row)]
    return found + [bar for lane in drawn.lanes for track in lane.tracks for bar in track.bars]


def _lane(table: str, report: Report) -> Lane:
    return next(each for each in timeline(report).lanes if each.table == table)


@pytest.mark.parametrize("name", REPORTS)
def test_everything_is_in_the_picture(name: str) -> None:
    """No bar begins before the start or ends after the end, and time never runs backwards."""
    report = REPORTS[name]
    line = scale(report)
    assert line.at(line.moments[0]) == 0
    assert line.at(line.moments[-1]) == pytest.approx(100)
    assert list(line.places) == sorted(line.places)
    places = [(each.left, each.width) for each in _bars(report)]
    places += [(each.left, each.width) for each in timeline(report).bands]
    assert all(-0.001 <= left <= left + width <= 100.001 for left, width in places)


@pytest.mark.parametrize("name", REPORTS)
def test_the_picture_stays_small(name: str) -> None:
    """Thousands of locks and statements become a few hundred bars."""
    assert len(_bars(REPORTS[name])) <= 400
    assert len(timeline(REPORTS[name]).lanes) <= 14


def test_a_long_wait_is_long() -> None:
    """Within a revision the bars are as long as the time, and a bar's figure is its time."""
    readers, writers = _lane("public.note", dangerous()).tracks
    short, long = writers.bars
    assert [each.who for each in (readers, writers)] == ["readers", "writers"]
    assert (long.label, long.where, long.over) == ("16 s", "inside", True)
    assert (short.label, short.over) == ("6 ms", False)
    assert readers.bars[1].width / long.width == pytest.approx(12_424 / 16_283)
    assert long.title == "writers wait: 16 s"


def test_a_short_revision_can_be_seen() -> None:
    """Nine milliseconds beside sixteen seconds have room for a number, and are marked as wider than they are."""
    first, second, third = timeline(dangerous()).bands
    assert first.width > 5
    assert [each.widened for each in (first, second, third)] == [True, False, False]
    assert timeline(dangerous()).is_widened
    assert not timeline(safe()).is_widened


def test_the_ticks_are_round_and_apart() -> None:
    """A reader can tell how long a bar is."""
    ticks = timeline(dangerous()).ticks
    assert [label for label, _place in ticks] == ["0", "5.0 s", "10 s", "15 s", "20 s"]
    assert all(after - before >= 14 for (_, before), (_, after) in pairwise(ticks))


def test_a_lock_that_keeps_only_migrations_waiting_has_a_lane_below() -> None:
    """Tables that somebody waits for come first; what is new, or already there, has no such lane."""
    lanes = timeline(dangerous()).lanes
    assert [each.table for each in lanes] == ["public.note", "public.tag", "public.author"]
    assert [each.who for each in lanes[2].tracks] == ["migrations"]
    assert not lanes[2].tracks[0].bars[0].over


def test_many_short_waits_are_no_long_one() -> None:
    """What is drawn as one has a comb's look, and says how many there were and how long the longest was."""
    (readers, writers) = _lane("public.note", REPORTS["crowded"]).tracks
    assert all(each.comb for each in writers.bars)
    assert all("times, 8 ms at most" in each.title for each in (*readers.bars, *writers.bars))
    assert sum(int(each.title.split()[2].replace(",", "")) for each in writers.bars) == 4_000
    assert _lane("public.note", REPORTS["crowded"]).longest == "readers wait 8 ms, writers wait 8 ms"
    assert not _lane("public.note", dangerous()).longest


def test_a_wait_that_has_no_pause_is_no_comb() -> None:
    """Three locks that follow each other closely are one bar, as long as all of them."""
    spans = tuple(Span(began, began + 3_000) for began in (30, 3_031, 6_032))
    report = replace(dangerous(), blocking=(Blocking("t", (), spans),))
    (bar,) = _lane("t", report).tracks[0].bars
    assert (bar.label, bar.comb) == ("3x ≤ 3.0 s", False)


def test_transactions_are_drawn_where_they_explain_something() -> None:
    """One that ran several revisions; else each revision's is as long as it is."""
    (bar,) = timeline(REPORTS["shared"]).transactions
    assert bar.label == "transaction 1, committed"
    assert not timeline(dangerous()).transactions


def test_numbers_of_revisions_do_not_meet() -> None:
    """Of very many short ones, every few have a number."""
    shown = [each for each in timeline(REPORTS["crowded"]).bands if each.is_numbered]
    assert 10 <= len(shown) < 25
    assert all(after.left - before.left >= 2 for before, after in pairwise(shown))


def _stretch(left: float, right: float, longest: float = 1.0, text: str = "a") -> Stretch:
    return Stretch(left, right, longest, 1, text, right - left)


def test_what_touches_is_one() -> None:
    """Whatever order it comes in, and with the longest of them."""
    found = merged([_stretch(5, 6), _stretch(0, 1, 7), _stretch(1.2, 2, 3)])
    assert [(each.left, each.right, each.longest, each.times) for each in found] == [(0, 2, 7, 2), (5, 6, 1, 1)]
    assert found[0].filled == pytest.approx(1.8)


def test_statements_that_overlap_are_in_rows() -> None:
    """A batch's two statements ran in turns; what has no row of its own is told to be several."""
    overlapping = [_stretch(0, 50), _stretch(10, 60), _stretch(20, 70), _stretch(70, 90), _stretch(95, 95.1)]
    rows = packed(overlapping, 2)
    assert [[(each.left, each.right, each.text) for each in row] for row in rows] == [
        [(0, 50, "a"), (70, 90, "a"), (95, 95.1, "a")],
        [(10, 70, "several statements")],
    ]
    tiny = packed([_stretch(each / 10, each / 10 + 0.05) for each in range(500)], 2)
    assert [[(each.times, each.text) for each in row] for row in tiny] == [[(500, "short statements")]]


def test_a_figure_goes_where_it_has_room() -> None:
    """In a wide bar, after or before a narrow one, and nowhere where it would cover something."""
    wide, after, before = bars([_stretch(0, 40, 9), _stretch(50, 51, 2), _stretch(98, 99, 3)], 1)
    assert [each.where for each in (wide, after, before)] == ["inside", "after", "before"]
    left, middle, right = bars([_stretch(0, 1, 1), _stretch(2, 3, 5), _stretch(4, 5, 2)], 10)
    assert [each.where for each in (left, middle, right)] == ["nowhere", "nowhere", "after"]
    assert [each.over for each in bars([_stretch(0, 1, 5), _stretch(9, 10, 4)], 4)] == [True, False]
