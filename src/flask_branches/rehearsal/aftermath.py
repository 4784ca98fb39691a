"""What is tried on a branch whose migrations have run: the models, the previous release, the way back and forth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flask_branches.rehearsal import old_code, rows

if TYPE_CHECKING:
    from flask_branches.rehearsal.grounds import Grounds
    from flask_branches.rehearsal.report import Report
    from flask_branches.rehearsal.staging import Plan

    Counts = dict[str | None, dict[str, rows.Counted]]


def with_old_tests(report: Report, plan: Plan, grounds: Grounds) -> Report:
    """Run the previous release's tests; what they leave behind is no loss of the migrations'."""
    if plan.old_tests is None:
        return report
    before = _counts(grounds)
    grounds.let_go()
    tests = old_code.run(plan.old_tests, grounds.branch, plan.timeout)
    report = replace(report, old_tests=tests)
    if changed := _changed(before, _counts(grounds)):
        text = f"The previous release's tests left other rows in {', '.join(changed)}: what comes after saw those."
        return replace(report, warnings=(*report.warnings, text))
    return report


def _counts(grounds: Grounds) -> Counts:
    found = {}
    for key in grounds.keys:
        with grounds.connected(key) as connection:
            found[key] = rows.count(connection)
    return found


def _changed(before: Counts, after: Counts) -> list[str]:
    return [
        table if key is None else f"{table} ({key})"
        for key, there in before.items()
        for table in sorted(there.keys() | after[key].keys())
        if there.get(table) != after[key].get(table)
    ]
