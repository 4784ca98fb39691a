"""Whether what was seen is safe to do to production."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_branches.rehearsal.shown.words import count, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_branches.rehearsal.report import Limits, Report, Revision, Verdict


def judged(report: Report) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on all that a report has, and its reasons."""
    if report.failure is not None:
        return "failed", (report.failure.error,)
    reasons = tuple(_reasons(report))
    return ("unsafe" if reasons else "safe"), reasons


def _reasons(report: Report) -> Iterator[str]:
    yield from _waits(report)
    for revision in report.revisions:
        yield from _rewrites(revision, report.limits)
        yield from _losses(revision)
    if report.differences:
        yield f"the models and the migrated schema differ in {count(len(report.differences), 'place')}"
    if report.old_tests is not None and report.old_tests.status != 0:
        yield f"the previous release's tests fail on the migrated schema (exit status {report.old_tests.status})"


def _waits(report: Report) -> Iterator[str]:
    limit = duration(report.limits.max_lock)
    for each in report.blocking:
        # Whatever keeps readers out keeps writers out too.
        for who, longest in (("readers and writers", each.longest_read), ("writers", each.longest_write)):
            if longest > report.limits.max_lock:
                yield f"{who} of {each.table} wait up to {duration(longest)} (limit {limit})"
                break


def _rewrites(revision: Revision, limits: Limits) -> Iterator[str]:
    for each in revision.rewrites:
        if not each.truncated and each.size > limits.max_rewrite:
            limit = size(limits.max_rewrite)
            yield f"{revision.id} rewrites {each.object}, {size(each.size)} (limit {limit})"


def _losses(revision: Revision) -> Iterator[str]:
    for each in revision.rows:
        if each.lost:
            about = "" if each.exact else "about "
            gone = "with the table" if each.after is None else f"of {each.before:,}"
            yield f"{revision.id} loses {about}{count(each.lost, 'row')} of {each.table} ({gone})"
