"""Operations: their order, their failures, their end; and what requests have laid their hands on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from tests.emulator.api.support import project_row
from tests.emulator.running import until

from neon_emulator.clock import Clock
from neon_emulator.engine import EngineGone
from neon_emulator.errors import Busy
from neon_emulator.service import worker
from neon_emulator.service.claims import Claims
from neon_emulator.service.worker import Action, Step, Worker
from neon_emulator.state.models import Operation, Project
from neon_emulator.state.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session


class _Work:
    """Actions that note what is done, and fail where they are told to."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock(store)
        self.done: list[str] = []
        self.settled: list[str] = []
        self.failing: dict[str, list[Exception]] = {}
        self.full = False
        self.gate = threading.Event()
        self.gate.set()

    def worker(self, delay: float = 0.0) -> Worker:
        actions = {name: Action(self._do, self._settle) for name in ("one", "two", "three")}
        tidy = Action(self._do, self._settle, needs_others=False)
        return Worker(self.store, self.clock, delay, actions | {"tidy": tidy})

    def add(self, *actions: str) -> list[Operation]:
        with self.store.session() as session:
            return worker.add(session, self.clock, "p", [Step(action) for action in actions])

    def statuses(self) -> list[str]:
        with self.store.session() as session:
            return [one.status for one in session.scalars(sa.select(Operation).order_by(Operation.number))]

    def row(self, action: str) -> Operation:
        with self.store.session() as session:
            return session.scalars(sa.select(Operation).where(Operation.action == action)).one()

    def _do(self, operation: Operation) -> None:
        assert self.gate.wait(60)
        self.done.append(operation.action)
        if self.failing.get(operation.action):
            raise self.failing[operation.action].pop()

    def _settle(self, _: Session, operation: Operation) -> None:
        if self.full:
            raise OSError("database or disk is full")
        self.settled.append(operation.action)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[_Work]:
    """Actions over a state with a project in it."""
    store = Store(tmp_path / "state.db")
    with store.session() as session:
        session.add(project_row())
    yield _Work(store)
    store.close()


def test_order(work: _Work) -> None:
    """Without a delay, operations are done in their order before the request is answered."""
    operations = work.add("one", "two", "three")
    assert [one.status for one in operations] == ["running", "scheduling", "scheduling"]
    work.worker().begin(operations)
    assert work.done == work.settled == ["one", "two", "three"]
    assert work.statuses() == ["finished"] * 3


def test_failure(work: _Work) -> None:
    """An operation that fails says why, and those after it are cancelled; all of them let go of what they held."""
    work.failing["two"] = [RuntimeError("no disk")]
    work.worker().begin(work.add("one", "two", "three"))
    assert work.statuses() == ["finished", "error", "cancelled"]
    assert (work.row("two").error, work.row("two").failures_count) == ("no disk", 1)
    assert work.done == ["one", "two"]
    assert work.settled == ["one", "two", "three"]


def test_failure_before_what_tidies_up(work: _Work) -> None:
    """What deletes what the state has forgotten is done, whatever else of its chain has failed."""
    work.failing["one"] = [RuntimeError("no disk")]
    work.worker().begin(work.add("one", "two", "tidy", "three"))
    assert work.statuses() == ["error", "cancelled", "finished", "cancelled"]
    assert work.done == ["one", "tidy"]


def test_a_state_that_cannot_be_written(work: _Work) -> None:
    """Operations whose end cannot be written down are no error of the request's, and go on when it can."""
    busy, work.full = work.worker(), True
    busy.begin(work.add("one", "two"))
    busy.resume_left()
    assert work.statuses() == ["running", "scheduling"]
    work.full = False
    busy.resume_left()
    assert work.statuses() == ["finished"] * 2
    done = list(work.done)
    busy.resume_left()
    assert work.done == done


@pytest.mark.parametrize(("failures", "status"), [(1, "finished"), (2, "finished"), (3, "error")])
def test_another_try(work: _Work, failures: int, status: str) -> None:
    """What an engine that has died leaves undone is tried again, three times in all."""
    work.failing["one"] = [EngineGone("gone") for _ in range(failures)]
    work.worker().begin(work.add("one"))
    assert work.statuses() == [status]
    assert len(work.done) == min(failures + 1, 3)


def test_no_other_try(work: _Work) -> None:
    """What Postgres itself refuses is not asked of it again."""
    work.failing["one"] = [psycopg.errors.DiskFull("no room") for _ in range(2)]
    work.worker().begin(work.add("one"))
    assert work.done == ["one"]
    assert (work.row("one").status, work.row("one").error) == ("error", "no room")


def test_later(work: _Work) -> None:
    """With a delay, operations are done after the answer."""
    delayed = work.worker(0.01)
    work.gate.clear()
    delayed.begin(work.add("one", "two"))
    assert work.done == []
    work.gate.set()
    until(lambda: work.statuses() == ["finished"] * 2)
    delayed.close()


def test_closed_in_the_middle(work: _Work) -> None:
    """What a worker that is closed has not done is done by the next one."""
    delayed = work.worker(3600)
    delayed.begin(work.add("one", "two"))
    delayed.close()
    assert work.statuses() == ["running", "scheduling"]
    work.worker().resume()
    assert work.statuses() == ["finished"] * 2
    work.worker().resume()
    assert work.done == ["one", "two"]


def test_without_a_project(work: _Work) -> None:
    """Operations of a project that is deleted meanwhile are left where they are."""
    operations = work.add("one", "two")
    with work.store.session() as session:
        session.execute(sa.delete(Project))
    work.worker().begin(operations)
    assert (work.done, work.statuses()) == ([], [])


def test_times(work: _Work) -> None:
    """No two operations have the same time, so that a time can be a cursor."""
    for _ in range(5):
        work.add("one", "two", "three")
    with work.store.session() as session:
        times = [one.created_at for one in session.scalars(sa.select(Operation).order_by(Operation.number))]
    assert times == sorted(set(times))


def test_claims() -> None:
    """A branch is changed by one request at a time, and not while others read it."""
    claims = Claims()
    with claims.claim() as one, claims.claim() as other:
        claims.share(one, "b")
        claims.share(other, "b")
        with pytest.raises(Busy):
            claims.take(one, "b")
        claims.take(one, "c")
        claims.take(one, "c")
        for touch in (claims.take, claims.share):
            with pytest.raises(Busy):
                touch(other, "c")
    with claims.claim() as one:
        claims.take(one, "b")
        claims.take(one, "c")


def test_renewed_claims() -> None:
    """What was begun with an engine that is gone is not written down; what begins with the next one is."""
    claims = Claims()
    with claims.claim() as old:
        claims.check_current(old)
        claims.renew()
        with pytest.raises(EngineGone, match="try again"):
            claims.check_current(old)
        with claims.claim() as new:
            claims.check_current(new)


def test_store_by_several_threads(work: _Work) -> None:
    """A state is changed by one thread at a time: no change is lost."""

    def count() -> None:
        for _ in range(20):
            with work.store.session() as session:
                project = session.get_one(Project, "p")
                project.history_retention_seconds += 1

    _together(count, 4)
    with work.store.session() as session:
        assert session.get_one(Project, "p").history_retention_seconds == 80


def _together(function: Callable[[], None], number: int) -> None:
    threads = [threading.Thread(target=function) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
