"""The report on a terminal, and where none is."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from tests.rehearsal.shown.reports import HOSTILE, REPORTS, dangerous, failed, safe

from flask_branches.rehearsal.report import Failure
from flask_branches.rehearsal.shown import show
from flask_branches.rehearsal.shown.html import html
from flask_branches.rehearsal.shown.markdown import markdown
from flask_branches.rehearsal.shown.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_branches.rehearsal.report import Report


def _shown(report: Report, *, width: int | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=width is not None, width=width or 80, color_system="standard")
    show(report, console)
    return out.getvalue()


@pytest.mark.parametrize("name", REPORTS)
def test_the_verdict_comes_first(name: str) -> None:
    """Whoever reads one line knows whether it may be deployed."""
    verdict = {"safe": "Safe to deploy", "unsafe": "Not safe to deploy", "failed": "Could not be rehearsed"}
    assert _shown(REPORTS[name]).split("\n")[0] == verdict[REPORTS[name].verdict]


def test_a_safe_revision_is_two_lines() -> None:
    """What nobody notices takes no room."""
    text = _shown(safe())
    assert (
        "\n\n1. 2b3c4d5e6f70, stars of a note: 9 ms\n"
        "   - Blocks reads and writes of public.note for 6 ms. Can be undone.\n\n"
    ) in text
    assert "The models and the migrated schema agree." in text


@pytest.mark.parametrize(
    "line",
    [
        "  !! public.log loses 29,000 rows.",
        "2. 3c4d5e6f7081, notes have a price, and their tags are unique: 16 s",
        "  !! Blocks reads of public.note for 12 s and writes for 16 s, over the limit of 1.0 s.",
        "  !! Rewrites public.note and 1 index of it, 436 MB, over the limit of 100 MB.",
        "   ! public.note loses the values of price_text.",
        "   ! After a downgrade and an upgrade the schema is not the same: a default is missing.",
        "   ! Undoing it loses data: public.note.price: 1,000,000 values.",
        "   - 12 s: ALTER TABLE note ALTER COLUMN price TYPE NUMERIC(12, 2)",
        "  !! Drops public.draft with 1,200 rows.",
        "  !! public.log loses 29,000 of its 90,000 rows, by the planner's estimate.",
        "   ! Has no downgrade.",
        (
            "   - 6.9 s (3,000 times, the longest 41 ms): "
            "UPDATE note SET stars = %(stars)s WHERE id BETWEEN %(low)s AND %(high)s"
        ),
        "The models and the migrated schema differ in 2 places.",
        "  !! Only in the models: public.note.stars is NOT NULL",
        "The previous release's tests fail on the migrated branch: status 1, after 48 s.",
        "      E   UndefinedColumn: price_text",
        "  !! 3c4d5e6f7081: ALTER COLUMN price TYPE rewrote public.note while nobody could read it.",
        "      https://www.postgresql.org/docs/current/sql-createindex.html",
        "   ! The revision 4d5e6f708192 has no downgrade.",
        "   - What cold caches cost: the branch may have warmer ones, or colder.",
        (
            "Nobody may wait for longer than 1.0 s, and no table larger than 100 MB may be rewritten."
            " The branch rehearsal-3f9a is gone; main was not touched."
        ),
    ],
)
def test_whatever_matters_is_said(line: str) -> None:
    """Each danger, its remedy and source, the limits, and what cannot be shown are a line each."""
    assert line in _shown(dangerous()).split("\n")


def test_a_failure_says_what_was_done() -> None:
    """The statement, the error, what was committed before, and that the branch is kept."""
    text = _shown(failed())
    assert (
        "What failed: 3c4d5e6f7081\n"
        "      CREATE UNIQUE INDEX ix_note_slug ON note (slug)\n"
        '      UniqueViolation: could not create unique index "ix_note_slug"\n'
        "      Committed before: 2b3c4d5e6f70.\n"
    ) in text
    assert "The branch rehearsal-3f9a is kept; main was not touched." in text


@pytest.mark.parametrize("form", [_shown, markdown, html])
def test_an_error_that_is_the_reason_is_said_once(form: Callable[[Report], str]) -> None:
    """Nobody reads the same sentence twice, unless it has lines that a list would lose."""
    report = REPORTS["never_begun"]
    assert form(report).count("disappeared") == 1
    lines = replace(report, reasons=("a\ndisappeared",), failure=Failure("a\ndisappeared"))
    assert form(lines).count("disappeared") == 2


def test_a_shared_transaction_is_said() -> None:
    """A short statement's lock that is held for a minute is explained."""
    assert "One transaction ran several revisions: every lock is held until its end." in _shown(REPORTS["shared"])
    assert "One transaction" not in _shown(safe())


def test_many_quiet_revisions_are_a_line_each() -> None:
    """Twenty-five revisions that nobody notices are no wall."""
    text = _shown(REPORTS["crowded"])
    assert len(text.split("\n")) < 45
    assert "25. 000000000018 (archive), step 24: 6 ms\n" in text


@pytest.mark.parametrize("width", [40, 100])
def test_a_terminal_gets_lines_that_fit_it(width: int) -> None:
    """Nothing is wider than the terminal, and the verdict has a colour."""
    text = _shown(dangerous(), width=width)
    assert text.startswith("\x1b[1;31mNot safe to deploy\x1b[0m\n")
    assert max(len(clean(line)) for line in text.split("\n")) <= width


def test_a_text_of_others_reaches_no_terminal_as_a_command() -> None:
    """Neither an escape sequence nor rich's own markup of a name is obeyed."""
    plain = _shown(REPORTS["hostile"])
    assert "\x1b" not in plain
    assert "\u202e" not in plain
    assert clean(HOSTILE) in plain
    assert "[x](javascript:alert(1))" in plain
    coloured = _shown(REPORTS["hostile"], width=400)
    assert "\x1b[31m\\u202e" not in coloured
