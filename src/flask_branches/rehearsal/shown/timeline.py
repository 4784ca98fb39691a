"""The course of the migrations as bars along the time: their statements, and who waits for which table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flask_branches.rehearsal.shown import findings
from flask_branches.rehearsal.shown.bars import Bar, Stretch, bars, merged, packed
from flask_branches.rehearsal.shown.scale import is_widened, scale
from flask_branches.rehearsal.shown.words import clipped, duration, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flask_branches.rehearsal.observed import Blocking, Span, Transaction
    from flask_branches.rehearsal.report import Report
    from flask_branches.rehearsal.shown.scale import Scale

_LANES = 14
_STATEMENTS = 3
_READABLE = 14.0
_LABEL = 120
_NUMBER = 8.0

Who = Literal["readers", "writers", "migrations"]


@dataclass(frozen=True)
class Band:
    """A revision."""

    number: int
    name: str
    title: str
    left: float
    width: float
    widened: bool
    is_numbered: bool
    """Whether its number has room."""


@dataclass(frozen=True)
class Track:
    """When one kind of users has to wait for a table."""

    who: Who
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Lane:
    """A table."""

    table: str
    longest: str
    """The longest waits in words, where one of them has no room at its bar."""
    tracks: tuple[Track, ...]


@dataclass(frozen=True)
class Timeline:
    """What is drawn, in per cent of the width."""

    bands: tuple[Band, ...]
    ticks: tuple[tuple[str, float], ...]
    transactions: tuple[Bar, ...]
    statements: tuple[tuple[Bar, ...], ...]
    lanes: tuple[Lane, ...]
    left_out: tuple[str, ...]
    """Tables that there is no room for."""

    @property
    def is_widened(self) -> bool:
        """Whether a short revision is drawn wider than it is."""
        return any(each.widened for each in self.bands)

    @property
    def has_combs(self) -> bool:
        """Whether a bar stands for many short ones."""
        return any(bar.comb for bar in self._bars())

    @property
    def has_over(self) -> bool:
        """Whether somebody waits for longer than may be."""
        return any(bar.over for bar in self._bars())

    def has(self, who: Who) -> bool:
        """Whether these wait for any table."""
        return any(track.who == who for lane in self.lanes for track in lane.tracks)

    def _bars(self) -> Iterable[Bar]:
        return (bar for lane in self.lanes for track in lane.tracks for bar in track.bars)


def timeline(report: Report) -> Timeline:
    """What is to be drawn of a report."""
    line = scale(report)
    lanes = [*_waiting(report, line), *_altered(report, line)]
    return Timeline(
        bands=tuple(_bands(report, line)),
        ticks=tuple((duration(moment) if moment else "0", place) for moment, place in line.ticks()),
        transactions=_transactions(report, line),
        statements=_statements(report, line),
        lanes=tuple(lanes[:_LANES]),
        left_out=tuple(each.table for each in lanes[_LANES:]),
    )


def by_wait(report: Report) -> list[Blocking]:
    """The tables that somebody waits for, the longest wait first."""
    waited = [each for each in report.blocking if each.writes or each.reads]
    return sorted(waited, key=lambda each: (-max(each.longest_read, each.longest_write), _began(each)))


def _began(blocking: Blocking) -> float:
    return min(each.began for each in (*blocking.writes, *blocking.reads))


def _bands(report: Report, line: Scale) -> Iterable[Band]:
    numbered = -_NUMBER
    for number, each in enumerate(report.revisions, 1):
        left, right = line.at(each.span.began), line.at(each.span.ended)
        has_room = (left + right) / 2 - numbered >= _NUMBER
        numbered = (left + right) / 2 if has_room else numbered
        took = duration(each.span.length)
        name = f"{findings.title(each)}, {took}"
        title = f"{findings.name(each)}, {name}"
        yield Band(number, name, title, left, right - left, is_widened(each.span, line.moments[-1]), has_room)


def _transactions(report: Report, line: Scale) -> tuple[Bar, ...]:
    if not report.shared_transaction:
        return ()
    return tuple(_transaction(each, line) for each in report.transactions)


def _transaction(transaction: Transaction, line: Scale) -> Bar:
    left, right = line.at(transaction.span.began), line.at(transaction.span.ended)
    end = "committed" if transaction.committed else "rolled back"
    text = f"transaction {transaction.number}, {end}"
    return Bar(
        left, right - left, transaction.span.length, text, "inside", f"{text}, {duration(transaction.span.length)}"
    )


def _statements(report: Report, line: Scale) -> tuple[tuple[Bar, ...], ...]:
    found = [
        Stretch(line.at(each.began), line.at(each.ended), each.longest, each.times, one_line(each.text), 0)
        for revision in report.revisions
        for each in revision.statements
    ]
    return tuple(tuple(_statement(each) for each in row) for row in packed(found, _STATEMENTS))


def _statement(stretch: Stretch) -> Bar:
    repeated = f"{stretch.times:,}x " if stretch.times > 1 else ""
    title = f"{repeated}{clipped(stretch.text, 200)}, {duration(stretch.longest)}"
    label = f"{repeated}{stretch.text[:_LABEL]}" if stretch.width >= _READABLE else ""
    return Bar(stretch.left, stretch.width, stretch.longest, label, "inside", title)


def _waiting(report: Report, line: Scale) -> Iterable[Lane]:
    for each in by_wait(report):
        waits: tuple[tuple[Who, tuple[Span, ...]], ...] = (("readers", each.reads), ("writers", each.writes))
        yield _lane(each.table, [(who, spans) for who, spans in waits if spans], line, report.limits.max_lock)


def _altered(report: Report, line: Scale) -> Iterable[Lane]:
    waited = {each.table for each in report.blocking if each.writes or each.reads}
    held: dict[str, list[Span]] = {}
    for lock in (each for revision in report.revisions for each in revision.locks):
        if lock.existed and lock.blocks == "schema changes" and lock.table not in waited:
            held.setdefault(lock.table, []).extend(lock.spans)
    for table, spans in sorted(held.items(), key=lambda pair: (-_longest(pair[1]), pair[0])):
        yield _lane(table, [("migrations", spans)], line, float("inf"))


def _lane(table: str, waits: list[tuple[Who, Sequence[Span]]], line: Scale, limit: float) -> Lane:
    tracks = tuple(Track(who, _bars(spans, line, limit, f"{who} wait")) for who, spans in waits)
    longest = ", ".join(f"{who} wait {duration(_longest(spans))}" for who, spans in waits)
    is_written = all(max(each.bars, key=lambda bar: bar.longest).where != "nowhere" for each in tracks)
    return Lane(one_line(table), "" if is_written else longest, tracks)


def _longest(spans: Sequence[Span]) -> float:
    return max(each.length for each in spans)


def _bars(spans: Iterable[Span], line: Scale, limit: float, what: str) -> tuple[Bar, ...]:
    places = [(each, line.at(each.began), line.at(each.ended)) for each in spans]
    found = [Stretch(left, right, each.length, 1, what, right - left) for each, left, right in places]
    return bars(merged(found), limit)
