"""Rehearsals: the pending migrations run on a branch of the real data, watched, and told about."""

from __future__ import annotations

from flask_branches.rehearsal.report import Limits, Report
from flask_branches.rehearsal.staging import rehearse

__all__ = ["Limits", "Report", "rehearse"]
