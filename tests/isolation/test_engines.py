"""Engines, sessions, pools and the driver's own connections take part in the isolation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from flask_branches import IsolationError
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from tests.isolation.conftest import World

REMEDY = r'isolation="branch"'


def test_sessions_of_one_s_own_take_part(world: World) -> None:
    """A sessionmaker with options of its own, on an engine that was taken before the test."""
    make = orm.sessionmaker(world.engine(), autoflush=False, expire_on_commit=False)
    with make.begin() as own:
        own.add(world.Note(text="a"))

    assert world.count() == 2


def test_engine_options_and_dispose_change_nothing(world: World) -> None:
    """`execution_options` gives an engine of the same pool, `dispose` ends no transaction."""
    world.db.session.add(world.Note(text="a"))
    world.db.session.commit()
    world.db.engine.dispose()
    world.db.session.remove()
    with world.engine().execution_options(logging_token="other").connect() as connection:
        assert connection.scalar(sa.select(sa.func.count(world.Note.id))) == 2
    assert world.count() == 2


def test_the_driver_s_connection_takes_part(world: World) -> None:
    """Its cursor, commit and rollback mean what they say."""
    raw = world.engine().raw_connection()
    cursor = raw.cursor()
    cursor.execute("INSERT INTO note (text) VALUES ('kept')")
    raw.commit()
    cursor.execute("INSERT INTO note (text) VALUES ('lost')")
    raw.rollback()
    cursor.execute("INSERT INTO note (text) VALUES ('forgotten')")
    raw.close()

    assert world.count() == 2


def test_listeners_keep_firing(untouched: World) -> None:
    """Those of statements, of transactions and of the pool; no new connection is reported where none is made."""
    engine, heard = untouched.engine(), []
    listened = {
        "before_cursor_execute": lambda *_: heard.append("execute"),
        "commit": lambda *_: heard.append("commit"),
        "checkout": lambda *_: heard.append("checkout"),
        "checkin": lambda *_: heard.append("checkin"),
    }
    engine.connect().close()
    connected: list[str] = []
    sa.event.listen(engine, "connect", lambda *_: connected.append("connect"))
    for name, listener in listened.items():
        sa.event.listen(engine, name, listener)
    try:
        with Isolation(untouched.app), engine.connect() as connection:
            heard.clear()
            connection.execute(sa.insert(untouched.Note).values(text="a"))
            connection.commit()
            connection.close()
            assert heard == ["execute", "commit", "checkin"]
    finally:
        for name, listener in listened.items():
            sa.event.remove(engine, name, listener)
    assert connected == []


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
def test_levels_of_isolation_are_refused(world: World, level: Any) -> None:
    """A transaction has the one that it began with."""
    if level == "SERIALIZABLE" and not world.kind.startswith("psycopg"):
        with world.engine().connect().execution_options(isolation_level=level) as connection:
            assert connection.scalar(sa.select(sa.func.count(world.Note.id))) == 1
        return
    with pytest.raises(IsolationError, match=REMEDY):
        world.engine().connect().execution_options(isolation_level=level)
