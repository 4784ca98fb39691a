"""Migrations that fail, that never end, that go their own ways, and a branch that disappears under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE
from tests.rehearsal.seen import at_work

from flask_branches import MigrationFailed
from flask_branches.rehearsal import observing
from flask_branches.rehearsal.grounds import Grounds

if TYPE_CHECKING:
    from tests.rehearsal.histories import History

    from flask_branches.rehearsal.report import Failure, Report

postgres_only = pytest.mark.skipif(SQLITE, reason="a rule of Postgres'")

_OWN_ENGINE = "own = current_app.extensions['migrate'].db.engine.connect()"


def _failure(report: Report) -> Failure:
    assert report.failure is not None
    assert (report.verdict, report.status) == ("failed", 2)
    assert report.reasons == (report.failure.error,)
    return report.failure


def test_a_migration_that_fails_is_told(history: History) -> None:
    """With its statement, what the database said, and what was done before; branch and parent are as they were."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add("op.execute('ALTER TABLE note ADD COLUMN more INT'); op.execute('SELECT * FROM nowhere')")
    history.add("pass")
    before = history.dump()

    failure = _failure(history.rehearse())

    assert "nowhere" in failure.error
    assert "\n" not in failure.error
    assert (failure.revision, failure.statement, failure.done) == ("r2", "SELECT * FROM nowhere", ("r1",))
    assert history.dump() == before
    assert history.world.branches.list() == []


def test_the_branch_of_a_failure_can_be_kept(history: History) -> None:
    """As it was before the revision that failed."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')")
    history.add("raise KeyError('odd')")

    report = history.rehearse(keep=True)

    assert report.kept
    (branch,) = history.world.branches.list()
    assert branch.name == report.branch
    assert "stars" in history.world.branches.diff(branch.name)


def test_nothing_pending_is_safe(history: History) -> None:
    """And said."""
    report = history.rehearse()

    assert (report.verdict, report.revisions, report.current, report.target) == ("safe", (), ("first",), ("first",))
    assert report.warnings == ("Nothing is pending: the database is at first.",)
    assert any(each.startswith("Locks, rewrites") for each in report.not_shown) == SQLITE


def test_a_part_of_what_is_pending(history: History) -> None:
    """Up to the revision that is named."""
    history.add("pass")
    history.add("pass")

    report = history.rehearse(to="r1")

    assert [each.id for each in report.revisions] == ["r1"]


@postgres_only
def test_a_statement_that_does_not_end_is_cancelled(history: History) -> None:
    """When time is up; the parent is untouched."""
    history.add("op.execute('SELECT pg_sleep(600)')")

    report, time = history.rehearse_briefly(lambda report: report.failure and report.failure.statement)
    failure = _failure(report)

    assert failure.error.startswith(f"It had not ended after {time}, and was cancelled")
    assert (failure.revision, failure.statement) == ("r1", "SELECT pg_sleep(600)")
    assert history.world.branches.list() == []


def test_code_that_does_not_end_is_ended(history: History) -> None:
    """It asks the database for nothing, and keeps every error to itself."""
    history.add(
        """
        while True:
            try:
                sum(range(1000))
            except Exception:
                pass
        """
    )

    report, time = history.rehearse_briefly(lambda report: report.failure)

    assert _failure(report).error.startswith(f"It had not ended after {time}, and was cancelled")


@pytest.mark.skipif(not SQLITE, reason="a rule of SQLite's")
def test_a_query_of_sqlite_that_does_not_end_is_interrupted(history: History) -> None:
    """No signal is seen while it runs."""
    history.add("op.execute('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n')")

    report, time = history.rehearse_briefly(lambda report: report.failure)

    assert _failure(report).error.startswith(f"It had not ended after {time}, and was cancelled")


def test_a_commit_of_the_driver_is_none_of_the_migrations(history: History) -> None:
    """SQLite's commits by itself before what changes the schema."""
    history.add("op.execute(\"UPDATE note SET text = 'x'\"); op.execute('ALTER TABLE note ADD COLUMN stars INT')")

    assert history.rehearse().warnings == ()


@postgres_only
def test_a_connection_of_a_migrations_own_is_told(history: History) -> None:
    """Its statements and locks are, too."""
    history.add(f"{_OWN_ENGINE}\nown.exec_driver_sql('LOCK TABLE note IN SHARE MODE')\nown.close()")

    report = history.rehearse()

    assert report.failure is None
    (statement,) = report.revisions[0].statements
    assert (statement.text, statement.own_connection) == ("LOCK TABLE note IN SHARE MODE", True)
    assert report.warnings == (
        "r1 opened a connection of its own, whose work is no part of its transaction: use op.get_bind().",
    )


