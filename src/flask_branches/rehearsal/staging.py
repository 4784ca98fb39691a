"""A rehearsal, from the branch that is made for it to the report."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask.globals import app_ctx

from flask_branches import branch as branches_
from flask_branches import migrating, reach
from flask_branches.errors import BranchesError, MigrationFailed
from flask_branches.redaction import Redaction
from flask_branches.rehearsal import aftermath, hiding, old_code, telling
from flask_branches.rehearsal.advice import advise
from flask_branches.rehearsal.grounds import Grounds
from flask_branches.rehearsal.limiting import Deadline, Overdue
from flask_branches.rehearsal.migrations import Migrations
from flask_branches.rehearsal.performance import Performance
from flask_branches.rehearsal.report import Limits, Report
from flask_branches.rehearsal.verdict import judged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from flask import Flask

    from flask_branches.branch import Branch, PointInTime
    from flask_branches.extension import Branches
    from flask_branches.rehearsal.migrations import Heads

_NAMED = 5
_WHY = "its migrations are rehearsed: use op.get_bind() in a migration, and the application's engines in env.py."
_NOT_SHOWN = (
    (
        "How long the migration itself waits in production, behind transactions that are open there: while it waits, "
        "all who come after it wait too. SET lock_timeout before it."
    ),
    "What a cold cache costs: a branch may have read less, or more, from memory than production will.",
)
_NOT_ON_SQLITE = (
    "Locks, rewrites and the log: SQLite locks its whole file for whoever writes, and tells nothing of it.",
)


@dataclass(frozen=True)
class Plan:
    """What is to be rehearsed, and how."""

    to: str = "head"
    limits: Limits = field(default_factory=Limits)
    timeout: timedelta = field(default_factory=lambda: branches_.duration("30m"))
    counts: bool = True
    drift: bool = True
    undo: bool = True
    old_tests: str | None = None
    keep: bool = False


def rehearse(
    *,
    parent: str | None = None,
    at: str | PointInTime | None = None,
    to: str = "head",
    limits: Limits | None = None,
    timeout: str | timedelta = "30m",
    counts: bool = True,
    drift: bool = True,
    undo: bool = True,
    old_tests: str | None = None,
    keep: bool = False,
    force: bool = False,
) -> Report:
    """Run the pending migrations on a branch, and tell what they would do to production; in an application context.

    Args:
        parent: what the branch is made of: a branch's name, or ``"main"`` (the default).
        at: a point in time, or a log position, where the backend has those.
        to: the revision to go to.
        limits: what a deployment may cost; by default :class:`Limits` as it stands.
        timeout: how long all may take, from when the branch is there: a span such as ``"30m"``, or a timedelta.
        counts: whether the rows of each table are counted.
        drift: whether the models are compared with the migrated schema.
        undo: whether each revision is undone and done again.
        old_tests: a command that runs the previous release's tests, as a shell reads it.
        keep: whether the branch stays, until it expires.
        force: end idle sessions that keep a Postgres parent from being copied; never those of main.

    Raises:
        MigrationFailed: for several heads, and for a revision that there is none of.
        BranchesError: where the branch cannot be made, as :meth:`~flask_branches.Branches.create` has it.
    """
    span = branches_.duration(timeout, "timeout")
    plan = Plan(to, limits or Limits(), span, counts, drift, undo, old_tests, keep)
    migrations = Migrations(app_ctx.app)
    migrations.pending((), plan.to)  # what needs no database is refused before a branch is made
    if old_tests is not None:
        old_code.require(old_tests)
    with _grounds(migrations.app, parent=parent, at=at, keep=keep, force=force) as grounds:
        report = _rehearsed(plan, migrations, grounds, parent or branches_.MAIN)
        return hiding.redacted(report, Redaction(grounds.url(key) for key in grounds.keys))


@contextmanager
def _grounds(app: Flask, *, parent: str | None, keep: bool, **options: Any) -> Iterator[Grounds]:
    """The branch, with the application at work on it and nowhere else."""
    branches: Branches = app.extensions["branches"]
    own = reach.own_of(app)
    with (
        _branch(branches, parent=parent, keep=keep, **options) as made,
        Grounds(branches.databases, made) as grounds,
        migrating.at_work(app, made),
        reach.kept_out_of(own, _WHY),
    ):
        yield grounds


@contextmanager
def _branch(
    branches: Branches, *, parent: str | None, at: str | PointInTime | None, keep: bool, force: bool
) -> Iterator[Branch]:
    name = f"rehearsal-{secrets.token_hex(4)}"
    if keep:
        yield branches.create(name, parent=parent, at=at, force=force)
    else:
        with branches.temporary(name, parent=parent, at=at, force=force) as made:
            yield made


def _rehearsed(plan: Plan, migrations: Migrations, grounds: Grounds, parent: str) -> Report:
    started, deadline = datetime.now(UTC), Deadline(plan.timeout)
    current = _current(migrations, grounds, deadline)
    pending = [migrations.pending(heads, plan.to) for _, heads in migrations.visits]
    at = tuple(dict.fromkeys(each for heads in current.values() for each in heads))
    performance = Performance(migrations, grounds, deadline=deadline, counts=plan.counts, undo=plan.undo)
    performance.run(plan.to)
    report = Report(
        application=migrations.app.name,
        backend=grounds.branch.backend,
        server=performance.server,
        parent=parent,
        branch=grounds.branch.name,
        kept=plan.keep,
        started_at=started.replace(microsecond=0),
        took=performance.took,
        current=at,
        target=tuple(dict.fromkeys(step.revision.revision for steps in pending for step in steps[-1:])) or at,
        limits=plan.limits,
        verdict="safe",
        reasons=(),
        failure=performance.failure,
        not_shown=(*_NOT_ON_SQLITE, *_NOT_SHOWN[1:]) if grounds.is_sqlite else _NOT_SHOWN,
    )
    report = _watched(report, performance)
    if report.failure is None:
        report = _nothing_pending(report)
        after = aftermath.Aftermath(plan, performance, deadline)
        report = after.with_old_tests(after.with_drift(report))
        scripts = {step.revision.revision: step.revision for steps in pending for step in steps}
        report = after.with_undo(report, scripts)
    report = replace(report, advice=advise(report))
    verdict, reasons = judged(report)
    return replace(report, verdict=verdict, reasons=reasons)


def _current(migrations: Migrations, grounds: Grounds, deadline: Deadline) -> dict[str | None, Heads]:
    span = branches_.in_short(deadline.span)
    late = MigrationFailed(
        f"{migrations.folder / 'env.py'} had not found the database's revision after {span}, and was cancelled: "
        "see what it waits for, or give it longer with --timeout."
    )
    try:
        with deadline.within(grounds.cancel):
            return migrations.current()
    except Overdue:
        raise late from None
    except BranchesError as error:
        if deadline.is_over:
            raise late from error
        raise


def _nothing_pending(report: Report) -> Report:
    if report.revisions:
        return report
    at = ", ".join(report.current) or "no revision"
    return replace(report, warnings=(*report.warnings, f"Nothing is pending: the database is at {at}."))


def _watched(report: Report, performance: Performance) -> Report:
    courses = performance.watch.courses
    revisions = [
        each
        for course in courses
        for each in telling.revisions(course, performance.meters[course.key].measured.get(course, ()))
    ]
    revisions.sort(key=lambda each: each.span.began)
    locks = [lock for each in revisions for lock in each.locks]
    probes = [probe for course in courses for probe in telling.probes_of(course, locks)]
    transactions = sorted(
        (each for course in courses for each in course.transactions), key=lambda each: each.span.began
    )
    return replace(
        report,
        revisions=tuple(revisions),
        transactions=tuple(transactions),
        blocking=telling.blocking(locks, probes),
        shared_transaction=any(len(each.revisions) > 1 for each in transactions),
        warnings=(*telling.warnings(courses), *_uncounted(performance)),
        not_shown=(*report.not_shown, *telling.unwatched(courses)),
    )


def _uncounted(performance: Performance) -> Iterator[str]:
    for key, meter in performance.meters.items():
        tables = list(meter.uncounted)
        if tables:
            more = f" and {len(tables) - _NAMED:,} more" if len(tables) > _NAMED else ""
            names = f"{', '.join(tables[:_NAMED])}{more}{f' of the database {key!r}' if key else ''}"
            yield f"The database refused to count {names}: whether rows were lost there is not told."
