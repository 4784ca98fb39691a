"""What is tried on a branch whose migrations have run: the models, the previous release, the way back and forth."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches.backends import postgres_errors
from flask_branches.branch import in_short
from flask_branches.errors import BranchesError
from flask_branches.rehearsal import old_code, rows
from flask_branches.rehearsal.drift import drift
from flask_branches.rehearsal.limiting import Overdue
from flask_branches.rehearsal.locks import strength
from flask_branches.rehearsal.report import Failure
from flask_branches.rehearsal.undoing import round_trip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from alembic.script import Script

    from flask_branches.rehearsal.limiting import Deadline
    from flask_branches.rehearsal.measuring import Meter
    from flask_branches.rehearsal.migrations import Heads, Migrations
    from flask_branches.rehearsal.observed import Undo
    from flask_branches.rehearsal.performance import Performance
    from flask_branches.rehearsal.report import Report, Revision
    from flask_branches.rehearsal.staging import Plan

    Schemas = dict[str | None, str]
    Contents = dict[str | None, dict[str, rows.Content | None]]
    Tables = dict[str, dict[str | None, set[str]]]
    Counts = dict[str | None, dict[str, rows.Counted | None]]


class Unfinished(Exception):
    """What was tried has not come to its end, through no fault of the migrations'."""


class Aftermath:
    """What comes after one run.

    Args:
        plan: what is wanted.
        performance: the run.
        deadline: when all is to have ended.
    """

    def __init__(self, plan: Plan, performance: Performance, deadline: Deadline) -> None:
        self._plan = plan
        self._performance = performance
        self._migrations = performance.migrations
        self._grounds = performance.grounds
        self._deadline = deadline

    def with_drift(self, report: Report) -> Report:
        """Hold the models against the migrated schema."""
        if not self._plan.drift:
            return report
        try:
            with self._finishing():
                found = drift(self._migrations, self._grounds)
                if found.differences is None and self._deadline.is_over:
                    raise Overdue
        except Unfinished as error:
            return _warned(report, f"The models were not compared with the database: {error}.")
        return replace(report, differences=found.differences, not_shown=(*report.not_shown, *found.notes))

    def with_old_tests(self, report: Report) -> Report:
        """Run the previous release's tests; what they leave behind is no loss of the migrations'."""
        if self._plan.old_tests is None:
            return report
        try:
            before = self._counts()
        except Unfinished as error:
            before, report = None, _not_looked_at(report, error)
        if self._deadline.is_over:
            return replace(report, failure=Failure(f"The previous release's tests were not run: {self._late()}."))
        self._grounds.let_go()
        left = timedelta(seconds=math.ceil(self._deadline.left))
        report = replace(report, old_tests=old_code.run(self._plan.old_tests, self._grounds.branch, left))
        try:
            changed = _changed(before, self._counts()) if before is not None else []
        except Unfinished as error:
            return _not_looked_at(report, error)
        if not changed:
            return report
        text = f"The previous release's tests left other rows in {', '.join(changed)}: what comes after saw those."
        return _warned(report, text)

    def with_undo(self, report: Report, scripts: Mapping[str, Script]) -> Report:
        """Undo each revision, and do it again; last of all, since data may be lost by that.

        Args:
            report: what was seen until now.
            scripts: the revisions that were pending in one database or another, by their names.
        """
        if not self._plan.undo or not report.revisions or report.failure is not None:
            return report
        if again := _visited_again(key for key, _ in self._migrations.visits):
            text = (
                f"The way back: env.py goes to {' and '.join(again)} more than once, as for tenants with schemas, and "
                "what is undone for one of them cannot be told from the others."
            )
            return replace(report, not_shown=(*report.not_shown, text))
        try:
            with self._finishing():
                began_at = self._migrations.current()
                found = self._round_trip(report, scripts)
                after = _left_at(report, began_at, self._migrations.current())
        except Unfinished as error:
            kept = f" The branch {report.branch!r} is kept as that has left it." if report.kept else ""
            return _warned(report, f"The way back and forth was not finished: {error}.{kept}")
        revisions = tuple(replace(each, undo=found[each.id]) for each in report.revisions)
        return _warned(replace(report, revisions=revisions), *after)

    def _round_trip(self, report: Report, scripts: Mapping[str, Script]) -> dict[str, Undo]:
        ran, meters = _ran(report.revisions), self._performance.meters
        order = _in_order(ran, scripts, self._migrations)
        schemas, contents = _moments(order, ran, meters)
        tables = _touched(report.revisions, ran, meters)
        held = {
            revision: {
                key: {name: content for name, content in contents[revision][key].items() if name in names}
                for key, names in found.items()
            }
            for revision, found in tables.items()
        }
        return round_trip(
            self._migrations,
            [scripts[each] for each in order],
            schemas,
            tables,
            self._grounds.connected,
            contents=held,
            deadline=self._deadline,
        )

    @contextmanager
    def _finishing(self) -> Iterator[None]:
        """Make one error of what may keep a block from its end: that time is up, or the branch out of reach."""
        try:
            with self._deadline.within(self._grounds.cancel):
                yield
        except Overdue:
            raise Unfinished(self._late()) from None
        except (BranchesError, sa.exc.DBAPIError) as error:
            if self._deadline.is_over:
                raise Unfinished(self._late()) from error
            said = str(error) if isinstance(error, BranchesError) else postgres_errors.said(error)
            raise Unfinished(said.rstrip(".")) from error

    def _late(self) -> str:
        return f"all had not ended after {in_short(self._deadline.span)}; give it longer with --timeout"

    def _counts(self) -> Counts:
        found = {}
        with self._finishing():
            for key in self._grounds.keys:
                with self._grounds.connected(key) as connection:
                    found[key] = rows.count(connection, keep=self._migrations.version_table)
        return found


def _warned(report: Report, *texts: str) -> Report:
    return replace(report, warnings=(*report.warnings, *texts))


def _not_looked_at(report: Report, error: Unfinished) -> Report:
    return _warned(report, f"What the previous release's tests left behind was not looked at: {error}.")


def _visited_again(keys: Iterable[str | None]) -> list[str]:
    return [
        "the default database" if key is None else f"the database {key!r}"
        for key, times in Counter(keys).items()
        if times > 1
    ]


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


def _touched(
    revisions: Sequence[Revision], ran: Mapping[str | None, Sequence[str]], meters: Mapping[str | None, Meter]
) -> Tables:
    """The tables that each revision has written to: by what it has locked, and by what has changed."""
    found: Tables = {}
    for revision in revisions:
        at = ran[revision.database].index(revision.id)
        tables = {each.table for each in revision.rows} | meters[revision.database].written(at)
        tables |= {each.table for each in revision.locks if strength(each.mode) >= strength("ROW EXCLUSIVE")}
        found.setdefault(revision.id, {})[revision.database] = tables
    return found


def _left_at(report: Report, before: Mapping[str | None, Heads], after: Mapping[str | None, Heads]) -> list[str]:
    if not report.kept or {key: set(heads) for key, heads in before.items()} == {
        key: set(heads) for key, heads in after.items()
    }:
        return []
    at = ", ".join(dict.fromkeys(each for heads in after.values() for each in heads)) or "no revision"
    return [f"The branch {report.branch!r} is kept as its revisions were undone: it is at {at}."]


def _changed(before: Counts, after: Counts) -> list[str]:
    return [
        table if key is None else f"{table} ({key})"
        for key, there in before.items()
        for table in sorted(there.keys() | after[key].keys())
        if there.get(table) != after[key].get(table)
    ]
