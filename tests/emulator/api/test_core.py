"""What the service makes of a branch that changes while it is looked at, and of one that is full."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import sqlalchemy as sa
from psycopg.errors import LockNotAvailable
from tests.emulator.api.support import NOW, project_row

from neon_emulator.clock import Clock
from neon_emulator.engine import Catalog, CatalogDatabase, CatalogRole, ClusterFailed, ClusterMissing
from neon_emulator.errors import Busy, LimitExceeded, NotFound
from neon_emulator.service import sql
from neon_emulator.service.branches import Branches
from neon_emulator.service.claims import Claims
from neon_emulator.service.core import Core
from neon_emulator.service.databases import Databases
from neon_emulator.service.projects import Projects
from neon_emulator.service.roles import Roles
from neon_emulator.service.upkeep import Upkeep
from neon_emulator.state.models import Branch, Operation, Role
from neon_emulator.state.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from neon_emulator.engine import Engine
    from neon_emulator.service.worker import Worker

_EMPTY = Catalog((), (), 0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A state with a branch `b` in it, whose cluster is `old`."""
    store = Store(tmp_path / "state.db")
    with store.session() as session:
        session.add(project_row())
        session.flush()
        session.add(_row("b", "old"))
    yield store
    store.close()


def _row(name: str, cluster: str) -> Branch:
    return Branch(
        id=name,
        project_id="p",
        name=name,
        cluster=cluster,
        init_source="parent-data",
        current_state="ready",
        state_changed_at=NOW,
        logical_size=0,
        created_at=NOW,
        updated_at=NOW,
    )


class _Changing:
    """An engine whose cluster `old` is deleted by whoever changes the branch first."""

    def __init__(self, store: Store, changes: Mapping[str, Any]) -> None:
        self._store = store
        self._changes = changes

    def catalog(self, cluster: str) -> Catalog:
        if cluster != "old":
            return _EMPTY
        with self._store.session() as session:
            for name, value in self._changes.items():
                setattr(session.get_one(Branch, "b"), name, value)
        raise ClusterMissing(f"There is no cluster {cluster}.")


def _core(store: Store, changes: Mapping[str, Any]) -> Core:
    return _with(store, _Changing(store, changes))


def _with(store: Store, engine: object) -> Core:
    unused: Any = None
    return Core(unused, store, unused, cast("Engine", engine), unused, Claims())


def test_reset(store: Store) -> None:
    """What is reset while it is looked at is looked at again."""
    branch, catalog = _core(store, {"cluster": "new"}).catalog("p", "b")
    assert (branch.cluster, catalog) == ("new", _EMPTY)


def test_deleted(store: Store) -> None:
    """What is deleted while it is looked at is not found."""
    with pytest.raises(NotFound):
        _core(store, {"cluster": None, "deleted_at": NOW}).catalog("p", "b")


def test_lost(store: Store) -> None:
    """What the state has and the engine has not is a failure, and not asked for again and again."""
    with pytest.raises(ClusterMissing):
        _core(store, {}).catalog("p", "b")


class _Troubled:
    """An engine that can neither delete its first cluster nor let go of its past."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def prune_history(self, cluster: str, _: datetime) -> None:
        self.delete_cluster(cluster)

    def delete_cluster(self, cluster: str) -> None:
        self.asked.append(cluster)
        if cluster == "old":
            raise ClusterFailed("No space left on device")


def test_one_past_that_cannot_be_pruned(store: Store) -> None:
    """The others are let go of all the same: just then room is needed."""
    with store.session() as session:
        session.add(_row("c", "another"))
    engine = _Troubled()
    core = replace(_with(store, engine), clock=Clock(store))
    Upkeep(core, Branches(core)).prune()
    assert engine.asked == ["old", "another"]


class _Locked:
    """An engine whose cluster has a client that is just changing every role."""

    def catalog(self, _: str) -> Catalog:
        return Catalog((CatalogRole("app", login=True),), (), 0)

    @contextmanager
    def session(self, _: str) -> Iterator[_Locked]:
        yield self

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def execute(self, *_: object) -> None:
        raise LockNotAvailable("canceling statement due to lock timeout")


def test_a_password_that_cannot_be_set_now(store: Store) -> None:
    """Nothing of it is written down: what the API tells is what the server has."""
    begun: list[object] = []
    core = replace(_with(store, _Locked()), clock=Clock(store), worker=cast("Worker", _Begun(begun)))
    with pytest.raises(Busy, match="open transaction"):
        Roles(core).reset("p", "b", "app")
    with store.session() as session:
        assert [*session.scalars(sa.select(Role)), *session.scalars(sa.select(Operation))] == []
    assert begun == []


class _Begun:
    """A worker that takes down what it is to do."""

    def __init__(self, begun: list[object]) -> None:
        self._begun = begun

    def begin(self, operations: Sequence[Operation]) -> None:
        self._begun += operations


def test_one_cluster_that_cannot_be_deleted(store: Store) -> None:
    """The others of its project are deleted all the same, and the error is told."""
    with store.session() as session:
        session.add(_row("c", "another"))
    engine = _Troubled()
    with pytest.raises(ClusterFailed, match="No space left"):
        Projects(_with(store, engine)).clear()
    assert engine.asked == ["old", "another"]


class _Full:
    """An engine whose clusters have as many databases as a branch may have; to make them would take gigabytes."""

    def catalog(self, _: str) -> Catalog:
        there = tuple(CatalogDatabase(number, f"d{number}", "owner") for number in range(500))
        return Catalog((CatalogRole("owner", login=True),), there, 0)


def test_databases_limit(store: Store) -> None:
    """A branch has 500 databases and no more."""
    with pytest.raises(LimitExceeded, match="databases limit exceeded") as refused:
        Databases(_with(store, _Full())).create("p", "b", "one-more", "owner")
    assert refused.value.code == "DATABASES_LIMIT_EXCEEDED"


def test_a_lock_in_the_way() -> None:
    """What waits in vain for a client's transaction is refused as for any branch that is busy."""
    with pytest.raises(Busy, match=r"open transaction has locked .* end it, and try again"), sql.refusals():
        raise LockNotAvailable("canceling statement due to lock timeout")
