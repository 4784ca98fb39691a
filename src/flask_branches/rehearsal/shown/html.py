"""A report as a page: one file that asks for nothing, on a phone, on paper, in the dark."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flask_branches.rehearsal.shown import findings, page, words
from flask_branches.rehearsal.shown.marked import is_web
from flask_branches.rehearsal.shown.timeline import by_wait, timeline

if TYPE_CHECKING:
    from jinja2 import Environment

    from flask_branches.rehearsal.report import Report


def html(report: Report) -> str:
    """A report as an HTML document.

    Args:
        report: what was found.
    """
    return _environment().get_template("report.html.j2").render(report=report, timeline=timeline(report))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_harmless,
    )
    made.filters.update(
        {
            "clipped": words.clipped,
            "count": words.count,
            "duration": words.duration,
            "one_line": words.one_line,
            "per_cent": "{:.3f}%".format,
            "size": words.size,
        }
    )
    made.globals.update(by_wait=by_wait, findings=findings, is_web=is_web, page=page)
    return made


def _harmless(value: object) -> object:
    from markupsafe import Markup

    return words.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
