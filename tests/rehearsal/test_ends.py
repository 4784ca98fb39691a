"""The time that all of a rehearsal has together, and what takes the branch away in the middle of it."""

from __future__ import annotations

import shlex
import sqlite3
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.worlds import SQLITE

from flask_branches import DatabaseFailed, schema
from flask_branches.rehearsal import aftermath, limiting

if TYPE_CHECKING:
    from tests.rehearsal.histories import History

ADD = "op.execute('ALTER TABLE note ADD COLUMN stars INT')"
DROP = "op.execute('ALTER TABLE note DROP COLUMN stars')"
TABLE = "note" if SQLITE else "public.note"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a clock is to be ahead."""
    ahead: list[float] = []
    monkeypatch.setattr(limiting, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + sum(ahead)))
    return ahead


@pytest.mark.skipif(SQLITE, reason="a rule of Postgres'")
def test_a_way_back_that_does_not_end_is_left(history: History) -> None:
    """When time is up; the report is there all the same."""
    history.add("op.execute('ALTER TABLE note ADD COLUMN stars INT')", "op.execute('SELECT pg_sleep(600)')")

    report, time = history.rehearse_briefly(lambda report: report.failure is None, undo=True)

    assert report.failure is None
    assert report.revisions[0].undo.state == "not tried"
    assert report.warnings == (
        f"The way back and forth was not finished: all had not ended after {time}; give it longer with --timeout.",
    )
    assert history.world.branches.list() == []


@pytest.mark.skipif(SQLITE, reason="a rule of Postgres'")
def test_a_branch_that_is_lost_on_the_way_back_takes_nothing_else_along(history: History) -> None:
    """What was seen before that stands."""
    history.add(ADD, "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")

    report = history.rehearse(undo=True)

    assert (report.verdict, report.failure, report.revisions[0].undo.state) == ("safe", None, "not tried")
    (warning,) = report.warnings
    assert warning.startswith("The way back and forth was not finished: The server at ")


def test_models_that_cannot_be_compared_take_nothing_else_along(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is said."""

    def lost(*_: object) -> None:
        raise DatabaseFailed("The server is gone: start it.")

    monkeypatch.setattr(aftermath, "drift", lost)
    history.add(ADD, DROP)

    report = history.rehearse(drift=True, undo=True)

    assert report.revisions[0].undo.state == "same"
    assert report.differences is None
    assert report.warnings == ("The models were not compared with the database: The server is gone: start it.",)


_DROP_ALL = """
import os, sqlalchemy as sa
url = sa.make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")
engine = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
engine.connect().exec_driver_sql(f'DROP DATABASE "{url.database}" WITH (FORCE)')
"""


@pytest.mark.skipif(SQLITE, reason="a rule of Postgres'")
def test_old_tests_that_take_the_branch_away_take_nothing_else_along(history: History) -> None:
    """What they have left behind is not told then."""
    history.add(ADD, DROP)

    report = history.rehearse(old_tests=shlex.join([sys.executable, "-c", _DROP_ALL]))

    assert report.old_tests is not None
    assert report.old_tests.status == 0
    assert [each.id for each in report.revisions] == ["r1"]
    assert "What the previous release's tests left behind was not looked at: " in report.warnings[0]


def test_all_has_one_time_together(history: History, later: list[float]) -> None:
    """What the migrations have used is not there for what comes after; tests that were not run are no good sign."""
    history.world.app.config["LATER"] = later
    history.add(f"{ADD}; current_app.config['LATER'].append(3600)", DROP)

    report = history.rehearse(undo=True, drift=True)

    late = "all had not ended after 30m; give it longer with --timeout."
    assert report.warnings == (
        f"The models were not compared with the database: {late}",
        f"The way back and forth was not finished: {late}",
    )
    assert (report.failure, report.differences) == (None, None)

    later.clear()
    report = history.rehearse(old_tests="false")

    assert report.failure is not None
    assert report.failure.error == f"The previous release's tests were not run: {late}"
    assert (report.status, report.old_tests) == (2, None)


@pytest.mark.skipif(SQLITE, reason="a rule of Postgres'")
def test_what_cannot_be_measured_is_told(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, with the status of what could not be rehearsed."""
    monkeypatch.setattr(schema, "dump", lambda there: str(there.exec_driver_sql("SELECT 1 / 0").scalar()))
    history.add(ADD)

    report = history.rehearse()

    assert report.failure is not None
    assert (report.status, report.failure.error) == (2, "DivisionByZero: division by zero")


@pytest.mark.skipif(SQLITE, reason="a rule of Postgres'")
def test_measuring_has_an_end_too(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same time as all."""
    monkeypatch.setattr(schema, "dump", lambda there: str(there.exec_driver_sql("SELECT pg_sleep(600)")))

    report, time = history.rehearse_briefly(lambda report: report.failure)

    assert report.failure is not None
    assert report.failure.error.startswith(f"It had not ended after {time}, and was cancelled")


def test_what_goes_on_is_ended_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the block has ended, and not after it."""
    monkeypatch.setattr(limiting, "_AGAIN", 0.001)
    asked: list[int] = []
    thrice = threading.Event()

    def cancel() -> None:
        asked.append(1)
        if len(asked) == 3:
            thrice.set()

    with limiting.within(0.001, cancel):
        assert thrice.wait(60)
    number = len(asked)

    assert not any(each.name == "rehearsal-timeout" for each in threading.enumerate())
    assert len(asked) == number


@pytest.mark.parametrize(("dialect", "cancelled"), [("postgresql", ["cancel"]), ("sqlite", [])])
def test_a_session_of_an_asynchronous_env_py_is_ended(dialect: str, cancelled: list[str]) -> None:
    """SQLAlchemy's adapter of its driver has no word for that; the driver has, for other threads too."""
    said: list[str] = []
    driver = SimpleNamespace(cancel=lambda: said.append("cancel"), interrupt=lambda: said.append("interrupt"))
    adapted: Any = SimpleNamespace(
        dialect=SimpleNamespace(name=dialect, loaded_dbapi=sqlite3),
        connection=SimpleNamespace(dbapi_connection=object(), driver_connection=driver),
    )

    limiting.end_statement(adapted)

    assert said == cancelled
