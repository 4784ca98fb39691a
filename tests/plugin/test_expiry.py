"""Branches expire, unless their run lives."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.plugin.projects import POSTGRES, on_a_server

from flask_branches import configured, record
from flask_branches.branch import now
from local_postgres import locks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugin.production import Databases
    from tests.plugin.projects import Project

    Until = Callable[[Callable[[], Any]], Any]

WAITING = """
    import time
    from pathlib import Path

    import pytest

    @pytest.mark.branches(isolation="branch")
    def test_a(app, branch, own_branch):
        Path("waiting").touch()
        while not Path("go").exists():
            time.sleep(0.01)
"""
SHORT = """
    from shop import Product, db

    def test_b(app):
        assert db.session.query(Product).count() == 0
"""


@pytest.fixture
def main(shop: Project, request: pytest.FixtureRequest) -> str:
    """The URL of the shop's own database; on Postgres it and its bind are there, and empty."""
    if not POSTGRES:
        return f"sqlite:///{shop.folder}/instance/shop.sqlite"
    databases: Databases = request.getfixturevalue("databases")
    url = databases.make("shop")
    shop.variable("DATABASE_URL", url)
    shop.variable("AUDIT_URL", databases.make("audit"))
    return url


@pytest.fixture
def at_rest(shop: Project, request: pytest.FixtureRequest) -> Callable[[], bool]:
    """Whether the only run of the shop that there is changes nothing at the moment."""
    if POSTGRES:
        server = request.getfixturevalue("server")
        return lambda: len(_locks(server)) == 1  # the run's own
    return lambda: not any(map(locks.is_held, shop.folder.rglob(".lock")))


def test_it_is_put_off_while_the_run_lives(shop: Project, main: str, until: Until, at_rest: Callable[[], bool]) -> None:
    """That of the test's own branch too; and another run deletes none of its branches, however long it stood still."""
    _make_one_that_expires(main)
    shop.files(test_a=WAITING, test_b=SHORT)
    process = shop.start("test_a.py", "--branches-expire=2s")
    until((shop.folder / "waiting").exists)
    first = _expiries(shop)
    assert len(first) == 2

    until(lambda: all(moment > first[name] for name, moment in _expiries(shop).items()))
    until(lambda: _stopped(process.pid, at_rest))
    until(lambda: all(each.has_expired for each in shop.made()))
    shop.run("test_b.py").assert_outcomes(passed=1)
    assert {each.name for each in shop.made()} == set(first)

    os.killpg(process.pid, signal.SIGCONT)
    (shop.folder / "go").touch()
    assert process.wait(60) == 0, shop.said()
    assert shop.made() == []


def _stopped(pid: int, at_rest: Callable[[], bool]) -> bool:
    """Stop a run, but not in the middle of a change: for the end of that others rightly wait."""
    os.killpg(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    if not at_rest():
        os.killpg(pid, signal.SIGCONT)
        return False
    return True


@on_a_server
def test_a_run_lives_on_when_its_session_is_ended(shop: Project, main: str, server: sa.URL, until: Until) -> None:
    """A server that ends the one that shows it, as administrators and restarts do, is shown another."""
    shop.files(test_a=WAITING)
    process = shop.start("test_a.py", "--branches-expire=2s")
    until((shop.folder / "waiting").exists)
    ((lock, session),) = until(lambda: len(found := _locks(server)) == 1 and found)
    _ask(server, f"SELECT pg_terminate_backend({session})")

    until(lambda: dict(_locks(server)).get(lock, session) != session)
    assert "Nothing to prune" in shop.flask("branches", "prune").stdout
    (shop.folder / "go").touch()
    assert process.wait(60) == 0, shop.said()
    until(lambda: _locks(server) == [])


def _locks(server: sa.URL) -> list[tuple[int, int]]:
    """What is locked for a run, or for a moment, and by which session."""
    return _ask(server, "SELECT objid::int8, pid FROM pg_locks WHERE locktype = 'advisory' AND granted")


def _ask(server: sa.URL, statement: str) -> list[Any]:
    engine = sa.create_engine(server, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def _make_one_that_expires(main: str) -> None:
    backend = configured.backend_for(sa.make_url(main))
    soon = now() + timedelta(seconds=1)
    backend.create(record.made("short", parent=None, main=str(backend.main.database), expires_at=soon))
    backend.close()


def _expiries(shop: Project) -> dict[str, datetime]:
    """When each of the runs' branches expires."""
    return {each.name: each.expires_at for each in shop.made() if each.name != "short" and each.expires_at}
