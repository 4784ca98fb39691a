"""What was seen of danger, and what would avoid it, by Postgres' own documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_branches.rehearsal.report import Advice
from flask_branches.rehearsal.shown.words import duration, listed, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flask_branches.rehearsal.report import Blocking, Report, Revision, Severity

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
_SHORT = 50
"""Milliseconds that nobody minds: a shorter lock is worth no advice but the one on lock_timeout."""
_MANY_ROWS = 10_000


def advise(report: Report) -> tuple[Advice, ...]:
    """All advice there is on what a rehearsal on Postgres has seen, the most dangerous first."""
    found = [each for revision in report.revisions for each in _on(revision, report)]
    if report.shared_transaction:
        found.append(
            Advice(
                _severity(report.blocking, report),
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
                f"Tables in use were locked: {listed([each.table for each in report.blocking], most=5)}.",
                "While a migration waits for a lock behind a long query, all who come after it wait too, however short "
                "the lock: SET lock_timeout = '2s' before it, and try again when that passes.",
                _TIMEOUT,
            )
        )
    order: dict[Severity, int] = {"danger": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda each: order[each.severity]))


def _on(revision: Revision, report: Report) -> Iterator[Advice]:
    yield from _rewritten(revision, report)
    yield from _indexed(revision, report)
    yield from _validated(revision, report)
    yield from _locked_rows(revision, report)
    yield from _lost(revision)
    yield from _invalid(revision)


def _rewritten(revision: Revision, report: Report) -> Iterator[Advice]:
    for each in revision.rewrites:
        waits = _wait(revision, each.table)
        if each.truncated:
            continue
        if each.kind == "index":
            remedy, source = "REINDEX … CONCURRENTLY, in an autocommit_block, keeps nobody waiting.", _REINDEX
        else:
            remedy = (
                "Add a new nullable column without a volatile default, fill it in batches, each with a commit of its "
                "own, and change over in a later revision; the types that need no rewrite are listed there."
            )
            source = _ALTER
        yield Advice(
            _severity([waits] if waits else [], report),
            revision.id,
            f"{each.object} ({size(each.before)}) was rewritten{_kept_out(waits)}.",
            remedy,
            source,
        )


def _indexed(revision: Revision, report: Report) -> Iterator[Advice]:
    for each in revision.indexes:
        waits = _wait(revision, each.table)
        rewritten = any(other.table == each.table for other in revision.rewrites)
        if waits is not None and not each.concurrently and waits.longest_write > _SHORT and not rewritten:
            yield Advice(
                _severity([waits], report),
                revision.id,
                f"{each.name} ({size(each.size)}) was built on {each.table}{_kept_out(waits)}.",
                "Build it with postgresql_concurrently=True inside of op.get_context().autocommit_block(); make a "
                "constraint of it afterwards with ADD CONSTRAINT … USING INDEX.",
                _INDEX,
            )


def _validated(revision: Revision, report: Report) -> Iterator[Advice]:
    for each in revision.validations:
        waits = _wait(revision, each.table)
        if waits is not None and waits.longest_write > _SHORT:
            yield Advice(
                _severity([waits], report),
                revision.id,
                f"All of {each.table} ({each.rows:,} rows) was read to see that {each.constraint} holds"
                f"{_kept_out(waits)}.",
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


def _kept_out(waits: Blocking | None) -> str:
    if waits is None:
        return ""
    if waits.longest_read > 0:
        return f", while readers and writers waited for up to {duration(waits.longest_write)}"
    return f", while writers waited for up to {duration(waits.longest_write)}"


def _severity(waits: Iterable[Blocking], report: Report) -> Severity:
    longest = max((max(each.longest_read, each.longest_write) for each in waits), default=0)
    return "danger" if longest > report.limits.max_lock else "warning"


def _changes_rows(text: str) -> bool:
    return text.lstrip().upper().startswith(("UPDATE", "DELETE", "WITH", "MERGE"))
