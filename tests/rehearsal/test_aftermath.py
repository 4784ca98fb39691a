"""What comes after the migrations, as a whole rehearsal has it: the way back and forth, and the models."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE

from flask_branches.rehearsal import limiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.histories import History

ADD = "op.execute('ALTER TABLE note ADD COLUMN stars INT')"
DROP = "op.execute('ALTER TABLE note DROP COLUMN stars')"
TABLE = "note" if SQLITE else "public.note"


def test_each_revision_is_undone_and_done_again(history: History) -> None:
    """What does not come back is named; a missing downgrade keeps nobody from deploying."""
    history.add(
        "op.execute('ALTER TABLE note ADD COLUMN stars INT')", "op.execute('ALTER TABLE note DROP COLUMN stars')"
    )
    history.add("op.execute('UPDATE note SET stars = 5')", "pass")

    report = history.rehearse(undo=True)

    first, second = (each.undo for each in report.revisions)
    assert (first.state, second.state) == ("same", "same")
    assert report.verdict == "safe"


def test_what_a_downgrade_does_not_bring_back_is_named(history: History) -> None:
    """A column comes back without its values."""
    history.add(
        "op.execute('ALTER TABLE note ADD COLUMN stars INT'); op.execute('UPDATE note SET stars = 5')",
        "op.execute('ALTER TABLE note DROP COLUMN stars')",
    )
    history.add("op.execute('DELETE FROM note')", "pass")

    report = history.rehearse(undo=True)

    assert report.revisions[1].undo.lost == (f"{TABLE}: 2 rows",)


def test_a_missing_downgrade_is_a_warning(history: History) -> None:
    """The verdict does not depend on it."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')", "raise NotImplementedError('no way back')")

    report = history.rehearse(undo=True)

    undo = report.revisions[0].undo
    assert (undo.state, undo.detail) == ("missing", "NotImplementedError: no way back")
    assert report.verdict == "safe"


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("ALTER TABLE note RENAME TO memo", []),
        ("ALTER TABLE note RENAME TO memo; DELETE FROM memo WHERE id = 1", [(TABLE, 2, 1)]),
        (
            "DROP TABLE note; CREATE TABLE memo (id INT); INSERT INTO memo VALUES (1), (2)",
            [(TABLE, 2, None), (TABLE.replace("note", "memo"), None, 2)],
        ),
    ],
)
def test_a_table_with_a_new_name_has_its_rows(
    history: History, statement: str, rows: list[tuple[str, int | None, int | None]]
) -> None:
    """On SQLite too, where a table is known by its name; another one that has its place in the file has not."""
    history.add("\n".join(f"op.execute('{each}')" for each in statement.split("; ")))

    (revision,) = history.rehearse().revisions

    assert sorted((each.table, each.before, each.after) for each in revision.rows) == sorted(rows)


@pytest.mark.skipif(SQLITE, reason="a shared transaction needs DDL that is part of one")
def test_revisions_of_one_transaction_are_undone_one_by_one(make_history: Callable[..., History]) -> None:
    """The session itself has seen each schema in between."""
    history = make_history(per_migration=False)
    history.add(
        "op.execute('ALTER TABLE note ADD COLUMN stars INT')", "op.execute('ALTER TABLE note DROP COLUMN stars')"
    )
    history.add("op.execute('ALTER TABLE note ADD COLUMN more INT')", "pass")

    report = history.rehearse(undo=True)

    assert [each.undo.state for each in report.revisions] == ["not tried", "differs"]
    assert "its downgrade changes nothing" in report.revisions[1].undo.detail


@pytest.mark.skipif(SQLITE, reason="enums are Postgres'")
@pytest.mark.parametrize("per_migration", [True, False])
def test_the_value_of_an_enum_that_is_renamed_is_no_loss_of_another_revision(
    make_history: Callable[..., History], *, per_migration: bool
) -> None:
    """Rows have another text without being written to; the next revision finds them so."""
    history = make_history(per_migration=per_migration)
    history.run("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE day (id int, mood mood)")
    history.run("INSERT INTO day VALUES (1, 'sad'), (2, 'happy')")
    rename = "op.execute(\"ALTER TYPE mood RENAME VALUE '{}' TO '{}'\")"
    history.add(rename.format("sad", "blue"), rename.format("blue", "sad"))
    history.add(ADD.replace("note", "day"), DROP.replace("note", "day"))
    history.add(rename.format("happy", "glad"), "pass")

    report = history.rehearse(undo=True)
    assert [each.undo.state for each in report.revisions] == ["not tried", "not tried", "differs"]
    assert report.revisions[2].undo.lost == ("public.day.mood: values have changed",)

    report = history.rehearse(undo=True, to="r2")
    assert [(each.undo.state, each.undo.lost) for each in report.revisions] == [("same", ()), ("same", ())]


