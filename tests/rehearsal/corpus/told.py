"""What a report tells of its one revision, in the words of the corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.rehearsal.corpus.case import MODES
from tests.rehearsal.corpus.effects import TOAST

if TYPE_CHECKING:
    from tests.rehearsal.corpus.case import Truth

    from flask_branches.rehearsal import Report
    from flask_branches.rehearsal.report import Revision

_UNTOLD = {TOAST}
"""Nobody comes to it but by its table, which is locked as well."""
_ALEMBICS = "public.alembic_version"


def told(report: Report, truth: Truth) -> dict[str, Any]:
    """All that the corpus knows of; Alembic's own table aside."""
    (revision,) = report.revisions
    return {
        "locks": truth.sure(_locks(revision)),
        "reads": {each.table for each in revision.blocking if each.reads},
        "writes": {each.table for each in revision.blocking if each.writes},
        "rewrites": {each.object: each.truncated for each in revision.rewrites},
        "builds": {each.name: each.concurrently for each in revision.indexes if each.valid},
        "validates": {each.table for each in revision.validations if each.rows},
        "rows": {each.table: (each.before, each.after) for each in revision.rows if each.before != each.after},
    }


def expected(truth: Truth, rows: int) -> dict[str, Any]:
    """The same by the corpus, where the big table has that many rows."""
    return {
        "locks": {name: mode for name, mode in truth.locks.items() if name not in _UNTOLD},
        "reads": truth.reads,
        "writes": truth.writes,
        "rewrites": dict.fromkeys(truth.rewrites, truth.truncates),
        "builds": truth.builds,
        "validates": {table for table, read in truth.validates.items() if read},
        "rows": truth.counted(rows),
    }


def _locks(revision: Revision) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in revision.locks:
        if each.existed and each.table != _ALEMBICS:
            found[each.object] = max(found.get(each.object, MODES[0]), each.mode, key=MODES.index)
    return found
