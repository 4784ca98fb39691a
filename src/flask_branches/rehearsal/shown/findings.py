"""What of a report matters, in sentences that every form of it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_branches.rehearsal.shown.words import count, duration, listed, one_line, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_branches.rehearsal.observed import Blocking, Index, Rewrite, Rows, Statement, Undo, Wal
    from flask_branches.rehearsal.report import Difference, Limits, OldTests, Report, Revision, Severity, Verdict

VERDICTS: dict[Verdict, str] = {
    "safe": "Safe to deploy",
    "unsafe": "Not safe to deploy",
    "failed": "Could not be rehearsed",
}


@dataclass(frozen=True)
class Finding:
    """Something that was seen, and how much it matters."""

    severity: Severity
    text: str


def findings(revision: Revision, limits: Limits) -> tuple[Finding, ...]:
    """What a revision did that somebody notices, the worst first."""
    found = [
        *([Finding("danger", "It failed.")] if revision.failed else []),
        *(_blocking(each, limits) for each in revision.blocking if each.writes),
        *_rewrites(revision, limits),
        *(each for rows in revision.rows for each in _rows(rows)),
        *(_index(each) for each in revision.indexes),
        *_validations(revision),
        *_undo(revision.undo),
    ]
    return tuple(sorted(found, key=lambda each: ("danger", "warning", "note").index(each.severity)))


def headline(report: Report) -> str:
    """Which migrations of what were rehearsed where, and for how long they ran."""
    where = f"on a branch of {one_line(report.parent)} ({one_line(report.server)})"
    if not report.revisions:
        return f"No revision of {one_line(report.application)} ran {where}."
    number = count(len(report.revisions), "revision")
    return f"{number} of {one_line(report.application)}, rehearsed {where}, ran for {duration(report.took)}."


def error(report: Report) -> str:
    """What went wrong; empty where the reasons say all of it."""
    if report.failure is None or (report.failure.error in report.reasons and "\n" not in report.failure.error):
        return ""
    return report.failure.error


def outcome(report: Report) -> str:
    """What has become of the branch, and of the parent."""
    branch = one_line(report.branch)
    state = f"The branch {branch} is kept" if report.kept else f"The branch {branch} is gone"
    return f"{state}; {one_line(report.parent)} was not touched."


def limits(report: Report) -> str:
    """What a deployment may cost."""
    return (
        f"Nobody may wait for longer than {duration(report.limits.max_lock)}, and no table larger than "
        f"{size(report.limits.max_rewrite)} may be rewritten."
    )


def name(revision: Revision) -> str:
    """A revision's name, with its database where the application has several."""
    return one_line(revision.id if revision.database is None else f"{revision.id} ({revision.database})")


def title(revision: Revision) -> str:
    """What a revision says that it does, or its name."""
    return one_line(revision.title).rstrip(".") or name(revision)


def waits(blocking: Blocking) -> str:
    """Who waits for a table, and for how long."""
    read, write = blocking.longest_read, blocking.longest_write
    table = one_line(blocking.table)
    if not read:
        return f"Blocks writes to {table} for {duration(write)}"
    if duration(read) == duration(write):
        return f"Blocks reads and writes of {table} for {duration(read)}"
    return f"Blocks reads of {table} for {duration(read)} and writes for {duration(write)}"


def repeats(statement: Statement) -> str:
    """How often a statement ran, and for how long; empty for one that ran once."""
    if statement.times == 1:
        return ""
    return f"{statement.times:,} times, the longest {duration(statement.longest)}"


def written_ahead(wal: Wal) -> str:
    """What replicas have to be sent."""
    others = ", with what others wrote meanwhile" if wal.of_server else ""
    return f"{size(wal.size)} of write-ahead log{others}."


def drift(report: Report) -> str:
    """Whether the models and the migrated schema agree."""
    if report.differences is None:
        return ""
    number = len(report.differences)
    if not number:
        return "The models and the migrated schema agree."
    return f"The models and the migrated schema differ in {count(number, 'place')}."


def only(difference: Difference) -> str:
    """Something that one of models and database has alone."""
    return f"Only in the {difference.where}: {one_line(difference.text)}"


