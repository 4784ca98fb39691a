"""What is seen of a migration on Postgres: its statements and transactions, and what they lock, rewrite and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE

from flask_branches.rehearsal import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.histories import History

    from flask_branches.rehearsal.report import Report, Revision

pytestmark = pytest.mark.skipif(SQLITE, reason="SQLite tells nothing of its locks")


def _locks(revision: Revision) -> dict[str, str]:
    return {each.object: each.mode for each in revision.locks if each.existed}


def _only(report: Report) -> Revision:
    assert report.failure is None, report.failure
    (revision,) = report.revisions
    return revision


def test_locks_are_told_with_whom_they_keep_waiting(history: History) -> None:
    """Of what was there before, the table alone; from the statement that takes it to the end of its transaction."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT'); op.execute('SELECT pg_sleep(0.2)')")

    revision = _only(history.rehearse())

    (lock,) = (each for each in revision.locks if each.existed)
    assert (lock.object, lock.kind, lock.table) == ("public.note", "table", "public.note")
    assert (lock.mode, lock.blocks, lock.sampled) == ("ACCESS EXCLUSIVE", "reads and writes", False)
    assert lock.longest >= 200
    (blocking,) = revision.blocking
    assert blocking.longest_read == blocking.longest_write == lock.longest
    assert [each.text for each in revision.statements] == [
        "ALTER TABLE note ADD COLUMN stars INT",
        "SELECT pg_sleep(0.2)",
    ]


def test_a_reader_really_waits_that_long(history: History) -> None:
    """Its lock is asked for when the table is seen blocked, and given when the transaction ends."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT'); op.execute('SELECT pg_sleep(0.3)')")

    (blocking,) = history.rehearse().blocking

    (probe,) = blocking.probes
    assert (probe.table, probe.what) == ("public.note", "reads")
    assert probe.waited == pytest.approx(probe.derived, abs=100)
    assert probe.waited >= 250


def test_what_is_new_keeps_nobody_waiting(history: History) -> None:
    """A table that nobody knows has no readers; the one that its key refers to has, and keeps writers waiting."""
    history.add("op.execute('CREATE TABLE star (note int REFERENCES note)')")

    report = history.rehearse()

    revision = _only(report)
    assert _locks(revision)["public.note"] == "SHARE ROW EXCLUSIVE"
    assert [each.table for each in report.blocking] == ["public.note"]
    assert report.blocking[0].reads == ()


def test_alembics_own_table_is_nobodys_business(history: History) -> None:
    """Neither its locks nor the statements that note down the revision."""
    history.add("op.execute('COMMENT ON TABLE note IS $$x$$')")

    revision = _only(history.rehearse())

    assert "alembic_version" not in repr(revision)


def test_each_revision_has_its_transaction(history: History) -> None:
    """And its locks are let go of before the next."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add("op.execute('SELECT pg_sleep(0.2)')")

    report = history.rehearse()

    assert [each.revisions for each in report.transactions] == [("r1",), ("r2",)]
    assert not report.shared_transaction
    assert report.revisions[1].locks == ()
    assert report.blocking[0].longest_read < 200


def test_a_shared_transaction_piles_locks_up(make_history: Callable[..., History]) -> None:
    """The first revision's lock is held until the last has ended: that is said, with what would avoid it."""
    history = make_history(per_migration=False)
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add("op.execute('SELECT pg_sleep(0.2)')")

    report = history.rehearse()

    assert [each.revisions for each in report.transactions] == [("r1", "r2")]
    assert report.shared_transaction
    assert report.blocking[0].longest_read >= 200
    assert any("transaction_per_migration=True" in each.remedy for each in report.advice)


