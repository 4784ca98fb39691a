"""An application that already runs, pointed at a branch and back: its engines stay, and so do their listeners."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import sqlalchemy as sa

from flask_branches import urls
from flask_branches.configured import engines_of, led_elsewhere
from flask_branches.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from sqlalchemy.engine import Dialect, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from flask_branches.branch import Branch

_bound: WeakSet[Engine] = WeakSet()
# Where an engine is led, the innermost block's last: a test can have a branch of its own inside a session that has one.
_led: WeakKeyDictionary[Engine, list[sa.URL]] = WeakKeyDictionary()
_TARGET = "flask_branches_target"


@contextmanager
def bound(app: Flask, branch: Branch) -> Iterator[None]:
    """Let every database of an application be its branch, for the time of a block; what is one already stays."""
    targets: dict[str | None, str] = {None: branch.url}
    targets.update(branch.binds)
    engines = engines_of(app)
    if missing := [str(key) for key in engines if key not in targets]:
        raise ConfigurationError(
            f"The application {app.name!r} has the bind {missing[0]!r}, which the branch {branch.name!r} has not: "
            "make a branch of the application, which has all of its databases."
        )
    with ExitStack() as undo:
        for key, engine in list(engines.items()):
            target = urls.parsed(targets[key])
            # Every test asks this; what is equal as a text needs no look at the file system.
            same = engine.url == target or urls.key(engine.url) == urls.key(target)
            if same and not urls.is_memory(engine.url):
                continue
            if engine.dialect.name == target.get_backend_name():
                undo.enter_context(_pointed(engine, target.set(drivername=engine.url.drivername)))
            else:
                undo.enter_context(_replaced(engines, key, target))
        yield


def is_on(app: Flask, branch: Branch) -> bool:
    """Whether an application's default database is a branch."""
    return urls.key(engines_of(app)[None].url) == urls.key(urls.parsed(branch.url))


@contextmanager
def _pointed(engine: Engine, target: sa.URL) -> Iterator[None]:
    """Connect an engine elsewhere. Its pool is put aside and not disposed of: an in-memory database lives in it."""
    before, pool = engine.url, engine.pool
    with ExitStack() as undo:
        if not urls.is_memory(before):
            pool.dispose()
        if engine not in _led:
            undo.enter_context(led_elsewhere(engine, engine))
            undo.enter_context(_leading(engine))
        _led[engine].append(target)
        undo.callback(_led[engine].pop)
        engine.url, engine.pool = target, pool.recreate()
        sa.event.listen(engine.pool, "connect", _require_target)
        try:
            yield
        finally:
            engine.pool.dispose()
            engine.url, engine.pool = before, pool if urls.is_memory(before) else pool.recreate()


@contextmanager
def _leading(engine: Engine) -> Iterator[None]:
    """Let whatever an engine connects to be where it is led."""
    targets = _led[engine] = []
    known = engine.dialect.create_connect_args(engine.url)[1]

    def connect(
        dialect: Dialect, entry: ConnectionPoolEntry, _args: list[Any], parameters: dict[str, Any]
    ) -> DBAPIConnection:
        entry.info[_TARGET] = target = targets[-1]
        # What the application passes beside its URL goes to the branch too.
        beside = {key: value for key, value in parameters.items() if key not in known or known[key] != value}
        arguments, named = dialect.create_connect_args(target)
        return dialect.connect(*arguments, **{**named, **beside})

    sa.event.listen(engine, "do_connect", connect)
    _bound.add(engine)
    try:
        yield
    finally:
        sa.event.remove(engine, "do_connect", connect)
        del _led[engine]
        _bound.discard(engine)


@contextmanager
def _replaced(engines: dict[str | None, Engine], key: str | None, target: sa.URL) -> Iterator[None]:
    """Exchange an engine for one of another kind of database; whoever has kept the old one keeps it."""
    before = engines[key]
    engine = engines[key] = sa.create_engine(target, hide_parameters=before.hide_parameters)
    _bound.add(engine)
    try:
        with led_elsewhere(engine, before):
            yield
    finally:
        engine.dispose()
        engines[key] = before
        _bound.discard(engine)


def _require_target(_connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """Refuse a connection that the application has made its own way: that leads to its own database."""
    if _TARGET not in entry.info:
        raise ConfigurationError(
            "An engine of the application has a creator, or a do_connect listener that connects by itself, and "
            "cannot be led to a branch: leave that out in tests."
        )


def _forget_connections() -> None:
    """In a forked child: what the parent has open is the parent's, and ending it here would end it there."""
    for engine in _bound:
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)
