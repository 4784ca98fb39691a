"""What was seen of danger, and what would avoid it, by Postgres' own documentation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask_branches.rehearsal.report import Advice
from flask_branches.rehearsal.shown.words import clipped, duration, listed, one_line, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_branches.rehearsal.observed import Blocking, Rewrite, Statement
    from flask_branches.rehearsal.report import Report, Revision, Severity

_DOCS = "https://www.postgresql.org/docs/current"
_ALTER = f"{_DOCS}/sql-altertable.html#SQL-ALTERTABLE-NOTES"
_INDEX = f"{_DOCS}/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY"
_REINDEX = f"{_DOCS}/sql-reindex.html#SQL-REINDEX-CONCURRENTLY"
_LOCKS = f"{_DOCS}/explicit-locking.html#LOCKING-TABLES"
_ROWS = f"{_DOCS}/explicit-locking.html#LOCKING-ROWS"
_TIMEOUT = f"{_DOCS}/runtime-config-client.html#GUC-LOCK-TIMEOUT"
_PER_MIGRATION = (
    "https://alembic.sqlalchemy.org/en/latest/api/runtime.html"
    "#alembic.runtime.environment.EnvironmentContext.configure.params.transaction_per_migration"
)
_REFRESH = f"{_DOCS}/sql-refreshmaterializedview.html"
_VACUUM = f"{_DOCS}/routine-vacuuming.html#VACUUM-FOR-SPACE-RECOVERY"
_REWRITERS = (
    (
        re.compile(r"\bREFRESH\s+MATERIALIZED\s+VIEW\b", re.IGNORECASE),
        "REFRESH MATERIALIZED VIEW CONCURRENTLY keeps no reader waiting; it needs a unique index on the view.",
        _REFRESH,
    ),
    (
        re.compile(r"\bREINDEX\b", re.IGNORECASE),
        "REINDEX … CONCURRENTLY, in an autocommit_block, keeps nobody waiting.",
        _REINDEX,
    ),
    (
        re.compile(r"(^|;)\s*(CLUSTER\b|VACUUM\s*(\([^)]*)?\bFULL\b)", re.IGNORECASE | re.MULTILINE),
        (
            "A plain VACUUM, in an autocommit_block, keeps nobody waiting and makes the room usable again; to give it "
            "back, or to sort the table, the extension pg_repack locks it for moments only."
        ),
        _VACUUM,
    ),
    (
        re.compile(r"\bALTER\s+TABLE\b(?!.*\bSET\s+(LOGGED|UNLOGGED|TABLESPACE|ACCESS)\b)", re.IGNORECASE | re.DOTALL),
        (
            "Add a new nullable column without a volatile default, fill it in batches, each with a commit of its own, "
            "and change over in a later revision; the types that need no rewrite are listed there."
        ),
        _ALTER,
    ),
    (
        re.compile(""),
        "Nobody can use it until that has ended: give it a revision of its own, at an hour when that can be borne.",
        _LOCKS,
    ),
)
"""What rewrites, what does the same with less waiting, and where that is documented; the first that fits."""
_SHORT = 50
"""Milliseconds that nobody minds: a shorter lock is worth no advice but the one on lock_timeout."""
_MANY_ROWS = 10_000
_AT_ONCE = 1
"""Milliseconds between a statement and its lock."""
_BEGINNING = 60


def advise(report: Report) -> tuple[Advice, ...]:
    """All advice there is on what a rehearsal on Postgres has seen, the most dangerous first."""
    found = [each for revision in report.revisions for each in _on(revision, report)]
    first = report.blocking[0] if report.blocking else None
    if report.shared_transaction:
        found.append(
            Advice(
                _severity(first, first.longest_write if first else 0, report),
                None,
                "One transaction ran several revisions, so that each lock was held until the last of them had ended.",
                "Give context.configure in env.py transaction_per_migration=True.",
                _PER_MIGRATION,
            )
        )
    if report.blocking:
        found.append(
            Advice(
                "note",
                None,
                _in_use(report),
                "While a migration waits for a lock behind a long query, all who come after it wait too, however short "
                "the lock: SET lock_timeout = '2s' before it, and try again when that passes.",
                _TIMEOUT,
            )
        )
    order: dict[Severity, int] = {"danger": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda each: order[each.severity]))


def _on(revision: Revision, report: Report) -> Iterator[Advice]:
    yield from _held_for_others(revision, report)
    yield from _rewritten(revision, report)
    yield from _indexed(revision, report)
    yield from _validated(revision, report)
    yield from _locked_rows(revision, report)
    yield from _lost(revision)
    yield from _invalid(revision)


def _held_for_others(revision: Revision, report: Report) -> Iterator[Advice]:
    """A lock that is held while other statements do what does not need it."""
    for lock in revision.locks:
        if not lock.existed or lock.blocks not in {"writes", "reads and writes"} or lock.object != lock.table:
            continue
        span = max(lock.spans, key=lambda each: each.length)
        taking = [each for each in revision.statements if each.began <= span.began + _AT_ONCE <= each.ended + _AT_ONCE]
        later = [each for each in revision.statements if span.began < each.began <= span.ended]
        slow = max(later, key=lambda each: each.took, default=None)
        if taking and slow is not None and slow.took > max(span.length / 2, report.limits.max_lock):
            yield Advice(
                "danger",
                revision.id,
                f"{_said(taking[-1])} locked {lock.table}, and the lock was held for {duration(span.length)}: "
                f"{_said(slow)} took {duration(slow.took)} of them.",
                "A lock is held until its transaction ends: give what takes long a revision of its own, before or "
                "after the one that locks the table.",
                _LOCKS,
            )


def _rewritten(revision: Revision, report: Report) -> Iterator[Advice]:
    for each in revision.rewrites:
        if each.truncated:
            continue
        waits, took = _wait(revision, each.table), _took(revision, f"rewrites {each.object}")
        remedy, source = _instead(each, revision)
        yield Advice(
            _severity(waits, took, report),
            revision.id,
            f"{each.object} ({size(each.size)}) was rewritten{_kept_out(waits, took)}.",
            remedy,
            source,
        )


def _instead(rewrite: Rewrite, revision: Revision) -> tuple[str, str]:
    """What does the same with less waiting, by the statement that was seen to rewrite; and where that is documented."""
    effect = f"rewrites {rewrite.object}"
    text = "\n".join(each.text for each in revision.statements if effect in each.effects)
    return next((remedy, source) for pattern, remedy, source in _REWRITERS if pattern.search(text))


def _in_use(report: Report) -> str:
    """What is used was locked: its tables, and its sequences where there is nothing else."""
    sequences = {lock.object for each in report.revisions for lock in each.locks if lock.kind == "sequence"}
    names = [each.table for each in report.blocking]
    tables = [each for each in names if each not in sequences]
    return f"{'Tables' if tables else 'Sequences'} in use were locked: {listed(tables or names, most=5)}."


def _indexed(revision: Revision, report: Report) -> Iterator[Advice]:
    for each in revision.indexes:
        waits, took = _wait(revision, each.table), _took(revision, f"builds {each.name} on {each.table}")
        rewritten = any(other.table == each.table for other in revision.rewrites)
        if waits is not None and not each.concurrently and took > _SHORT and not rewritten:
            yield Advice(
                _severity(waits, took, report),
                revision.id,
                f"{each.name} ({size(each.size)}) was built on {each.table}{_kept_out(waits, took)}.",
                "Build it with postgresql_concurrently=True inside of op.get_context().autocommit_block(); make a "
                "constraint of it afterwards with ADD CONSTRAINT … USING INDEX.",
                _INDEX,
            )


def _validated(revision: Revision, report: Report) -> Iterator[Advice]:
    for each in revision.validations:
        waits, took = _wait(revision, each.table), _took(revision, f"rows of {each.table}")
        if waits is not None and took > _SHORT:
            yield Advice(
                _severity(waits, took, report),
                revision.id,
                f"All of {each.table} ({each.rows:,} rows) was read to see that {each.constraint} holds"
                f"{_kept_out(waits, took)}.",
                "Add the constraint NOT VALID, and VALIDATE it in a later transaction, which keeps nobody waiting; for "
                "NOT NULL, validate CHECK (column IS NOT NULL) so, and SET NOT NULL then reads nothing.",
                _ALTER,
            )


def _locked_rows(revision: Revision, report: Report) -> Iterator[Advice]:
    """Rows that an open transaction has changed cannot be changed by others until it ends."""
    spans = {each.number: each.span for each in report.transactions}
    for each in revision.statements:
        span = spans.get(each.transaction) if each.transaction is not None else None
        if span is None or each.own_connection or not _changes_rows(each.text) or (each.rows or 0) < _MANY_ROWS:
            continue
        held = span.ended - each.began
        if held > report.limits.max_lock:
            yield Advice(
                "warning",
                revision.id,
                f"{each.rows or 0:,} rows were changed in one transaction, which went on for {duration(held)}: "
                "who wants to change one of them waits that long.",
                "Change them in batches of some thousands, each with a commit of its own, in an autocommit_block.",
                _ROWS,
            )


def _lost(revision: Revision) -> Iterator[Advice]:
    for each in revision.rows:
        if each.columns_lost or (each.after is None and each.before):
            what = ", ".join(each.columns_lost) if each.columns_lost else "the table"
            yield Advice(
                "warning",
                revision.id,
                f"{each.table}: {what} was dropped, with {each.before or 0:,} rows.",
                "Let no code read it for one release before it goes: the code that runs while this is deployed may "
                "still name it. Only a backup brings it back.",
                _LOCKS,
            )


def _invalid(revision: Revision) -> Iterator[Advice]:
    for each in revision.indexes:
        if not each.valid:
            yield Advice(
                "warning",
                revision.id,
                f"{each.name} on {each.table} was left invalid: it slows writes down, and no query uses it.",
                "Drop it with DROP INDEX CONCURRENTLY, mend what kept it from being built, and build it again.",
                _INDEX,
            )


def _wait(revision: Revision, table: str) -> Blocking | None:
    return next((each for each in revision.blocking if each.table == table), None)


def _took(revision: Revision, effect: str) -> float:
    """How long the statement took that was seen to do something."""
    return max((each.took for each in revision.statements if any(effect in one for one in each.effects)), default=0)


def _kept_out(waits: Blocking | None, took: float) -> str:
    """For how long, and for whom: the locks may be held for longer, which is told of the table."""
    text = f" in {duration(took)}" if took else ""
    if waits is None:
        return text
    return f"{text}, while {'readers and writers' if waits.longest_read > 0 else 'writers'} waited"


def _severity(waits: Blocking | None, took: float, report: Report) -> Severity:
    return "danger" if waits is not None and took > report.limits.max_lock else "warning"


def _said(statement: Statement) -> str:
    """The beginning of a statement."""
    return clipped(one_line(statement.text), _BEGINNING)


def _changes_rows(text: str) -> bool:
    return text.lstrip().upper().startswith(("UPDATE", "DELETE", "WITH", "MERGE"))