def test_an_index_built_concurrently_keeps_nobody_waiting(history: History) -> None:
    """In an autocommit block, outside of any transaction."""
    history.add(
        """
        with op.get_context().autocommit_block():
            op.create_index("ix_note", "note", ["text"], postgresql_concurrently=True)
        """
    )

    report = history.rehearse()

    revision = _only(report)
    (index,) = revision.indexes
    assert (index.name, index.table, index.concurrently, index.valid) == ("public.ix_note", "public.note", True, True)
    assert report.blocking == ()
    assert revision.statements[0].transaction is None


def test_an_index_keeps_writers_waiting(history: History) -> None:
    """Readers go on."""
    history.add("op.create_index('ix_note', 'note', ['text'], unique=True); op.execute('SELECT pg_sleep(0.2)')")

    report = history.rehearse()

    (index,) = _only(report).indexes
    assert (index.name, index.unique, index.concurrently) == ("public.ix_note", True, False)
    (blocking,) = report.blocking
    assert (blocking.longest_read, blocking.longest_write >= 200) == (0, True)


def test_several_statements_at_once_are_one(history: History) -> None:
    """So they were sent; what both did is told of it."""
    text = "ALTER TABLE note ALTER COLUMN id TYPE bigint; CREATE INDEX ix_note ON note (text)"
    history.add(f"op.execute({text!r})")

    revision = _only(history.rehearse())

    (statement,) = revision.statements
    assert statement.text == text
    assert {"rewrites public.note", "builds public.ix_note on public.note"} <= set(statement.effects)


def test_repeats_are_folded(history: History) -> None:
    """What differs in numbers and texts alone is one statement, with all its rows and all its time."""
    history.add(
        """
        for number in range(200):
            op.execute(f"UPDATE note SET text = 'number {number}' WHERE id = {1 + number % 2}")
        """
    )

    (statement,) = _only(history.rehearse()).statements

    assert (statement.times, statement.rows) == (200, 200)
    assert statement.text == "UPDATE note SET text = 'number 0' WHERE id = 1"
    assert statement.longest <= statement.took <= statement.ended - statement.began


def test_parameters_are_not_shown(history: History) -> None:
    """They may be people's data."""
    history.add(
        "op.get_bind().execute(sa.text('UPDATE note SET text = :text WHERE id = :id'), {'text': 'secret', 'id': 1})"
    )

    report = history.rehearse()

    assert "secret" not in str(report.as_dict())
    assert "UPDATE note SET text = %(text)s" in _only(report).statements[0].text


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


def test_a_savepoint_that_is_rolled_back_lets_go(history: History) -> None:
    """Of its locks, before the transaction ends."""
    history.add(
        """
        bind = op.get_bind()
        savepoint = bind.begin_nested()
        bind.exec_driver_sql("LOCK TABLE note IN ACCESS EXCLUSIVE MODE")
        savepoint.rollback()
        bind.exec_driver_sql("SELECT pg_sleep(0.3)")
        """
    )

    (blocking,) = history.rehearse().blocking

    assert blocking.longest_read < 200


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


def test_a_transaction_ends_when_it_ends(history: History) -> None:
    """However long it takes until something else happens there."""
    history.add(
        """
        import time
        op.get_bind().exec_driver_sql("UPDATE note SET text = 'x'")
        op.get_bind().exec_driver_sql("COMMIT")
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
        """
    )

    first, *_ = history.rehearse().transactions

    assert first.span.length < 400


def test_a_rewrite_is_as_large_as_what_it_has_become(history: History) -> None:
    """What a revision has filled before is copied as well."""
    history.add("op.execute(\"INSERT INTO note SELECT i, 'x' FROM generate_series(10, 20000) i\")")
    history.add("op.execute('ALTER TABLE note ALTER COLUMN id TYPE bigint')")

    report = history.rehearse(limits=Limits(max_lock=60_000, max_rewrite=200_000))

    (rewrite,) = report.revisions[1].rewrites
    assert rewrite.before < 200_000 < rewrite.size == rewrite.after
    assert (report.verdict, len(report.reasons)) == ("unsafe", 1)
