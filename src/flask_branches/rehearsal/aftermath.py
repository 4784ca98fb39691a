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
    from collections.abc import Mapping, Sequence

    from alembic.script import Script

    from flask_branches.rehearsal.grounds import Grounds
    from flask_branches.rehearsal.measuring import Meter
    from flask_branches.rehearsal.migrations import Heads, Migrations
    from flask_branches.rehearsal.performance import Performance
    from flask_branches.rehearsal.report import Report, Revision
    from flask_branches.rehearsal.staging import Plan

    Schemas = dict[str | None, str]
    Contents = dict[str | None, dict[str, rows.Content | None]]
    Tables = dict[str, dict[str | None, set[str]]]
    Counts = dict[str | None, dict[str, rows.Counted | None]]


_CANCEL = (
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def with_drift(report: Report, plan: Plan, performance: Performance) -> Report:
    """Hold the models against the migrated schema."""
    if not plan.drift:
        return report
    found = drift(performance.migrations, performance.grounds)
    return replace(report, differences=found.differences, not_shown=(*report.not_shown, *found.notes))


def with_old_tests(report: Report, plan: Plan, performance: Performance) -> Report:
    """Run the previous release's tests; what they leave behind is no loss of the migrations'."""
    if plan.old_tests is None:
        return report
    grounds, keep = performance.grounds, performance.migrations.version_table
    before = _counts(grounds, keep)
    grounds.let_go()
    tests = old_code.run(plan.old_tests, grounds.branch, plan.timeout)
    report = replace(report, old_tests=tests)
    if changed := _changed(before, _counts(grounds, keep)):
        text = f"The previous release's tests left other rows in {', '.join(changed)}: what comes after saw those."
        return replace(report, warnings=(*report.warnings, text))
    return report


def with_undo(report: Report, plan: Plan, performance: Performance, scripts: Mapping[str, Script]) -> Report:
    """Undo each revision, and do it again; last of all, since data may be lost by that.

    Args:
        report: what was seen until now.
        plan: what is wanted.
        performance: the run that it is of.
        scripts: the revisions that were pending in one database or another, by their names.
    """
    ran = _ran(report.revisions)
    if not plan.undo or not ran:
        return report
    migrations, grounds = performance.migrations, performance.grounds
    order = _in_order(ran, scripts, migrations)
    schemas, contents = _moments(order, ran, performance.meters)
    tables = _touched(report.revisions)
    kept = {
        revision: {
            key: {name: content for name, content in contents[revision][key].items() if name in names}
            for key, names in found.items()
        }
        for revision, found in tables.items()
    }
    began_at = migrations.current()
    try:
        with within(plan.timeout.total_seconds(), lambda: _cancel(grounds)):
            found = round_trip(
                migrations, [scripts[each] for each in order], schemas, tables, grounds.connected, contents=kept
            )
    except Overdue:
        text = f"The way back and forth had not ended after {in_short(plan.timeout)}, and was left."
        return replace(report, warnings=(*report.warnings, text))
    revisions = tuple(replace(each, undo=found[each.id]) for each in report.revisions)
    return replace(report, revisions=revisions, warnings=(*report.warnings, *_left_at(report, began_at, migrations)))


def _ran(revisions: Sequence[Revision]) -> dict[str | None, list[str]]:
    """The revisions that were run in each database, in that order: one may have been behind another."""
    found: dict[str | None, list[str]] = {}
    for each in revisions:
        found.setdefault(each.database, []).append(each.id)
    return found


def _in_order(
    ran: Mapping[str | None, Sequence[str]], scripts: Mapping[str, Script], migrations: Migrations
) -> list[str]:
    """All of them, each once: as they were run in the database that was furthest behind, which has mostly seen all."""
    longest = max(ran.values(), key=len)
    if set(longest) == {each for revisions in ran.values() for each in revisions}:
        return list(longest)
    return [each for each in migrations.history() if each in scripts and any(each in there for there in ran.values())]


def _moments(
    order: Sequence[str], ran: Mapping[str | None, Sequence[str]], meters: Mapping[str | None, Meter]
) -> tuple[list[Schemas], dict[str, Contents]]:
    """The schemas before and after each revision, and what tables held before it, by database."""
    at = dict.fromkeys(meters, 0)
    schemas: list[Schemas] = [{key: meter.states[0].schema for key, meter in meters.items()}]
    contents: dict[str, Contents] = {}
    for revision in order:
        contents[revision] = {key: meter.contents[at[key]] for key, meter in meters.items()}
        for key, revisions in ran.items():
            at[key] += revision in revisions
        schemas.append({key: meter.states[at[key]].schema for key, meter in meters.items()})
    return schemas, contents


def _touched(revisions: Sequence[Revision]) -> Tables:
    """The tables that each revision has written to, by what it has locked; without locks, by what has changed."""
    found: Tables = {}
    for revision in revisions:
        tables = {each.table for each in revision.rows}
        tables |= {each.table for each in revision.locks if strength(each.mode) >= strength("ROW EXCLUSIVE")}
        found.setdefault(revision.id, {})[revision.database] = tables
    return found


def _left_at(report: Report, before: Mapping[str | None, Heads], migrations: Migrations) -> list[str]:
    after = migrations.current()
    if not report.kept or {key: set(heads) for key, heads in before.items()} == {
        key: set(heads) for key, heads in after.items()
    }:
        return []
    at = ", ".join(dict.fromkeys(each for heads in after.values() for each in heads)) or "no revision"
    return [f"The branch {report.branch!r} is kept as its revisions were undone: it is at {at}."]


def _cancel(grounds: Grounds) -> None:
    for key in grounds.keys:
        with grounds.connected(key) as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(_CANCEL)


def _counts(grounds: Grounds, keep: str) -> Counts:
    found = {}
    for key in grounds.keys:
        with grounds.connected(key) as connection:
            found[key] = rows.count(connection, keep=keep)
    return found


def _changed(before: Counts, after: Counts) -> list[str]:
    return [
        table if key is None else f"{table} ({key})"
        for key, there in before.items()
        for table in sorted(there.keys() | after[key].keys())
        if there.get(table) != after[key].get(table)
    ]
