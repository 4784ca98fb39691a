"""What is said of a revision, and how much it matters."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from tests.rehearsal.shown.reports import dangerous, safe

from flask_branches.rehearsal.observed import Blocking, Index, Rewrite, Rows, Span, Undo, Validation
from flask_branches.rehearsal.report import Difference, Limits, OldTests, Revision
from flask_branches.rehearsal.shown import show
from flask_branches.rehearsal.shown.findings import findings
from flask_branches.rehearsal.shown.html import html
from flask_branches.rehearsal.shown.markdown import markdown

MB = 2**20
SECOND = (Span(0, 1_000),)
LONG = (Span(0, 1_001),)


def _revision(**parts: Any) -> Revision:
    return Revision("a", (), "b", None, Span(0, 1), (1,), **parts)


@pytest.mark.parametrize(
    ("parts", "severity", "text"),
    [
        ({"failed": True}, "danger", "It failed."),
        ({"blocking": (Blocking("t", (), SECOND),)}, "note", "Blocks writes to t for 1.0 s."),
        (
            {"blocking": (Blocking("t", (), LONG),)},
            "danger",
            "Blocks writes to t for 1.0 s, over the limit of 1.0 s.",
        ),
        (
            {"rewrites": (Rewrite("t", "table", "t", truncated=False, before=100 * MB, after=1),)},
            "note",
            "Rewrites t, 100 MB.",
        ),
        (
            {"rewrites": (Rewrite("t", "table", "t", truncated=False, before=100 * MB + 1, after=1),)},
            "danger",
            "Rewrites t, 100 MB, over the limit of 100 MB.",
        ),
        (
            {"rewrites": (Rewrite("t", "table", "t", truncated=True, before=900 * MB, after=0),)},
            "note",
            "Empties t by TRUNCATE, 900 MB.",
        ),
        (
            {"rewrites": (Rewrite("i", "index", "t", truncated=False, before=2 * MB, after=MB),)},
            "note",
            "Rewrites the index i, 2 MB.",
        ),
        (
            {"indexes": (Index("i", "t", unique=False, valid=True, concurrently=True, size=MB),)},
            "note",
            "Builds the index i on t, 1 MB, while others write.",
        ),
        (
            {"indexes": (Index("i", "t", unique=True, valid=False, concurrently=True, size=MB),)},
            "warning",
            "Leaves the unique index i on t invalid.",
        ),
        ({"validations": (Validation("t", "c", 1),)}, "note", "Reads 1 row of t to check c."),
        ({"rows": (Rows("t", 3, 2, exact=True),)}, "danger", "t loses 1 of its 3 rows."),
        ({"rows": (Rows("t", 3, None, exact=False),)}, "danger", "Drops t with 3 rows, by the planner's estimate."),
        ({"rows": (Rows("t", 0, None, exact=True),)}, "note", "Drops t with 0 rows."),
        ({"rows": (Rows("t", None, 2, exact=True),)}, "note", "t is new, with 2 rows."),
        ({"rows": (Rows("t", 1, 3, exact=True),)}, "note", "t gains 2 rows."),
        (
            {"rows": (Rows("t", 1, 1, exact=True, columns_lost=("a", "b")),)},
            "warning",
            "t loses the values of a and b.",
        ),
        ({"undo": Undo("same")}, "note", "Can be undone."),
        ({"undo": Undo("missing")}, "warning", "Has no downgrade."),
        ({"undo": Undo("failed", "no.")}, "warning", "Cannot be undone: no."),
        ({"undo": Undo("same", lost=("a: 1 value",))}, "warning", "Undoing it loses data: a: 1 value."),
    ],
)
def test_what_was_seen_is_a_sentence(parts: dict[str, Any], severity: str, text: str) -> None:
    """As grave as it is: a danger beyond a limit or with rows lost, a warning where somebody has to know."""
    (found,) = findings(_revision(**parts), Limits())
    assert (found.severity, found.text) == (severity, text)


@pytest.mark.parametrize(
    "parts",
    [
        {"validations": (Validation("t", "c", 0),)},
        {"rows": (Rows("t", 3, 3, exact=True),)},
        {"blocking": (Blocking("t", (), ()),)},
        {"undo": Undo("not tried")},
    ],
)
def test_what_nobody_notices_is_not_said(parts: dict[str, Any]) -> None:
    """A constraint that held without a look, rows that stay, a table that nobody waits for."""
    assert findings(_revision(**parts), Limits()) == ()


def test_the_worst_comes_first() -> None:
    """Whatever order it was seen in."""
    severities = [each.severity for each in findings(dangerous().revisions[1], Limits())]
    assert severities == sorted(severities, key=["danger", "warning", "note"].index)


def _text(report: Any) -> str:
    out = io.StringIO()
    show(report, Console(file=out))
    return out.getvalue()


@pytest.mark.parametrize("form", [_text, markdown, html])
def test_tests_that_pass_are_a_sentence(form: Any) -> None:
    """A rolling deployment is safe: nobody needs to read what the tests said."""
    report = replace(safe(), old_tests=OldTests("pytest", 0, 2_000, ""))
    text = form(report).replace("&#39;", "'")
    assert "The previous release's tests pass on the migrated branch, in 2.0 s." in text
    assert "The end of" not in text


def test_many_of_a_kind_are_cut_and_counted() -> None:
    """Where a screen or a comment has no room for fifty of them, the page has."""
    locks = tuple(replace(dangerous().revisions[1].locks[0], object=f"t{number}") for number in range(50))
    differences = tuple(Difference(f"d{number}", "models") for number in range(50))
    revision = replace(
        dangerous().revisions[1], locks=locks, rows=tuple(Rows(f"t{n}", 1, 0, exact=True) for n in range(50))
    )
    report = replace(dangerous(), revisions=(revision,), differences=differences)
    assert "   - And 30 places more.\n" in _text(report)
    assert "…and 38 locks more." in markdown(report)
    assert "- …and 30 more." in markdown(report)
    assert all(f"d{number}" in html(report) for number in range(50))


def test_a_revision_without_anything_has_no_details() -> None:
    """Nothing folded that would open on nothing."""
    report = replace(safe(), revisions=(_revision(),))
    assert "<details><summary>1." not in markdown(report)
    assert "<details" not in html(report)
