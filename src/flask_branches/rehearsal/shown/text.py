"""A report for the terminal: the verdict, then what matters; plain lines where nobody watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_branches.rehearsal.shown import findings
from flask_branches.rehearsal.shown.words import clean, clipped, duration, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from flask_branches.rehearsal.report import Failure, OldTests, Report, Revision, Severity

_MARKS: dict[Severity, str] = {"danger": "!!", "warning": "!", "note": "-"}
_STYLES: dict[Severity, str] = {"danger": "bold red", "warning": "yellow", "note": ""}
_VERDICTS = {"safe": "bold green", "unsafe": "bold red", "failed": "bold magenta"}
_NOTES = 3
_MANY = 10
"""From how many revisions on those that nobody notices get one line alone."""


def show(report: Report, console: Console) -> None:
    """Print a report; without a terminal, without colours and with each sentence on one line.

    Args:
        report: what was found.
        console: where it goes.
    """
    out = _Output(console)
    out.line(findings.VERDICTS[report.verdict], _VERDICTS[report.verdict])
    out.line(findings.headline(report))
    out.items("!!", report.reasons, "red")
    if report.failure is not None:
        _show_failure(report.failure, findings.error(report), out)
    for number, revision in enumerate(report.revisions, 1):
        _show_revision(number, revision, report, out)
    if report.shared_transaction:
        out.section("Transactions")
        out.items("!", ["One transaction ran several revisions: every lock is held until its end."])
    _show_schema(report, out)
    if report.old_tests is not None:
        _show_old_tests(report.old_tests, out)
    _show_advice(report, out)
    _show_rest(report, out)


class _Output:
    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str, style: str = "", indent: int = 0) -> None:
        self.item("", text, style, indent)

    def items(self, mark: str, texts: Iterable[str], style: str = "") -> None:
        for text in texts:
            self.item(mark, text, style)

    def gap(self) -> None:
        self._console.print()

    def section(self, title: str) -> None:
        self.gap()
        self.line(title, "bold")

    def item(self, mark: str, text: str, style: str = "", indent: int = 0) -> None:
        from rich.table import Table
        from rich.text import Text

        start = f"{'':{indent}}{mark:>4} " if mark or indent else ""
        shown = clean(text).replace("\n", " ")
        if not self._console.is_terminal:
            self._console.print(Text(start + shown), soft_wrap=True)
            return
        if not start:
            self._console.print(Text(shown, style))
            return
        grid = Table.grid()
        grid.add_column(width=len(start), no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(start, style), Text(shown, style))
        self._console.print(grid)


def _show_failure(failure: Failure, error: str, out: _Output) -> None:
    if failure.statement is not None or error or failure.done:
        out.section("What failed" if failure.revision is None else f"What failed: {failure.revision}")
    if failure.statement is not None:
        out.line(clipped(one_line(failure.statement), 600), indent=1)
    if error:
        out.line(error, "red", indent=1)
    if failure.done:
        out.line(f"Committed before: {', '.join(failure.done)}.", indent=1)


def _show_revision(number: int, revision: Revision, report: Report, out: _Output) -> None:
    seen = findings.findings(revision, report.limits)
    notes = [each.text for each in seen if each.severity == "note"]
    noticed = [each for each in seen if each.severity != "note"]
    brief = len(report.revisions) >= _MANY and not noticed
    if number == 1 or not brief:
        out.gap()
    out.line(
        f"{number}. {findings.name(revision)}, {findings.title(revision)}: {duration(revision.span.length)}", "bold"
    )
    for each in noticed:
        out.item(_MARKS[each.severity], each.text, _STYLES[each.severity])
    if not brief:
        out.items("-", _in_short(notes))
        out.items("-", _slowest(revision, report.limits.max_lock))


def _in_short(notes: list[str]) -> list[str]:
    shown = notes if len(notes) <= _NOTES + 1 else [*notes[:_NOTES], f"And {len(notes) - _NOTES} things more."]
    return [" ".join(shown)] if shown else []


def _slowest(revision: Revision, noticed: float) -> list[str]:
    slow = max(revision.statements, key=lambda each: each.took, default=None)
    if slow is None or slow.took <= noticed:
        return []
    repeats = findings.repeats(slow)
    times = f" ({repeats})" if repeats else ""
    return [f"{duration(slow.took)}{times}: {clipped(one_line(slow.text), 200)}"]


def _show_schema(report: Report, out: _Output) -> None:
    if not (said := findings.drift(report)):
        return
    out.section(said)
    differences = report.differences or ()
    out.items("!!", (findings.only(each) for each in differences[:20]), "red")
    if len(differences) > 20:  # noqa: PLR2004 -- a screen's worth
        out.items("-", [f"And {len(differences) - 20} places more."])


def _show_old_tests(tests: OldTests, out: _Output) -> None:
    out.section(findings.old_code(tests))
    if tests.status:
        for line in clean(tests.output).rstrip().split("\n")[-12:]:
            out.line(line, indent=1)


def _show_advice(report: Report, out: _Output) -> None:
    if report.advice:
        out.section("What would avoid it")
    for each in report.advice:
        about = "" if each.revision is None else f"{each.revision}: "
        out.item(_MARKS[each.severity], f"{about}{each.seen}", _STYLES[each.severity])
        out.item("", each.remedy, indent=1)
        out.item("", each.source, "dim", indent=1)


def _show_rest(report: Report, out: _Output) -> None:
    if report.warnings:
        out.section("Warnings")
        out.items("!", report.warnings, _STYLES["warning"])
    if report.not_shown:
        out.section("What this cannot show")
        out.items("-", report.not_shown)
    out.gap()
    out.line(f"{findings.limits(report)} {findings.outcome(report)}")
