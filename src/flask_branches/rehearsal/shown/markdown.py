"""A report for a pull request's comment: GitHub's Markdown, no longer than a comment may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_branches.rehearsal.shown import findings
from flask_branches.rehearsal.shown.details import details
from flask_branches.rehearsal.shown.marked import bullets, cell, code, fenced, folded, prose, table, web
from flask_branches.rehearsal.shown.words import clean, clipped, count, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_branches.rehearsal.observed import Undo
    from flask_branches.rehearsal.report import Report, Revision, Severity, Verdict

ROOM = 65_000
"""GitHub takes 65,536 characters; some are left for whoever posts it."""

_SIGNS: dict[Verdict, str] = {"safe": "✅", "unsafe": "⛔", "failed": "❌"}
_MARKS: dict[Severity, str] = {"danger": "⛔", "warning": "⚠️", "note": "💡"}
_REASONS = 20
_REVISIONS = 60


def markdown(report: Report, room: int = ROOM) -> str:
    """A report in Markdown; what there is no room for is left out from the end, and that is said.

    Args:
        report: what was found.
        room: how many characters it may have.
    """
    blocks = [each for each in _blocks(report) if each]
    text, left_out = blocks[0], 0
    kept = room - len(_cut(len(blocks)))
    for number, block in enumerate(blocks[1:], 1):
        is_last = number == len(blocks) - 1 and not left_out
        if len(text) + len(block) + 3 <= (room if is_last else kept):
            text += f"\n\n{block}"
        else:
            left_out += 1
    return f"{text}\n" if not left_out else f"{text}\n\n{_cut(left_out)}\n"


def _cut(number: int) -> str:
    parts = count(number, "part")
    return f"_{parts} of this report had no room in a comment: the HTML and the JSON form have all of it._"


def _blocks(report: Report) -> Iterator[str]:
    yield f"### {_SIGNS[report.verdict]} {findings.VERDICTS[report.verdict]}\n\n{prose(findings.headline(report))}"
    yield bullets([clipped(each, 400) for each in report.reasons], _REASONS)
    yield _failure(report)
    yield _revisions(report)
    yield from _noticed(report)
    yield _advice(report)
    if report.shared_transaction:
        yield "⚠️ One transaction ran several revisions: every lock is held until its end."
    yield _drift(report)
    yield from _old_tests(report)
    if report.warnings:
        yield f"**Warnings**\n\n{bullets([clipped(each, 400) for each in report.warnings], _REASONS)}"
    yield _fine_print(report)
    for number, revision in enumerate(report.revisions, 1):
        yield details(number, revision)


def _failure(report: Report) -> str:
    failure = report.failure
    if failure is None:
        return ""
    about = "" if failure.revision is None else f" in {code(failure.revision)}"
    parts = [f"**What failed**{about}"]
    if error := findings.error(report):
        parts.append(fenced(clipped(error, 2_000)))
    if failure.statement is not None:
        parts.append(fenced(clipped(failure.statement, 2_000), "sql"))
    if failure.done:
        parts.append(f"Committed before: {', '.join(code(each) for each in failure.done[:_REVISIONS])}.")
    return "\n\n".join(parts) if len(parts) > 1 or about else ""


def _revisions(report: Report) -> str:
    if not report.revisions:
        return ""
    head = ("", "Revision", "Took", "Readers wait", "Writers wait", "Rewritten", "Rows lost", "Undo")
    rows = [_row(number, each) for number, each in enumerate(report.revisions[:_REVISIONS], 1)]
    more = len(report.revisions) - len(rows)
    return table(head, rows) + (f"\n\n…and {count(more, 'revision')} more." if more else "")


def _row(number: int, revision: Revision) -> tuple[str, ...]:
    lost = sum(each.lost for each in revision.rows)
    rewritten = sum(each.before for each in revision.rewrites if not each.truncated)
    read = max((each.longest_read for each in revision.blocking), default=0)
    write = max((each.longest_write for each in revision.blocking), default=0)
    name = f"{code(findings.name(revision), is_cell=True)} {cell(clipped(findings.title(revision), 120))}"
    return (
        str(number),
        f"{name} **failed**" if revision.failed else name,
        duration(revision.span.length),
        duration(read) if read else "",
        duration(write) if write else "",
        size(rewritten) if rewritten else "",
        f"{lost:,}" if lost else "",
        undone(revision.undo),
    )


def undone(undo: Undo) -> str:
    """Whether a revision can be undone, in a word or two."""
    words = {"same": "yes", "differs": "differs", "missing": "none", "failed": "fails", "not tried": "not tried"}
    return f"{words[undo.state]}, loses data" if undo.lost else words[undo.state]


def _noticed(report: Report) -> Iterator[str]:
    for number, revision in enumerate(report.revisions[:_REVISIONS], 1):
        seen = [each for each in findings.findings(revision, report.limits) if each.severity != "note"]
        lines = [f"- {_MARKS[each.severity]} {prose(clipped(each.text, 400))}" for each in seen[:_REASONS]]
        if len(seen) > _REASONS:
            lines.append(f"- …and {len(seen) - _REASONS} more.")
        if lines:
            yield f"**{number}.** {code(findings.name(revision))}\n\n" + "\n".join(lines)


def _advice(report: Report) -> str:
    lines = []
    for each in report.advice[:_REASONS]:
        about = "" if each.revision is None else f"{code(each.revision)}: "
        seen, remedy = prose(clipped(each.seen, 400)), prose(clipped(each.remedy, 400))
        lines.append(f"- {_MARKS[each.severity]} {about}**{seen}** {remedy} {web(each.source)}")
    return "**What would avoid it**\n\n" + "\n".join(lines) if lines else ""


def _drift(report: Report) -> str:
    said = findings.drift(report)
    if not report.differences:
        return said and f"✅ {said}"
    differences = [clipped(findings.only(each), 400) for each in report.differences]
    return f"⛔ **{said}**\n\n{bullets(differences, _REASONS)}"


def _old_tests(report: Report) -> Iterator[str]:
    if report.old_tests is None:
        return
    said = findings.old_code(report.old_tests)
    if not report.old_tests.status:
        yield f"✅ {said}"
        return
    yield f"⛔ **{said}**"
    yield folded(f"The end of {report.old_tests.command}", fenced(clean(report.old_tests.output)[-4_000:]))


def _fine_print(report: Report) -> str:
    lines = [findings.limits(report), findings.outcome(report)]
    shown = [clipped(each, 400) for each in report.not_shown]
    cannot = f"\n\nWhat this cannot show:\n\n{bullets(shown, _REASONS)}" if shown else ""
    return folded("Limits, and what this cannot show", bullets(lines, len(lines)) + cannot)
