"""One test's changes rolled back: the application's engines stay, their connections all share one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from flask_branches import emptying, urls
from flask_branches.configured import engines_of
from flask_branches.isolation.connection import Virtual
from flask_branches.isolation.shared import REMEDY, Shared

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    from flask_branches.errors import IsolationError

__all__ = ["REMEDY", "Isolation"]

_LISTENED = ("checkout", "checkin", "reset")
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
        self._before: list[tuple[Engine, Pool]] = []
        self._shared: dict[Any, Shared] = {}
        self._seen = 0

    def __enter__(self) -> Self:
        """Put the engines' pools aside."""
        for engine in self._engines:
            # Two engines of one database would otherwise not see what the other has committed.
            alone = len(self._engines) == 1 or urls.is_memory(engine.url)
            key = id(engine) if alone else urls.key(engine.url)
            if key not in self._shared:
                first = _deletions(engine) if self._empty else []
                self._shared[key] = Shared(engine.pool, engine.dialect.name, first)
            self._before.append((engine, engine.pool))
            engine.pool = _pool(engine.pool, engine, self._shared[key])
        return self

    def __exit__(self, *_exception: object) -> None:
        """Roll back, and put the pools into their places."""
        for engine, pool in self._before:
            engine.pool = pool
        for shared in self._shared.values():
            shared.end()

    @property
    def violations(self) -> list[IsolationError]:
        """The errors that were raised: an application may have caught them, and answered with something else."""
        return [error for shared in self._shared.values() for error in shared.violations]

    def raise_swallowed(self) -> None:
        """Raise what was raised since the last call, and turned by the application into an answer of its own."""
        new, self._seen = self.violations[self._seen :], len(self.violations)
        if new:
            raise new[0]


class _Pool(sa.NullPool):
    """Makes a virtual connection each time; whoever disposes of the engine disposes of nothing."""

    def recreate(self) -> _Pool:
        return self


def _pool(real: Pool, engine: Engine, shared: Shared) -> _Pool:
    pool = _Pool(lambda: Virtual(shared), dialect=engine.dialect)  # type: ignore[arg-type]
    # Not those of a new connection: the one behind all of these has met them.
    for name in _LISTENED:
        for listener in getattr(real.dispatch, name):
            sa.event.listen(pool, name, listener)
    return pool


def _deletions(engine: Engine) -> list[str]:
    known = _emptied.get(engine)
    if known is None or known[0] != engine.url:
        with engine.connect() as connection:
            statements = emptying.delete_statements(connection)
        known = _emptied[engine] = (engine.url, statements)
    return known[1]