def old_code(tests: OldTests) -> str:
    """Whether the previous release works on the migrated schema."""
    took = duration(tests.took)
    if tests.status:
        return f"The previous release's tests fail on the migrated branch: status {tests.status}, after {took}."
    return f"The previous release's tests pass on the migrated branch, in {took}."


def _blocking(blocking: Blocking, limits: Limits) -> Finding:
    over = max(blocking.longest_read, blocking.longest_write) > limits.max_lock
    more = f", over the limit of {duration(limits.max_lock)}" if over else ""
    return Finding("danger" if over else "note", f"{waits(blocking)}{more}.")


def _rewrites(revision: Revision, limits: Limits) -> Iterator[Finding]:
    tables = {each.table for each in revision.rewrites if each.object == each.table}
    for each in revision.rewrites:
        if each.object == each.table:
            yield _table_rewritten(each, revision, limits)
        elif each.table not in tables and not each.truncated:
            text = f"Rewrites the {each.kind} {one_line(each.object)}, {size(each.size)}."
            yield Finding("danger" if each.size > limits.max_rewrite else "note", text)


def _table_rewritten(rewrite: Rewrite, revision: Revision, limits: Limits) -> Finding:
    table = one_line(rewrite.object)
    if rewrite.truncated:
        return Finding("note", f"Empties {table} by TRUNCATE, {size(rewrite.before)}.")
    indexes = sum(each.kind == "index" and each.table == rewrite.table for each in revision.rewrites)
    with_them = f" and {count(indexes, 'index', 'indexes')} of it" if indexes else ""
    over = rewrite.size > limits.max_rewrite
    more = f", over the limit of {size(limits.max_rewrite)}" if over else ""
    return Finding("danger" if over else "note", f"Rewrites {table}{with_them}, {size(rewrite.size)}{more}.")


def _rows(rows: Rows) -> Iterator[Finding]:
    table = one_line(rows.table)
    about = "" if rows.exact else ", by the planner's estimate"
    if rows.after is None:
        yield Finding("danger" if rows.lost else "note", f"Drops {table} with {count(rows.before or 0, 'row')}{about}.")
    elif rows.lost:
        text = f"{table} loses {rows.lost:,} of its {count(rows.before or 0, 'row')}{about}."
        yield Finding("danger", text)
    elif rows.before is None:
        yield Finding("note", f"{table} is new, with {count(rows.after, 'row')}{about}.")
    elif rows.after > rows.before:
        yield Finding("note", f"{table} gains {count(rows.after - rows.before, 'row')}{about}.")
    if rows.columns_lost:
        columns = listed([one_line(each) for each in rows.columns_lost])
        yield Finding("warning", f"{table} loses the values of {columns}.")


def _index(index: Index) -> Finding:
    kind = "unique index" if index.unique else "index"
    if not index.valid:
        return Finding("warning", f"Leaves the {kind} {one_line(index.name)} on {one_line(index.table)} invalid.")
    how = ", while others write" if index.concurrently else ""
    text = f"Builds the {kind} {one_line(index.name)} on {one_line(index.table)}, {size(index.size)}{how}."
    return Finding("note", text)


def _validations(revision: Revision) -> Iterator[Finding]:
    for each in revision.validations:
        if each.rows:
            what = one_line(each.constraint)
            yield Finding("note", f"Reads {count(each.rows, 'row')} of {one_line(each.table)} to check {what}.")


def _undo(undo: Undo) -> Iterator[Finding]:
    detail = f": {one_line(undo.detail).rstrip('.')}." if undo.detail else "."
    if undo.state == "missing":
        yield Finding("warning", "Has no downgrade.")
    elif undo.state == "failed":
        yield Finding("warning", f"Cannot be undone{detail}")
    elif undo.state == "differs":
        yield Finding("warning", f"After a downgrade and an upgrade the schema is not the same{detail}")
    elif undo.state == "same" and not undo.lost:
        yield Finding("note", "Can be undone.")
    if undo.lost:
        lost = listed([one_line(each) for each in undo.lost])
        yield Finding("warning", f"Undoing it loses data: {lost}.")