@pytest.mark.parametrize("behind", [None, "second"])
def test_databases_at_different_revisions_are_undone_each_to_its_own(
    make_history: Callable[..., History], behind: str | None
) -> None:
    """One is further behind than the other; what was not pending in it is not undone there."""
    history = make_history(binds=True)
    table = "op.get_context().opts['table']"
    history.add(f"op.add_column({table}, sa.Column('stars', sa.Integer))", f"op.drop_column({table}, 'stars')")
    history.add(f"op.add_column({table}, sa.Column('more', sa.Integer))", f"op.drop_column({table}, 'more')")
    ahead, itself = ("second", "tag") if behind is None else (None, "note")
    for name in ("stars", "more"):
        history.run(f"ALTER TABLE {itself} ADD COLUMN {name} INTEGER DEFAULT 5", ahead)
    history.run("UPDATE alembic_version SET version_num = 'r2'", ahead)

    report = history.rehearse(undo=True, keep=True)

    assert [(each.id, each.database, each.undo.state) for each in report.revisions] == [
        ("r1", behind, "same"),
        ("r2", behind, "same"),
    ]
    assert report.warnings == ()
    assert set(report.target) == {"r2"}
    assert set(report.current) == {"first", "r2"}


def test_what_is_pending_in_one_database_more_than_in_another(make_history: Callable[..., History]) -> None:
    """Each has its own moments, whichever is first."""
    history = make_history(binds=True)
    table = "op.get_context().opts['table']"
    history.add(f"op.add_column({table}, sa.Column('stars', sa.Integer))", f"op.drop_column({table}, 'stars')")
    history.run("ALTER TABLE note ADD COLUMN stars INTEGER")
    history.run("UPDATE alembic_version SET version_num = 'r1'")
    history.add(f"op.add_column({table}, sa.Column('more', sa.Integer))", f"op.drop_column({table}, 'more')")

    report = history.rehearse(undo=True)

    assert [(each.id, each.database, each.undo.state, each.undo.diff) for each in report.revisions] == [
        ("r2", None, "same", ""),
        ("r1", "second", "same", ""),
        ("r2", "second", "same", ""),
    ]


def test_a_kept_branch_is_at_its_target(history: History) -> None:
    """Having been undone and done again; where that fails, it is said where it is."""
    history.add(
        "op.execute('ALTER TABLE note ADD COLUMN stars INT')", "op.execute('ALTER TABLE note DROP COLUMN stars')"
    )
    assert history.rehearse(undo=True, keep=True).warnings == ()

    history.add("op.execute('ALTER TABLE note ADD COLUMN more INT')", "pass")
    report = history.rehearse(undo=True, keep=True)

    assert [each for each in report.warnings if "is at r1" in each]


def test_models_and_schema_are_compared(history: History) -> None:
    """What one of them has alone is a reason not to deploy; without drift there is none."""
    assert history.rehearse(drift=True).differences == ()

    history.add(ADD)
    report = history.rehearse(drift=True)

    (difference,) = report.differences or ()
    assert difference.where == "database"
    assert "stars" in difference.text
    assert (report.verdict, len(report.reasons)) == ("unsafe", 1)


def test_a_part_of_what_is_pending_is_not_compared(history: History) -> None:
    """The models are those of the newest revision; that they were not compared is said."""
    history.add(ADD)
    history.add(DROP)

    report = history.rehearse(drift=True, to="r1")

    assert (report.verdict, report.differences) == ("safe", None)
    assert any("The models were not compared" in each for each in report.not_shown)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a clock is to be ahead."""
    ahead: list[float] = []
    monkeypatch.setattr(limiting, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + sum(ahead)))
    return ahead


@pytest.mark.parametrize(
    "update",
    [
        "with op.get_context().autocommit_block():\n    op.execute('UPDATE note SET text = upper(text)')",
        (
            "db = current_app.extensions['migrate'].db\n"
            "db.session.execute(sa.text('UPDATE note SET text = upper(text)')); db.session.commit()"
        ),
    ],
)
def test_what_was_written_in_no_time_is_missed_as_well(history: History, update: str) -> None:
    """No lock was seen: what a table holds has changed, and the way back leaves it so."""
    history.add(update, "pass")

    undo = history.rehearse(undo=True).revisions[0].undo

    assert undo.detail == "its downgrade changes nothing: what it did to rows stays"
    assert undo.lost == (f"{TABLE}.text: values have changed",)
