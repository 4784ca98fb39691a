"""What is measured between two revisions: without harm to their transaction, and no more than has to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.worlds import SQLITE

from flask_branches.rehearsal import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.histories import History

NOTE = "note" if SQLITE else "public.note"
postgres_only = pytest.mark.skipif(SQLITE, reason="a rule of Postgres'")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables whose rows are really counted, one after the other."""
    found: list[str] = []
    count = rows._count

    def counting(connection: Any, table: Any) -> int:
        found.append(table.name)
        return count(connection, table)

    monkeypatch.setattr(rows, "_count", counting)
    return found


@postgres_only
@pytest.mark.parametrize("per_migration", [True, False])
def test_what_was_not_written_to_is_not_counted_again(
    make_history: Callable[..., History], counted: list[str], *, per_migration: bool
) -> None:
    """A table has as many rows as before; a partitioned one is written to with its partitions."""
    history = make_history(per_migration=per_migration)
    history.run("CREATE TABLE other (id int)")
    history.run("CREATE TABLE visit (id int) PARTITION BY LIST (id)")
    history.run("CREATE TABLE visit_1 PARTITION OF visit FOR VALUES IN (1)")
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add("op.execute('DELETE FROM note WHERE id = 1')")
    history.add("op.execute('INSERT INTO visit VALUES (1)')")

    report = history.rehearse()

    assert counted == ["public.note", "public.other", "public.visit", "public.note", "public.visit"]
    assert [(each.table, each.before, each.after) for revision in report.revisions for each in revision.rows] == [
        ("public.note", 2, 1),
        ("public.visit", 0, 1),
    ]


@postgres_only
@pytest.mark.parametrize("per_migration", [True, False])
def test_rows_that_are_lost_of_what_is_too_large_are_told(
    make_history: Callable[..., History], monkeypatch: pytest.MonkeyPatch, *, per_migration: bool
) -> None:
    """By what was deleted: the file that an estimate goes by keeps its size, and grows by an UPDATE."""
    history = make_history(per_migration=per_migration)
    history.run("INSERT INTO note SELECT i, 'x' FROM generate_series(10, 10007) i")
    history.run("ANALYZE note")
    history.add("op.execute('DELETE FROM note WHERE id > 1007')")
    history.add("op.execute(\"UPDATE note SET text = 'y'\")")
    history.add("op.execute('TRUNCATE note')")
    monkeypatch.setattr(rows, "_within", lambda *_: set())

    report = history.rehearse()

    assert [[(each.before, each.after, each.exact) for each in revision.rows] for revision in report.revisions] == [
        [(10_000, 1_000, False)],
        [],
        [(1_000, 0, False)],
    ]
    assert report.reasons[0] == "r1 loses about 9,000 rows of public.note (of 10,000)"


@postgres_only
def test_a_partition_that_is_detached_is_counted(history: History) -> None:
    """It is a table of its own from then on, which nobody has written to."""
    history.run("CREATE TABLE visit (id int) PARTITION BY LIST (id)")
    history.run("CREATE TABLE visit_1 PARTITION OF visit FOR VALUES IN (1)")
    history.run("INSERT INTO visit VALUES (1)")
    history.add("op.execute('ALTER TABLE visit DETACH PARTITION visit_1')")
    history.add("op.execute('DROP TABLE visit_1')")

    report = history.rehearse()

    assert report.warnings == ()
    assert [(each.table, each.before, each.after) for revision in report.revisions for each in revision.rows] == [
        ("public.visit", 1, 0),
        ("public.visit_1", 1, None),
    ]


@pytest.mark.parametrize(
    "code",
    [
        "with op.get_context().autocommit_block():\n    op.execute('DELETE FROM note WHERE id = 1')",
        "op.execute('DELETE FROM note WHERE id = 1'); op.get_bind().commit(); op.execute('SELECT 1')",
        "cursor = op.get_bind().connection.cursor(); cursor.execute('DELETE FROM note WHERE id = 1')",
        (
            "db = current_app.extensions['migrate'].db\n"
            "db.session.execute(sa.text('DELETE FROM note WHERE id = 1')); db.session.commit()"
        ),
    ],
)
def test_rows_are_counted_however_they_were_written(history: History, code: str) -> None:
    """By a block in autocommit, past SQLAlchemy, or by a session of the migration's own: in no time at all."""
    history.add("pass")
    history.add(code)

    report = history.rehearse()

    assert [(each.table, each.before, each.after) for each in report.revisions[1].rows] == [(NOTE, 2, 1)]


