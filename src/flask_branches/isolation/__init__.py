"""One test's changes rolled back: the application's engines stay, their connections all share one transaction."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self
from weakref import WeakKeyDictionary

from flask_branches import emptying, urls
from flask_branches.configured import engines_of
from flask_branches.errors import IsolationError
from flask_branches.isolation.pools import VirtualPool
from flask_branches.isolation.shared import REMEDY, Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import sqlalchemy as sa
    from flask import Flask
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    from flask_branches.databases import Databases

__all__ = ["REMEDY", "Isolation", "refuse_unseen"]

# Where a server is stands in either part of a URL.
_PLACE = {"host", "port"}

_emptied: WeakKeyDictionary[Engine, tuple[sa.URL, list[str]]] = WeakKeyDictionary()


class Isolation:
    """What an application does to its databases inside the block is undone at its end.

    Args:
        app: with Flask-SQLAlchemy; every one of its engines is isolated.
        empty: let it find its tables empty.
    """

    def __init__(self, app: Flask, *, empty: bool = False) -> None:
        self._engines = list(engines_of(app).values())
        self._empty = empty
        self._shared: list[Shared] = []
        self._seen = 0
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Put the engines' pools aside."""
        with ExitStack() as undo:
            of_one: dict[Hashable, list[Shared]] = {}
            alike: dict[Hashable, Shared] = {}
            for engine in self._engines:
                key, way = self._key(engine), _way(engine.url)
                if (key, way) not in alike:
                    first = _deletions(engine) if self._empty else []
                    others = of_one.setdefault(key, [])
                    shared = alike[key, way] = Shared(engine, first, others)
                    others.append(shared)
                    self._shared.append(shared)
                    undo.callback(shared.end)
                undo.callback(_put_back, engine, engine.pool)
                engine.pool = VirtualPool(engine, alike[key, way])
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Roll back, and put the pools into their places."""
        self._undo.close()

    @property
    def violations(self) -> list[IsolationError]:
        """The errors that were raised: an application may have caught them, and answered with something else."""
        return [error for shared in self._shared for error in shared.violations]

    def raise_swallowed(self, is_known: Callable[[IsolationError], bool] = lambda _: False) -> None:
        """Raise what was raised since the last call, and turned by the application into an answer of its own.

        Args:
            is_known: whether an error has reached the test by itself.
        """
        new, self._seen = self.violations[self._seen :], len(self.violations)
        for error in new:
            if not is_known(error):
                raise error

    def _key(self, engine: Engine) -> Hashable:
        # Two engines of one database would otherwise not see what the other has committed.
        alone = len(self._engines) == 1 or urls.is_memory(engine.url)
        return id(engine) if alone else urls.key(engine.url)


def refuse_unseen(there: Databases) -> None:
    """Refuse to copy a database whose changes stand in a test's transaction alone.

    Raises:
        IsolationError: with the remedy.
    """
    for database in there.all:
        for engine in database.engines:
            if isinstance(engine.pool, VirtualPool) and urls.key(engine.url) == urls.key(database.backend.main):
                raise IsolationError(
                    "A branch of the database that this test works on would lack what the test has committed. "
                    f"Rolling back cannot isolate that. {REMEDY}"
                )


def _way(url: sa.URL) -> Hashable:
    """What two engines of one database have in common where they can share a connection."""
    query = {name: values for name, values in url.normalized_query.items() if name not in _PLACE}
    return (url.get_driver_name(), url.username, frozenset(query.items()))


def _put_back(engine: Engine, pool: Pool) -> None:
    engine.pool = pool


def _deletions(engine: Engine) -> list[str]:
    known = _emptied.get(engine)
    if known is None or known[0] != engine.url:
        with engine.connect() as connection:
            statements = emptying.delete_statements(connection)
        known = _emptied[engine] = (engine.url, statements)
    return known[1]
