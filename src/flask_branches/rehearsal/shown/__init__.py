"""A report as people and pipelines read it: text, Markdown, JSON, and a page."""

from __future__ import annotations

from flask_branches.rehearsal.shown.files import require_format, write
from flask_branches.rehearsal.shown.text import show

__all__ = ["require_format", "show", "write"]
