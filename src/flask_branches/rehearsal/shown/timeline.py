"""The course of the migrations as bars along the time: their statements, and who waits for which table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flask_branches.rehearsal.shown import findings
from flask_branches.rehearsal.shown.bars import Bar, Stretch, bars, merged, packed
from flask_branches.rehearsal.shown.scale import is_widened, scale
from flask_branches.rehearsal.shown.words import clipped, duration, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_branches.rehearsal.report import Blocking, Report, Span, Transaction
    from flask_branches.rehearsal.shown.scale import Scale

_LANES = 14
_STATEMENTS = 3
_READABLE = 14.0

Who = Literal["readers", "writers", "migrations"]


@dataclass(frozen=True)
class Band:
    """A revision."""

    number: int
    name: str
    left: float
    width: float
    widened: bool


@dataclass(frozen=True)
class Track:
    """When one kind of users has to wait for a table."""

    who: Who
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Lane:
    """A table."""

    table: str
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


def timeline(report: Report) -> Timeline:
    """What is to be drawn of a report."""
    line = scale(report)
    lanes = [*_waiting(report, line), *_altered(report, line)]
    return Timeline(
        bands=tuple(_bands(report, line)),
        ticks=tuple((duration(moment), place) for moment, place in line.ticks()),
        transactions=_transactions(report, line),
        statements=_statements(report, line),
        lanes=tuple(lanes[:_LANES]),
        left_out=tuple(each.table for each in lanes[_LANES:]),
    )


def by_wait(report: Report) -> list[Blocking]:
    """The tables that somebody waits for, the longest wait first."""
    waited = [each for each in report.blocking if each.writes or each.reads]
    return sorted(waited, key=lambda each: (-max(each.longest_read, each.longest_write), each.table))


def _bands(report: Report, line: Scale) -> Iterable[Band]:
    for number, each in enumerate(report.revisions, 1):
        left, right = line.at(each.span.began), line.at(each.span.ended)
        name = f"{findings.name(each)}, {one_line(each.title)}, {duration(each.span.length)}"
        yield Band(number, name, left, right - left, is_widened(each.span, line.moments[-1]))


def _transactions(report: Report, line: Scale) -> tuple[Bar, ...]:
    if not report.shared_transaction:
        return ()
    return tuple(_transaction(each, line) for each in report.transactions)


def _transaction(transaction: Transaction, line: Scale) -> Bar:
    left, right = line.at(transaction.span.began), line.at(transaction.span.ended)
    end = "committed" if transaction.committed else "rolled back"
    text = f"transaction {transaction.number}, {end}"
    return Bar(left, right - left, text, "inside", f"{text}, {duration(transaction.span.length)}")


def _statements(report: Report, line: Scale) -> tuple[tuple[Bar, ...], ...]:
    found = [
        Stretch(line.at(each.began), line.at(each.ended), each.longest, each.times, one_line(each.text))
        for revision in report.revisions
        for each in revision.statements
    ]
    return tuple(tuple(_statement(each) for each in row) for row in packed(found, _STATEMENTS))


def _statement(stretch: Stretch) -> Bar:
    repeated = f"{stretch.times:,}x " if stretch.times > 1 else ""
    title = f"{repeated}{clipped(stretch.text, 200)}, {duration(stretch.longest)}"
    label = f"{repeated}{clipped(stretch.text, 80)}" if stretch.width >= _READABLE else ""
    return Bar(stretch.left, stretch.width, label, "inside", title)


def _waiting(report: Report, line: Scale) -> Iterable[Lane]:
    for each in by_wait(report):
        tracks = [
            Track(who, _bars(spans, line, report.limits.max_lock, f"{who} wait"))
            for who, spans in _spans(each)
            if spans
        ]
        yield Lane(one_line(each.table), tuple(tracks))


def _spans(blocking: Blocking) -> tuple[tuple[Who, tuple[Span, ...]], ...]:
    return ("readers", blocking.reads), ("writers", blocking.writes)


def _altered(report: Report, line: Scale) -> Iterable[Lane]:
    waited = {each.table for each in report.blocking if each.writes or each.reads}
    held: dict[str, list[Span]] = {}
    for lock in (each for revision in report.revisions for each in revision.locks):
        if lock.existed and lock.blocks == "schema changes" and lock.table not in waited:
            held.setdefault(lock.table, []).extend(lock.spans)
    for table, spans in sorted(held.items(), key=lambda pair: (-max(each.length for each in pair[1]), pair[0])):
        track = Track("migrations", _bars(spans, line, float("inf"), "other migrations wait"))
        yield Lane(one_line(table), (track,))


def _bars(spans: Iterable[Span], line: Scale, limit: float, what: str) -> tuple[Bar, ...]:
    stretches = [Stretch(line.at(each.began), line.at(each.ended), each.length, 1, what) for each in spans]
    return bars(merged(stretches), limit)
