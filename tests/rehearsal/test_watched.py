"""What is seen of a migration on Postgres: its statements and transactions, and what they lock, rewrite and read."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE

from flask_branches.rehearsal.course import Course
from flask_branches.rehearsal.observing import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.histories import History

    from flask_branches.rehearsal.report import Report, Revision
    from flask_branches.rehearsal.runs import Run

    Until = Callable[[Callable[[], object]], object]

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


_UNTIL_SOMEBODY_WAITS = """
DO $$ BEGIN
    WHILE NOT EXISTS (
        SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.relation = 'note'::regclass AND NOT l.granted
    ) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$
"""


def test_a_reader_really_waits_that_long(history: History, until: Until) -> None:
    """Its lock is asked for when the table is seen blocked, and given when the transaction ends."""
    statements = ("ALTER TABLE note ADD COLUMN stars INT", _UNTIL_SOMEBODY_WAITS, "SELECT pg_sleep(0.3)")
    history.add("\n".join(f"op.execute({each!r})" for each in statements))

    def is_close() -> bool:
        (blocking,) = history.rehearse(timeout="1m").blocking
        (probe,) = blocking.probes
        assert (probe.table, probe.what) == ("public.note", "reads")
        assert min(probe.waited, probe.derived) >= 300
        return abs(probe.waited - probe.derived) < 100

    until(is_close)  # a busy machine may be late once


def test_a_look_that_takes_its_time_gives_no_lock_to_another_revision(
    history: History, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """Asked before a revision begins, and told when that has its lock."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    asked = threading.Event()
    held, begin = Observer._held, Course.begin

    def late(observer: Observer) -> set[tuple[int, str]]:
        if asked.is_set() or threading.current_thread().name != "rehearsal-observer":
            return held(observer)
        asked.set()
        until(lambda: any(mode == "AccessExclusiveLock" for _, mode in held(observer)))
        return held(observer)

    def waiting(course: Course, run: Run) -> None:
        assert asked.wait(60)
        begin(course, run)

    monkeypatch.setattr(Observer, "_held", late)
    monkeypatch.setattr(Course, "begin", waiting)

    assert _locks(_only(history.rehearse()))["public.note"] == "ACCESS EXCLUSIVE"


@pytest.mark.parametrize("lock", ["LOCK TABLE note", "ALTER TABLE note ALTER COLUMN id TYPE bigint"])
def test_nobody_waits_from_one_transaction_to_the_next(history: History, lock: str) -> None:
    """Who has waited for the first is next, and a migration's next lock behind him."""
    history.run("INSERT INTO note SELECT i, 'x' FROM generate_series(10, 2000) i")
    history.add(f"op.execute('{lock}'); op.execute('SELECT pg_sleep(0.3)')")
    history.add(f"op.execute('{lock.replace('bigint', 'int')}'); op.execute('SELECT pg_sleep(0.3)')")

    report = history.rehearse()

    (blocking,) = report.blocking
    assert len(blocking.reads) == len(blocking.writes) == 2
    assert blocking.longest_read == max(each.blocking[0].longest_read for each in report.revisions)
    assert all(probe.derived <= blocking.longest_read for probe in blocking.probes)


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
    (sleep,) = report.revisions[1].statements
    assert report.blocking[0].reads[-1].ended <= sleep.began


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


def test_a_savepoint_that_is_rolled_back_lets_go(history: History) -> None:
    """Of its locks, before the transaction ends."""
    history.add(
        """
        bind = op.get_bind()
        savepoint = bind.begin_nested()
        bind.exec_driver_sql("LOCK TABLE note IN ACCESS EXCLUSIVE MODE")
        savepoint.rollback()
        bind.exec_driver_sql("SELECT pg_sleep(1)")
        """
    )

    (revision,) = history.rehearse().revisions

    (blocking,) = revision.blocking
    assert blocking.reads[-1].ended < revision.statements[-1].ended


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

    first, second, *_ = history.rehearse().transactions

    assert second.span.began - first.span.ended >= 500
