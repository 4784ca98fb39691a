"""What a migration on Postgres is seen to rewrite, build, read and lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE

from flask_branches.rehearsal import Limits

if TYPE_CHECKING:
    from tests.rehearsal.histories import History

    from flask_branches.rehearsal.report import Report, Revision

pytestmark = pytest.mark.skipif(SQLITE, reason="SQLite tells nothing of its locks")


def _only(report: Report) -> Revision:
    assert report.failure is None, report.failure
    (revision,) = report.revisions
    return revision


@pytest.mark.parametrize(
    ("statement", "rewrites", "truncated"),
    [
        ("ALTER TABLE note ALTER COLUMN id TYPE bigint", ["public.note"], False),
        ("TRUNCATE note", ["public.note"], True),
        ("TRUNCATE note; INSERT INTO note VALUES (7, 'seven')", ["public.note"], True),
        ("REINDEX INDEX note_pkey", ["public.note_pkey"], False),
        ("ALTER TABLE note ALTER COLUMN text TYPE text", [], False),
        ("DELETE FROM note", [], False),
    ],
)
def test_rewrites_are_told_from_truncation(
    history: History, statement: str, rewrites: list[str], *, truncated: bool
) -> None:
    """Both give a table another file; only one copies its rows. An index that goes with its table is not told."""
    history.add(f"op.execute({statement!r})")

    revision = _only(history.rehearse())

    assert [each.object for each in revision.rewrites] == rewrites
    assert all(each.truncated is truncated for each in revision.rewrites)


def test_what_the_drivers_own_cursor_does_is_seen(history: History) -> None:
    """SQLAlchemy tells nothing of it."""
    history.add(
        "cursor = op.get_bind().connection.cursor()\n"
        "cursor.execute('ALTER TABLE note ALTER COLUMN id TYPE bigint; CREATE INDEX words ON note (text)')"
    )

    report = history.rehearse(limits=Limits(max_rewrite=0))

    assert [each.object for each in _only(report).rewrites] == ["public.note"]
    assert "public.words" in [each.name for each in _only(report).indexes]
    assert report.status == 1


def test_an_index_that_could_not_be_built_is_left_invalid(history: History) -> None:
    """A migration may forgive that."""
    history.run("UPDATE note SET text = 'the same'")
    history.add(
        "with op.get_context().autocommit_block():\n"
        "    try:\n        op.execute('CREATE UNIQUE INDEX CONCURRENTLY words ON note (text)')\n"
        "    except sa.exc.IntegrityError:\n        pass"
    )

    report = history.rehearse()

    (index,) = _only(report).indexes
    assert (index.name, index.valid, index.concurrently) == ("public.words", False, True)
    assert [each.seen.partition(":")[0] for each in report.advice if each.severity == "warning"] == [
        "public.words on public.note was left invalid"
    ]


def test_a_constraint_that_was_checked_is_told(history: History) -> None:
    """With the rows that were read for it; where another constraint proves it, nothing is read."""
    history.run("ALTER TABLE note ADD COLUMN stars INT; UPDATE note SET stars = 5; ANALYZE note")
    history.add("op.execute('ALTER TABLE note ADD CONSTRAINT starred CHECK (stars IS NOT NULL) NOT VALID')")
    history.add("op.execute('ALTER TABLE note VALIDATE CONSTRAINT starred')")
    history.add("op.execute('ALTER TABLE note ALTER COLUMN stars SET NOT NULL')")

    report = history.rehearse()

    assert report.failure is None
    found = [[(each.table, each.rows) for each in revision.validations] for revision in report.revisions]
    assert found == [[], [("public.note", 2)], []]
    assert "starred CHECK" in report.revisions[1].validations[0].constraint


def test_rows_that_are_lost_are_counted(history: History) -> None:
    """By table; the verdict says so."""
    history.add("op.execute('DELETE FROM note WHERE id = 1')")
    history.add("op.execute('DROP TABLE note')")

    report = history.rehearse()

    assert [(each.rows[0].table, each.rows[0].before, each.rows[0].after) for each in report.revisions] == [
        ("public.note", 2, 1),
        ("public.note", 1, None),
    ]
    assert report.status == 1
    assert report.reasons == (
        "r1 loses 1 row of public.note (of 2)",
        "r2 loses 1 row of public.note (with the table)",
    )


def test_a_new_name_loses_nothing(history: History) -> None:
    """Neither a table's nor a column's; a column that is dropped is told."""
    history.add("op.execute('ALTER TABLE note RENAME TO message; ALTER TABLE message RENAME COLUMN text TO body')")
    history.add("op.execute('ALTER TABLE message DROP COLUMN body')")

    renamed, dropped = history.rehearse().revisions

    assert renamed.rows == ()
    assert [(each.table, each.columns_lost) for each in dropped.rows] == [("public.message", ("body",))]


COPY = "CREATE TABLE copy AS SELECT id, text FROM thing; DROP TABLE thing; ALTER TABLE copy RENAME TO thing"


def test_a_copy_that_takes_a_tables_name_has_its_rows(history: History) -> None:
    """It is another table to Postgres, with other numbers for its columns; what is missing in it is lost."""
    history.run("CREATE TABLE thing AS SELECT 0 AS old, id, text FROM note; ALTER TABLE thing DROP COLUMN old")
    history.add(f"op.execute('{COPY}')")
    history.add(f"op.execute('{COPY.replace('id, text', 'id')}')")
    history.add(f"op.execute('{COPY.replace('id, text', 'id').replace('; DROP', ' LIMIT 1; DROP')}')")

    kept, fewer_columns, fewer_rows = history.rehearse().revisions

    assert kept.rows == ()
    assert [(each.before, each.after, each.columns_lost) for each in fewer_columns.rows] == [(2, 2, ("text",))]
    assert [(each.before, each.after, each.columns_lost) for each in fewer_rows.rows] == [(2, 1, ())]


def test_a_copy_that_has_a_tables_name_has_its_users(history: History) -> None:
    """From the next revision on: who locks it then keeps them waiting; until then the other table has them."""
    history.run("CREATE TABLE thing AS SELECT id, text FROM note")
    copying = (
        "CREATE TABLE copy (LIKE thing)",
        "LOCK TABLE thing IN SHARE MODE",
        "INSERT INTO copy SELECT * FROM thing",
        "DROP TABLE thing",
        "ALTER TABLE copy RENAME TO thing",
    )
    history.add("\n".join(f"op.execute('{each}')" for each in copying))
    history.add("op.execute('ALTER TABLE thing ALTER COLUMN id TYPE bigint'); op.execute('SELECT pg_sleep(0.1)')")

    report = history.rehearse(limits=Limits(max_lock=90, max_rewrite=0))

    copied, locked = report.revisions
    assert [(each.object, each.mode, each.existed) for each in copied.locks if "writes" in each.blocks] == [
        ("public.thing", "ACCESS EXCLUSIVE", False),
        ("public.thing", "SHARE", True),
        ("public.thing", "ACCESS EXCLUSIVE", True),
    ]
    assert [(each.table, each.longest_read > 90) for each in locked.blocking] == [("public.thing", True)]
    assert [(each.object, each.before > 0) for each in locked.rewrites] == [("public.thing", True)]
    assert report.status == 1


def test_a_new_index_is_in_use_for_the_next_revision(history: History) -> None:
    """Who reads its table waits for it."""
    history.add("op.execute('CREATE INDEX words ON note (text)')")
    history.add("op.execute('REINDEX INDEX words')")

    built, built_again = history.rehearse().revisions

    assert [(each.longest_read > 0, each.longest_write > 0) for each in built.blocking] == [(False, True)]
    assert [(each.longest_read > 0, each.longest_write > 0) for each in built_again.blocking] == [(True, True)]
    assert [each.object for each in built_again.rewrites] == ["public.words"]


def test_the_log_is_told_by_session(history: History) -> None:
    """From version 18 on; what others write meanwhile is not in it."""
    history.add("op.execute('INSERT INTO note SELECT n, repeat($$x$$, 50) FROM generate_series(10, 2000) n')")

    report = history.rehearse()

    wal = _only(report).wal
    assert wal is not None
    assert wal.of_server is (int(report.server.split()[1].partition(".")[0]) < 18)
    assert 100_000 < wal.size < 5_000_000


def test_growth_is_told(history: History) -> None:
    """Of tables and indexes that have changed their size."""
    history.add("op.execute('INSERT INTO note SELECT n, repeat($$x$$, 50) FROM generate_series(10, 2000) n')")

    grown = {each.object: each for each in _only(history.rehearse()).growth}

    assert grown.keys() == {"public.note", "public.note_pkey"}
    assert (grown["public.note"].after or 0) > (grown["public.note"].before or 0) > 0


def test_a_rewrite_that_is_undone_is_told_once(history: History) -> None:
    """It took its time all the same; that it is undone is no other."""
    history.add(
        """
        savepoint = op.get_bind().begin_nested()
        op.execute("ALTER TABLE note ALTER COLUMN id TYPE bigint")
        savepoint.rollback()
        """
    )

    assert len(_only(history.rehearse()).rewrites) == 1


def test_an_index_on_a_partitioned_table_validates_nothing(history: History) -> None:
    """The indexes of partitions are partitions too, of the index."""
    history.run(
        "CREATE TABLE parted (id int) PARTITION BY RANGE (id);"
        " CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (9); INSERT INTO parted VALUES (1)"
    )
    history.add("op.execute('CREATE INDEX ix_parted ON parted (id)')")

    assert _only(history.rehearse()).validations == ()


def test_a_rewrite_is_as_large_as_what_it_has_become(history: History) -> None:
    """What a revision has filled before is copied as well."""
    history.add("op.execute(\"INSERT INTO note SELECT i, 'x' FROM generate_series(10, 20000) i\")")
    history.add("op.execute('ALTER TABLE note ALTER COLUMN id TYPE bigint')")

    report = history.rehearse(limits=Limits(max_lock=60_000, max_rewrite=200_000))

    (rewrite,) = report.revisions[1].rewrites
    assert rewrite.before < 200_000 < rewrite.size == rewrite.after
    assert (report.verdict, len(report.reasons)) == ("unsafe", 1)
