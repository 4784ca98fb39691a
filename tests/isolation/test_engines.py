"""Engines, sessions, pools and the driver's own connections take part in the isolation."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from flask_branches import IsolationError
from flask_branches.isolation import Isolation
from flask_branches.isolation.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_sqlalchemy import SQLAlchemy
    from tests.isolation.conftest import World

POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"
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


ALLOWED = ["READ COMMITTED", "READ UNCOMMITTED"] if POSTGRES else ["SERIALIZABLE", "READ UNCOMMITTED"]
REFUSED = ["AUTOCOMMIT", "REPEATABLE READ", "SERIALIZABLE"] if POSTGRES else ["AUTOCOMMIT"]


@pytest.mark.parametrize("level", REFUSED)
def test_a_level_of_the_whole_engine_is_refused(another: Callable[..., SQLAlchemy], level: str) -> None:
    """With the first connection, again and again; the database's own one goes back."""
    db: Any = another(isolation_level=level)
    real: Any = db.engine.pool
    with Isolation(db.app):
        for _ in range(2):
            with pytest.raises(IsolationError, match=f"{level}.*{REMEDY}"):
                db.engine.connect()
            assert not hasattr(real, "checkedout") or real.checkedout() == 0


@pytest.mark.parametrize("level", ALLOWED)
def test_a_level_that_a_test_s_transaction_has_is_none_to_refuse(
    another: Callable[..., SQLAlchemy], level: str
) -> None:
    """An engine may be told what it does anyway."""
    db: Any = another(isolation_level=level)
    with Isolation(db.app), db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_two_ways_to_one_database_cannot_both_be_used(untouched: World, another: Callable[..., SQLAlchemy]) -> None:
    """Neither would see what the other commits: an error with the second one's first use, be it which it may."""
    url = untouched.engine().url
    if untouched.kind == "memory":
        return  # each engine has a database of its own
    if POSTGRES:
        other = url.set(drivername=f"postgresql+{'psycopg2' if url.get_driver_name() == 'psycopg' else 'psycopg'}")
    else:
        other = url.update_query_dict({"timeout": "7"})
    db: Any = another(binds={"other": other})
    for first, second in ((None, "other"), ("other", None)):
        with Isolation(db.app, empty=True):
            with db.engines[first].connect() as connection:
                assert connection.exec_driver_sql("SELECT count(*) FROM note").scalar() == 0
            with pytest.raises(IsolationError, match=f"neither would see.*{REMEDY}"):
                db.engines[second].connect()


def test_a_beginning_that_fails_changes_nothing(untouched: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engines that were isolated before have their pools again."""
    engines = [untouched.engine(), untouched.engine("second")]
    pools = [engine.pool for engine in engines]

    asked: list[sa.Engine] = []

    def deletions(engine: sa.Engine) -> list[str]:
        asked.append(engine)
        if len(asked) == len(engines):
            raise LookupError
        return []

    monkeypatch.setattr("flask_branches.isolation._deletions", deletions)
    with pytest.raises(LookupError), Isolation(untouched.app, empty=True):
        pass
    assert [engine.pool for engine in engines] == pools


def test_an_end_that_fails_leaves_no_other_connection_open(untouched: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of one database's connection, the others' go back, and so do all pools."""
    engines = [untouched.engine(), untouched.engine("second")]
    pools = [engine.pool for engine in engines]
    ended = []
    end = Shared.end

    def failing(shared: Shared) -> None:
        end(shared)
        ended.append(shared)
        raise LookupError

    monkeypatch.setattr(Shared, "end", failing)
    with pytest.raises(LookupError), Isolation(untouched.app):
        assert all(engine.connect() for engine in engines)
    assert [engine.pool for engine in engines] == pools
    assert len(ended) == 2


def test_a_cursor_is_read_row_by_row(world: World) -> None:
    """With `next`, where the driver's can be."""
    raw: Any = world.engine().raw_connection()
    cursor = raw.cursor()
    cursor.execute("SELECT text FROM note")
    if hasattr(cursor.__getattr__("__class__"), "__next__"):
        assert next(cursor) == ("first",)
    else:
        assert list(cursor) == [("first",)]
    raw.close()


def test_what_an_application_has_swallowed_is_told_in_the_end(untouched: World) -> None:
    """Once, and not where the test has met it by itself."""
    with Isolation(untouched.app) as isolation:
        raw: Any = untouched.engine().raw_connection()
        for _ in range(2):
            with contextlib.suppress(IsolationError):
                raw.cursor().execute("COMMIT")
        known, unknown = isolation.violations
        with pytest.raises(IsolationError) as raised:
            isolation.raise_swallowed(lambda error: error is known)
        assert raised.value is unknown
        isolation.raise_swallowed()
