"""Transactions that migrations begin, end and break by themselves, as Postgres has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rehearsal.histories import History

    from flask_branches.rehearsal.report import Failure, Report

pytestmark = pytest.mark.skipif(SQLITE, reason="rules of Postgres'")


_ENV_WITHOUT_A_COMMIT = """
from alembic import context
from flask import current_app

db = current_app.extensions["migrate"].db
connection = db.engine.connect()
current_app.config["OPEN"].append(connection)
context.configure(connection=connection, target_metadata=db.metadata)
context.run_migrations()
"""


def _failure(report: Report) -> Failure:
    assert report.failure is not None
    assert (report.verdict, report.status) == ("failed", 2)
    assert report.reasons == (report.failure.error,)
    return report.failure


def test_what_one_transaction_ran_was_rolled_back_together(make_history: Callable[..., History]) -> None:
    """Nothing is done where the last revision fails."""
    history = make_history(per_migration=False)
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add("raise KeyError('odd')")

    failure = _failure(history.rehearse())

    assert (failure.error, failure.revision, failure.statement, failure.done) == ("KeyError: 'odd'", "r2", None, ())


def test_a_migration_may_commit_in_batches(history: History) -> None:
    """Each of its transactions is told; so is that a failure would leave a part of it done."""
    history.add(
        """
        for number in (1, 2):
            op.execute(f"UPDATE note SET text = 'x' WHERE id = {number}")
            op.execute("COMMIT")
        op.execute("ALTER TABLE note ADD COLUMN stars INT")
        """
    )

    report = history.rehearse(keep=True)

    assert report.failure is None
    assert [(each.revisions, each.committed) for each in report.transactions] == [(("r1",), True)] * 3
    assert any(each.startswith("r1 committed by itself, 2 times") for each in report.warnings)
    assert "stars" in history.world.branches.diff(report.branch)


def test_a_single_commit_is_told_as_one(history: History) -> None:
    """In words that are English."""
    history.add("op.execute(\"UPDATE note SET text = 'x'\"); op.execute('COMMIT'); op.execute('SELECT 1')")

    assert any(each.startswith("r1 committed by itself, once: if it fails") for each in history.rehearse().warnings)


def test_a_migration_that_is_rolled_back_in_the_end_is_told(history: History) -> None:
    """Its own commit has ended the transaction that Alembic commits: production would be left like that."""
    history.add(
        """
        op.get_bind().exec_driver_sql("UPDATE note SET text = 'x'")
        op.get_bind().commit()
        op.execute("ALTER TABLE note ADD COLUMN stars INT")
        """
    )

    failure = _failure(history.rehearse())

    assert failure.error.startswith(
        "It ran without an error, and was rolled back in the end: the database is at first."
    )
    assert (failure.revision, failure.done) == ("r1", ())


@pytest.mark.parametrize("statement", ["SELECT nonsense", "INSERT INTO note VALUES (1, 'again')"])
def test_an_error_that_a_savepoint_keeps_is_none(history: History, statement: str) -> None:
    """Nothing is asked of a transaction that is in error."""
    history.add(
        f"""
        op.execute("TABLE note")
        try:
            with op.get_bind().begin_nested():
                op.execute({statement!r})
        except sa.exc.DBAPIError:
            pass
        op.execute("ALTER TABLE note ADD COLUMN stars INT")
        """
    )

    report = history.rehearse()

    assert report.failure is None
    assert [each.committed for each in report.transactions] == [True]


def test_an_own_rollback_is_no_commit(history: History) -> None:
    """What it undid was not done."""
    history.add(
        """
        op.execute("UPDATE note SET text = 'x'")
        op.execute("ROLLBACK")
        op.execute("UPDATE note SET text = 'y'")
        op.execute("COMMIT AND CHAIN")
        op.execute("SELECT pg_sleep(0.3)")
        """
    )

    report = history.rehearse()

    assert [each.committed for each in report.transactions] == [False, True, True]
    assert report.transactions[1].span.ended <= report.revisions[0].statements[-1].began
    assert [each.partition(":")[0] for each in report.warnings] == [
        "r1 committed by itself, once",
        "r1 rolled back by itself",
    ]


def test_a_rollback_behind_other_statements_is_no_commit(history: History) -> None:
    """One that goes back to a savepoint ends nothing."""
    history.add(
        """
        op.execute("UPDATE note SET text = 'x'; SAVEPOINT a; ROLLBACK TO a; /* all */ ROLLBACK")
        op.execute("UPDATE note SET text = 'y'; SAVEPOINT a; ROLLBACK TO a")
        """
    )

    assert [each.committed for each in history.rehearse().transactions] == [False, True]


def test_a_commit_that_fails_is_told(history: History) -> None:
    """A constraint that is looked at in the end belongs to the revision that has broken it."""
    history.run("CREATE TABLE star (note INT REFERENCES note DEFERRABLE INITIALLY DEFERRED)")
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add("op.execute('INSERT INTO star VALUES (77)')")

    failure = _failure(history.rehearse())

    assert "violates foreign key constraint" in failure.error
    assert (failure.revision, failure.statement, failure.done) == ("r2", "COMMIT", ("r1",))


def test_a_commit_of_several_that_fails_blames_none_of_them(make_history: Callable[..., History]) -> None:
    """Nothing tells which of them has broken the constraint."""
    history = make_history(per_migration=False)
    history.run("CREATE TABLE star (note INT REFERENCES note DEFERRABLE INITIALLY DEFERRED)")
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add("op.execute('INSERT INTO star VALUES (77)')")

    failure = _failure(history.rehearse())

    assert (failure.revision, failure.statement, failure.done) == (None, "COMMIT", ())


def test_a_commit_that_went_through_is_not_blamed_later(history: History) -> None:
    """A connection of a migration's own that is refused is no statement."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add(
        """
        op.execute("ALTER TABLE note ADD COLUMN moons INT")
        sa.create_engine("postgresql+psycopg://127.0.0.1:1/x").connect()
        """
    )

    failure = _failure(history.rehearse())

    assert (failure.revision, failure.statement, failure.done) == ("r2", None, ("r1",))


