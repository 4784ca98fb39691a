"""What the page says at its head, and what it counts out of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_branches.rehearsal.shown.words import count, duration, one_line, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flask_branches.rehearsal.observed import Blocking, Lock, Statement
    from flask_branches.rehearsal.report import Report, Revision, Severity

STATEMENTS = 500
"""How many statements of a revision the page has, the slowest of them."""
LINES = 400
"""How many lines of a diff it has."""

_BLOCKS = ("reads and writes", "writes", "schema changes", "nothing")


@dataclass(frozen=True)
class Tile:
    """A figure that is read first."""

    label: str
    value: str
    note: str
    severity: Severity = "note"


def tiles(report: Report) -> Iterator[Tile]:
    """The figures that say at a glance what a deployment would cost."""
    yield Tile("Migrations took", duration(report.took), count(len(report.revisions), "revision"))
    if report.backend != "sqlite":
        yield _wait("Readers wait for", report, [(each.longest_read, each) for each in report.blocking])
        yield _wait("Writers wait for", report, [(each.longest_write, each) for each in report.blocking])
        yield _rewritten(report)
    lost = sum(each.lost for revision in report.revisions for each in revision.rows)
    yield Tile("Rows lost", f"{lost:,}", "", "danger" if lost else "note")
    tried = [each.undo for each in report.revisions if each.undo.state != "not tried"]
    if tried:
        good = sum(each.state == "same" and not each.lost for each in tried)
        yield Tile(
            "Can be undone",
            f"{good} of {len(tried)}",
            "revisions, without a loss",
            "warning" if good < len(tried) else "note",
        )


def slowest(revision: Revision) -> list[Statement]:
    """A revision's statements in their order; of very many, the slowest."""
    kept = sorted(revision.statements, key=lambda each: -each.took)[:STATEMENTS]
    chosen = {id(each) for each in kept}
    return [each for each in revision.statements if id(each) in chosen]


def locks(revision: Revision) -> list[Lock]:
    """A revision's locks, those first that keep most people waiting; what is new comes last."""
    return sorted(revision.locks, key=lambda each: (not each.existed, _BLOCKS.index(each.blocks), -each.longest))


def by_revision(report: Report, table: str) -> list[int]:
    """The numbers of the revisions that somebody waits for because of a table."""
    return [
        number
        for number, each in enumerate(report.revisions, 1)
        if any(blocking.table == table and blocking.writes for blocking in each.blocking)
    ]


def number_of(report: Report, revision: str | None) -> int | None:
    """Where a revision stands on the page; None for none of them."""
    return next((number for number, each in enumerate(report.revisions, 1) if each.id == revision), None)


def kind_of(line: str) -> str:
    """What a line of a diff is."""
    if line.startswith(("+++ ", "--- ", "@@")):
        return "where"
    return "plus" if line.startswith("+") else "minus"


def _wait(label: str, report: Report, waits: Iterable[tuple[float, Blocking]]) -> Tile:
    longest, blocking = max(waits, key=lambda each: each[0], default=(0.0, None))
    if blocking is None or not longest:
        return Tile(label, "0 ms", "nobody is kept waiting")
    over = longest > report.limits.max_lock
    limit = f"; the limit is {duration(report.limits.max_lock)}" if over else ""
    return Tile(label, duration(longest), f"{one_line(blocking.table)}{limit}", "danger" if over else "note")


def _rewritten(report: Report) -> Tile:
    found = [each for revision in report.revisions for each in revision.rewrites if not each.truncated]
    largest = max(found, key=lambda each: each.size, default=None)
    if largest is None:
        return Tile("Rewritten", size(0), "no table")
    over = largest.size > report.limits.max_rewrite
    limit = f"; the limit is {size(report.limits.max_rewrite)}" if over else ""
    return Tile(
        "Rewritten",
        size(sum(each.size for each in found)),
        f"{one_line(largest.object)}{limit}",
        "danger" if over else "note",
    )
