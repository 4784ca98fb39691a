"""What is tried on a branch whose migrations have run: the models, the previous release, the way back and forth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flask_branches.branch import in_short
from flask_branches.rehearsal import old_code, rows
from flask_branches.rehearsal.drift import drift
from flask_branches.rehearsal.limiting import Overdue, within
from flask_branches.rehearsal.locks import strength
from flask_branches.rehearsal.undoing import round_trip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.script import Script

    from flask_branches.rehearsal.grounds import Grounds
    from flask_branches.rehearsal.migrations import Migrations
    from flask_branches.rehearsal.performance import Performance
    from flask_branches.rehearsal.report import Report, Revision
    from flask_branches.rehearsal.staging import Plan

    Tables = dict[str, dict[str | None, set[str]]]
    Counts = dict[str | None, dict[str, rows.Counted]]


_CANCEL = (
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def with_drift(report: Report, plan: Plan, performance: Performance) -> Report:
    """Hold the models against the migrated schema."""
    if not plan.drift:
        return report
    found = drift(performance.migrations, performance.grounds)
    return replace(report, differences=found.differences, not_shown=(*report.not_shown, *found.notes))


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


def with_undo(report: Report, plan: Plan, performance: Performance, scripts: Sequence[Script]) -> Report:
    """Undo each revision, and do it again; last of all, since data may be lost by that."""
    if not plan.undo or not scripts:
        return report
    meters, migrations, grounds = performance.meters, performance.migrations, performance.grounds
    schemas = [
        {key: meter.states[min(at, len(meter.states) - 1)].schema for key, meter in meters.items()}
        for at in range(len(scripts) + 1)
    ]
    tables = _touched(report.revisions)
    contents = {
        script.revision: {
            key: {name: held for name, held in meters[key].contents[at].items() if name in names}
            for key, names in tables.get(script.revision, {}).items()
        }
        for at, script in enumerate(scripts)
    }
    try:
        with within(plan.timeout.total_seconds(), lambda: _cancel(grounds)):
            found = round_trip(migrations, scripts, schemas, tables, grounds.connected, contents=contents)
    except Overdue:
        text = f"The way back and forth had not ended after {in_short(plan.timeout)}, and was left."
        return replace(report, warnings=(*report.warnings, text))
    revisions = tuple(replace(each, undo=found[each.id]) for each in report.revisions)
    return replace(report, revisions=revisions, warnings=(*report.warnings, *_left_at(report, migrations)))


def _touched(revisions: Sequence[Revision]) -> Tables:
    """The tables that each revision has written to, by what it has locked; without locks, by what has changed."""
    found: Tables = {}
    for revision in revisions:
        tables = {each.table for each in revision.rows}
        tables |= {each.table for each in revision.locks if strength(each.mode) >= strength("ROW EXCLUSIVE")}
        found.setdefault(revision.id, {})[revision.database] = tables
    return found


def _left_at(report: Report, migrations: Migrations) -> list[str]:
    current = migrations.current().get(None, ())
    if not report.kept or set(current) == set(report.target):
        return []
    return [f"The branch {report.branch!r} is kept as its revisions were undone: it is at {', '.join(current)}."]


def _cancel(grounds: Grounds) -> None:
    for key in grounds.keys:
        with grounds.connected(key) as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(_CANCEL)


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
