"""Rows that were written by whoever else, of which Postgres tells late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE

from flask_branches.rehearsal.sessions import Sessions, are_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.histories import History

    from flask_branches.rehearsal import Report

NOTE = "note" if SQLITE else "public.note"
postgres_only = pytest.mark.skipif(SQLITE, reason="a rule of Postgres'")
RAW = """
raw = current_app.extensions["migrate"].db.engine.raw_connection()
raw.cursor().execute("DELETE FROM note")
raw.commit()
"""
IN_A_PROCESS = """
import subprocess, sys
delete = (
    "import sqlalchemy, sys; engine = sqlalchemy.create_engine(sys.argv[1], isolation_level='AUTOCOMMIT');"
    "engine.connect().exec_driver_sql('DELETE FROM note')"
)
url = current_app.extensions["migrate"].db.engine.url.render_as_string(hide_password=False)
subprocess.run([sys.executable, "-c", delete, url], check=True)
"""
KEEP = "current_app.extensions['kept'] = raw"


def _lost(report: Report) -> list[tuple[str, str, int | None, int | None]]:
    assert report.failure is None
    return [(each.id, rows.table, rows.before, rows.after) for each in report.revisions for rows in each.rows]


@pytest.mark.parametrize("per_migration", [True, False])
@pytest.mark.parametrize("code", [f"{RAW}raw.close()", f"{RAW}raw.detach(); raw.close()", RAW + KEEP, IN_A_PROCESS])
def test_rows_are_lost_whoever_has_deleted_them(
    make_history: Callable[..., History], code: str, *, per_migration: bool
) -> None:
    """By a connection past SQLAlchemy's, one that stays open, or another program."""
    history = make_history(per_migration=per_migration)
    history.add("pass")
    history.add(code)

    report = history.rehearse()
    if kept := history.world.app.extensions.pop("kept", None):
        kept.invalidate()

    assert _lost(report) == [("r2", NOTE, 2, 0)]
    assert report.status == 1


@postgres_only
def test_rows_are_lost_by_a_connection_that_is_used_again(history: History) -> None:
    """It was there before the revision, and has done something since."""
    history.add(f"raw = current_app.extensions['migrate'].db.engine.raw_connection()\n{KEEP}")
    history.add("raw = current_app.extensions['kept']\nraw.cursor().execute('DELETE FROM note'); raw.commit()")

    report = history.rehearse()
    history.world.app.extensions.pop("kept").invalidate()

    assert _lost(report) == [("r2", NOTE, 2, 0)]
    assert report.status == 1


@pytest.mark.parametrize(
    ("before", "now", "alone"),
    [
        (Sessions({1: 5}, 4), Sessions({1: 6}, 4), True),
        (Sessions({1: 5, 3: 7}, 4), Sessions({1: None, 3: 7}, 4), True),
        (Sessions({}, 4), Sessions({1: 5, 2: 5}, 6), True),
        (Sessions({1: 5}, 4), Sessions({1: 5}, 5), False),
        (Sessions({1: 5}, 4), Sessions({1: 5, 3: 7}, 5), False),
        (Sessions({1: 5, 3: 7}, 4), Sessions({1: 5, 3: 8}, 4), False),
        (Sessions({1: 5, 3: 7}, 4), Sessions({1: 5}, 4), False),
        (Sessions({1: 5, 3: None}, 4), Sessions({1: 5, 3: None}, 4), False),
    ],
)
def test_others_are_noticed(before: Sessions, now: Sessions, *, alone: bool) -> None:
    """Those that have come and gone, are there, have done something, or do it at this moment."""
    assert are_alone({1, 2}, before, now) is alone
