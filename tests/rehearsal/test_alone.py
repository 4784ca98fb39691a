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


LOCK = "LOCK TABLE note; SELECT pg_sleep(0.3)"


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


@postgres_only
@pytest.mark.parametrize("cursor", ["op.get_bind().connection.cursor()", "raw.cursor()"])
def test_locks_are_seen_whoever_takes_them_by_the_drivers_cursor(history: History, cursor: str) -> None:
    """SQLAlchemy tells of no statement there; a connection of the migration's own is told."""
    history.add(
        "raw = current_app.extensions['migrate'].db.engine.raw_connection()\n"
        f"{cursor}.execute({LOCK!r})\nraw.rollback(); raw.close()"
    )

    report = history.rehearse()

    (revision,) = report.revisions
    (lock,) = revision.locks
    assert (lock.object, lock.mode) == ("public.note", "ACCESS EXCLUSIVE")
    assert revision.span.began <= lock.spans[0].began
    assert lock.longest > 200
    assert [each.startswith("r1 opened a connection of its own") for each in report.warnings] == [True]
    assert not any("other sessions" in each for each in report.not_shown)


@postgres_only
@pytest.mark.parametrize(("code", "told"), [(IN_A_PROCESS, True), ("op.execute('SELECT 1')", False)])
def test_what_other_programs_do_is_said_not_to_be_seen(history: History, code: str, *, told: bool) -> None:
    """But for what has come of it: the rows that are gone."""
    history.add(code)

    report = history.rehearse()

    said = "What other sessions have locked while r1 ran"
    assert [each.partition(":")[0] for each in report.not_shown if "other sessions" in each] == [said] * told


@postgres_only
def test_what_looks_after_branches_meanwhile_is_no_connection_of_the_migrations(history: History) -> None:
    """As the thread of a test run does, each quarter of a minute."""
    history.add("current_app.extensions['branches'].databases.default.is_held('mine')")

    report = history.rehearse()

    (revision,) = report.revisions
    assert (report.failure, revision.statements, report.warnings) == (None, (), ())


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
