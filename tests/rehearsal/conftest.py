"""Applications whose migrations are rehearsed, and databases to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.conftest import admin, at, emulator, make_world, new_database, one, places, role, server, spare
from tests.rehearsal.drifting import Drifted, looked
from tests.rehearsal.histories import USUAL, History

from flask_branches.databases import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.engine import Connection
    from tests.branches.worlds import World

    from flask_branches.rehearsal.drift import Drift

__all__ = ["admin", "at", "emulator", "make_world", "new_database", "one", "places", "role", "server", "spare"]


@pytest.fixture
def database(make_world: Callable[..., World]) -> Iterator[Connection]:
    """A connection, in autocommit, to a database that has nothing in it."""
    with connected(make_world(fill=False).main, {}) as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


@pytest.fixture
def make_history(make_world: Callable[..., World], tmp_path: Path) -> Callable[..., History]:
    """Make an application whose first migration has been run."""

    def make(*, binds: bool = False, **options: Any) -> History:
        world = make_world(USUAL, binds=binds)
        world.db.session.remove()
        return History(world, tmp_path / "migrations", **options)

    return make


@pytest.fixture
def history(make_history: Callable[..., History]) -> History:
    """An application whose first migration has been run, each of those to come in a transaction of its own."""
    return make_history()


@pytest.fixture
def drifted(history: History) -> Drifted:
    """Make the application's own database otherwise, and compare the models with it."""

    def drifted(*statements: str) -> Drift:
        for each in statements:
            history.run(each)
        return looked(history.world)

    return drifted