@postgres_only
def test_a_migrations_limits_are_not_for_what_is_measured(make_history: Callable[..., History]) -> None:
    """Nor for what comes after that in its transaction: they are as it has set them."""
    history = make_history(per_migration=False)
    history.run("INSERT INTO note SELECT i, 'x' FROM generate_series(10, 300000) i")
    history.add(
        "op.execute(\"SET LOCAL statement_timeout = '15ms'\"); op.execute('DELETE FROM note WHERE id = 1')",
    )
    history.add("assert op.get_bind().exec_driver_sql('SHOW statement_timeout').scalar() == '15ms'")

    report = history.rehearse()

    assert report.failure is None
    assert [(each.before, each.after) for each in report.revisions[0].rows] == [(299_993, 299_992)]


@postgres_only
def test_a_migrations_settings_are_not_for_what_is_compared(make_history: Callable[..., History]) -> None:
    """How it wants values and names to be written is no change of them."""
    history = make_history(per_migration=False)
    env = (history.folder / "env.py").read_text()
    (history.folder / "env.py").write_text(env.replace("configure(", "configure(version_table_schema='meta', "))
    history.run("CREATE SCHEMA meta; ALTER TABLE alembic_version SET SCHEMA meta")
    history.run("CREATE TABLE visit (id int REFERENCES note, at timestamptz, was interval, of regclass)")
    history.run("INSERT INTO visit VALUES (1, now(), '1 day', 'note')")
    history.add(
        "op.execute(\"SELECT set_config('search_path', '', false)\")\n"
        "op.execute(\"SET TimeZone = 'Asia/Tokyo'; SET IntervalStyle = 'iso_8601'\")\n"
        "op.execute('UPDATE public.visit SET id = 2')",
        "op.execute('UPDATE public.visit SET id = 1')",
    )
    history.add(
        "op.execute('ALTER TABLE public.visit ADD more int; UPDATE public.visit SET more = 1')",
        "op.execute('ALTER TABLE public.visit DROP more')",
    )

    report = history.rehearse(undo=True)

    assert report.failure is None
    assert [(each.undo.state, each.undo.lost) for each in report.revisions] == [("same", ()), ("same", ())]


@postgres_only
def test_what_is_counted_is_not_locked_for_the_migration(make_history: Callable[..., History]) -> None:
    """Nor is it shown as such."""
    history = make_history(per_migration=False)
    history.run("CREATE TABLE other (id int)")
    held = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'other'::regclass"
    # Rows that come by another session are looked for everywhere.
    history.add(
        "engine = current_app.extensions['migrate'].db.engine\n"
        'with engine.begin() as own:\n    own.exec_driver_sql("INSERT INTO other VALUES (1)")'
    )
    history.add(f"assert op.get_bind().exec_driver_sql({held!r}).scalar() == 0")

    report = history.rehearse()

    assert report.failure is None
    assert [(each.table, each.after) for each in report.revisions[0].rows] == [("public.other", 1)]
    assert [each for revision in report.revisions for each in revision.locks if each.object == "public.note"] == []


@postgres_only
@pytest.mark.parametrize("per_migration", [True, False])
def test_a_count_that_is_refused_is_given_up(
    make_history: Callable[..., History], monkeypatch: pytest.MonkeyPatch, *, per_migration: bool
) -> None:
    """The migration goes on; what is not told is named."""
    history = make_history(per_migration=per_migration)
    history.run("CREATE TABLE other (id int)")
    history.add("op.execute('DELETE FROM note WHERE id = 1'); op.execute('INSERT INTO other VALUES (1)')")
    count = rows._count
    monkeypatch.setattr(
        rows,
        "_count",
        lambda connection, table: (
            connection.exec_driver_sql("SELECT count(*) / count(*) FROM note WHERE id = 1").scalar_one()
            and count(connection, table)
            if table.name == NOTE
            else count(connection, table)
        ),
    )

    report = history.rehearse()

    assert report.failure is None
    assert [(each.table, each.after) for each in report.revisions[0].rows] == [("public.other", 1)]
    assert report.warnings == ("The database refused to count public.note: whether rows were lost there is not told.",)


def test_the_revisions_own_table_may_have_another_name(history: History, counted: list[str]) -> None:
    """It is none of the application's."""
    env = (history.folder / "env.py").read_text()
    (history.folder / "env.py").write_text(env.replace("configure(", "configure(version_table='versions', "))
    history.run("ALTER TABLE alembic_version RENAME TO versions")
    history.add("pass")

    assert history.rehearse(old_tests="true").failure is None
    assert set(counted) == {NOTE}