def test_an_error_on_a_connection_of_its_own_is_none_of_the_transaction(history: History) -> None:
    """Which begins with its own first statement."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add(
        """
        import time
        began = time.monotonic()
        while time.monotonic() < began + 0.2:
            pass
        with current_app.extensions["migrate"].db.engine.connect() as own:
            try:
                own.execute(sa.text("SELECT * FROM nowhere"))
            except sa.exc.DBAPIError:
                pass
        op.execute("ALTER TABLE note ADD COLUMN moons INT")
        """
    )

    first, second = history.rehearse().transactions

    assert second.span.began - first.span.ended >= 200
    assert (second.revisions, second.statements) == (("r2",), first.statements)


def test_what_autocommit_has_done_is_done(history: History) -> None:
    """Where env.py has every statement committed by itself, a later failure leaves the revisions before it."""
    env = history.folder / "env.py"
    at_once = "db.engine.connect().execution_options(isolation_level='AUTOCOMMIT')"
    env.write_text(env.read_text().replace("db.engine.connect()", at_once))
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add("op.execute('SELECT nonsense')")

    failure = _failure(history.rehearse())

    assert (failure.revision, failure.done) == ("r2", ("r1",))


def test_a_transaction_that_env_py_leaves_open_is_rolled_back(history: History) -> None:
    """As it is when flask db ends: nobody waits for it, and nothing of it is done."""
    (history.folder / "env.py").write_text(_ENV_WITHOUT_A_COMMIT)
    left = history.world.app.config["OPEN"] = []
    history.run("DROP TABLE alembic_version")
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")

    failure = _failure(history.rehearse())
    for connection in left:
        connection.invalidate()  # the pool that it belongs to is gone

    assert "rolled back in the end: the database is at no revision." in failure.error
    assert failure.error.endswith("without context.begin_transaction() commits nothing.")
    assert failure.done == ()


def test_a_statement_that_was_forgiven_is_not_blamed(history: History) -> None:
    """An error that comes later has nothing to do with it."""
    history.add(
        """
        with op.get_context().autocommit_block():
            try:
                op.execute("SELECT nonsense")
            except sa.exc.DBAPIError:
                pass
        """
    )
    history.add("raise KeyError('odd')")

    failure = _failure(history.rehearse())

    assert (failure.revision, failure.statement) == ("r2", None)


def test_a_serializable_application_is_watched(history: History) -> None:
    """Its transactions have locks of another kind, which keep nobody waiting."""
    engine = history.world.db.engine
    history.world.db.engines[None] = engine.execution_options(isolation_level="SERIALIZABLE")
    history.add("op.execute('SELECT * FROM note'); op.execute('ALTER TABLE note ADD COLUMN stars INT')")

    report = history.rehearse()
    history.world.db.engines[None] = engine

    assert report.failure is None
    assert "ACCESS EXCLUSIVE" in {each.mode for each in report.revisions[0].locks}


@pytest.mark.parametrize(
    "statements",
    [("{}", "COMMIT"), ("{}", "/* done */ COMMIT"), ("{}", "-- now\nCOMMIT"), ("{}; COMMIT",), ("{}; END; SELECT 1",)],
)
def test_a_commit_that_is_a_statement_lets_go_of_locks(history: History, statements: tuple[str, ...]) -> None:
    """As older histories have it, before what cannot run in a transaction; wherever it stands."""
    texts = [each.format("ALTER TABLE note ADD COLUMN stars INT") for each in (*statements, "SELECT pg_sleep(0.3)")]
    history.add("\n".join(f"op.execute({each!r})" for each in texts))

    report = history.rehearse()

    assert report.failure is None
    sleep = report.revisions[0].statements[-1]
    assert all(span.ended <= sleep.began for each in report.blocking for span in each.reads)
    assert [each.committed for each in report.transactions] == [True, True]