@postgres_only
def test_a_migration_that_waits_for_itself_is_told(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own connection waits for its transaction's lock: that would never end."""
    monkeypatch.setattr(observing, "_PATIENCE", 100)
    history.add(
        f"op.execute('LOCK TABLE note IN ACCESS EXCLUSIVE MODE')\n{_OWN_ENGINE}\nown.exec_driver_sql('TABLE note')"
    )

    failure = _failure(history.rehearse(timeout="1m"))

    assert failure.error.startswith("It would have waited for itself for ever")


_FORGIVEN = {
    "that does not end": (
        """
        with op.get_context().autocommit_block():
            try:
                op.execute("SELECT pg_sleep(600)")
            except sa.exc.DBAPIError:
                pass
        op.execute("ALTER TABLE note ADD COLUMN stars INT")
        """,
        "It had not ended after {time}, and was cancelled",
    ),
    "that waits for itself": (
        f"""
        op.execute("ALTER TABLE note ADD COLUMN stars INT")
        {_OWN_ENGINE}
        try:
            own.execute(sa.text("TABLE note"))
        except sa.exc.DBAPIError:
            pass
        own.close()
        """,
        "It would have waited for itself for ever",
    ),
}


@postgres_only
@pytest.mark.parametrize("what", _FORGIVEN)
def test_what_was_ended_is_told_also_where_the_migration_forgives_it(
    history: History, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Nobody would end it in production."""
    monkeypatch.setattr(observing, "_PATIENCE", 100)
    code, words = _FORGIVEN[what]
    history.add(code)

    def is_there(report: Report) -> bool:
        return report.failure is not None and report.failure.error.startswith(words.partition("{")[0])

    report, time = history.rehearse_briefly(is_there)
    failure = _failure(report)

    assert failure.error.startswith(words.format(time=time))
    assert (failure.revision, failure.done) == ("r1", ())


@postgres_only
def test_an_env_py_that_does_not_end_is_cancelled(history: History) -> None:
    """Before there is anything to tell: it is what nothing can be rehearsed by."""
    env = history.folder / "env.py"
    slow = "    connection.exec_driver_sql('SELECT pg_sleep(600)')\n    context.configure("
    env.write_text(env.read_text().replace("    context.configure(", slow))

    with pytest.raises(MigrationFailed, match=r"env\.py had not found the database's revision after 1s, and was"):
        history.rehearse(timeout="1s")

    assert history.world.branches.list() == []


@postgres_only
def test_a_branch_that_disappears_is_told(history: History, server: object) -> None:
    """Somebody has deleted it under way."""
    history.add(
        """
        import sqlalchemy
        bind = op.get_bind()
        name = bind.engine.url.database
        bind.exec_driver_sql("SELECT 1")
        engine = sqlalchemy.create_engine(bind.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as other:
            other.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        engine.dispose()
        bind.exec_driver_sql("SELECT 2")
        """
    )
    before = history.dump()

    failure = _failure(history.rehearse(undo=True, drift=True))

    assert failure.error.startswith("The connection to the branch was lost (")
    assert failure.statement == "SELECT 2"
    assert history.dump() == before
    assert history.world.branches.list() == []


@postgres_only
def test_an_observer_that_is_lost_is_told(history: History) -> None:
    """What it has not seen is not passed over in silence."""
    history.add(
        """
        op.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                   " AND datname = current_database()")
        op.execute("ALTER TABLE note ADD COLUMN stars INT")
        """
    )

    report = history.rehearse(counts=False)

    assert any(
        "The session that looked at the locks of the default database was lost" in each for each in report.warnings
    )


def test_the_applications_own_database_is_out_of_reach(history: History) -> None:
    """Whatever a migration connects to by itself, production it is not."""
    history.add(
        f"""
        import sqlalchemy
        with sqlalchemy.create_engine({history.world.main.render_as_string(hide_password=False)!r}).connect() as other:
            other.exec_driver_sql("TABLE note")
        """
    )
    before = history.dump()

    failure = _failure(history.rehearse())

    assert "is the application's own database, which nothing connects to while its migrations are" in failure.error
    assert history.dump() == before


@pytest.mark.skipif(SQLITE, reason="SQLite ends no session")
@pytest.mark.parametrize("name", ["idle_session_timeout", "statement_timeout", "lock_timeout"])
def test_no_setting_ends_the_sessions_that_look(history: History, name: str) -> None:
    """They have nothing to do while a migration takes its time, and much afterwards."""
    setting = "DO $$BEGIN EXECUTE format('ALTER DATABASE %I {}', current_database()); END$$"
    history.run(setting.format(f"SET {name} = ''1h''"))
    with (
        at_work(history.world) as (branch, _),
        Grounds(history.world.branches.databases, branch) as grounds,
        grounds.connected(None) as connection,
        history.at(branch.url) as other,
    ):
        history.run(setting.format(f"RESET {name}"))  # the database is used again

        assert other.exec_driver_sql(f"SHOW {name}").scalar_one() == "1h"
        assert connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "0"
