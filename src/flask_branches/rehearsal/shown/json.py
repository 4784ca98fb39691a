"""A report for programs: JSON, and the schema that it follows."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask_branches.rehearsal.report import Report


def json(report: Report) -> str:
    """A report as JSON, one document; :func:`schema` describes it."""
    return encoder.dumps(report.as_dict(), indent=2) + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report."""
    found: dict[str, Any] = encoder.loads(Path(__file__).with_name("report.schema.json").read_text("utf-8"))
    return found
