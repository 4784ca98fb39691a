"""Listeners of pools and of new connections, and what they set."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_branches import IsolationError
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.testing import FlaskClient
    from flask_sqlalchemy import SQLAlchemy
    from tests.isolation.conftest import World

POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"
SETTING = "SET TIME ZONE 'Asia/Tokyo'" if POSTGRES else "PRAGMA foreign_keys = ON"


@contextmanager
def _listening(target: Any, event: str, listener: Callable[..., None]) -> Iterator[None]:
    sa.event.listen(target, event, listener)
    try:
        yield
    finally:
        sa.event.remove(target, event, listener)


def _set(connection: Any, *_others: object) -> None:
    cursor = connection.cursor()
    cursor.execute(SETTING)
    cursor.close()


@pytest.mark.parametrize("target", [sa.Engine, sa.Pool], ids=["Engine", "Pool"])
def test_a_class_s_listener_of_new_connections_meets_the_one_that_is_made(
    another: Callable[..., SQLAlchemy], target: Any
) -> None:
    """SQLAlchemy's own recipe for settings does no harm, and a connection that reads is no writer for it."""
    db: Any = another()
    heard: list[object] = []

    def listener(connection: Any, _record: object) -> None:
        heard.append(connection)
        _set(connection)

    with _listening(target, "connect", listener), Isolation(db.app), db.engine.connect() as reader:
        assert reader.scalar(sa.text("SELECT 1")) == 1
        with db.engine.begin() as writer:
            writer.exec_driver_sql("CREATE TABLE passing (id int)")
    assert len(heard) == 1


@pytest.mark.parametrize("target", ["class", "engine"])
@pytest.mark.parametrize("event", ["checkout", "checkin", "reset", "close"])
def test_a_listener_hears_of_a_connection_as_often_as_there_is_one(untouched: World, target: str, event: str) -> None:
    """Once, be it a class's or an engine's; nothing is closed before the test ends."""
    heard: list[str] = []

    def listener(*_arguments: object) -> None:
        heard.append(event)

    with (
        _listening(sa.Pool if target == "class" else untouched.engine(), event, listener),
        Isolation(untouched.app),
    ):
        untouched.engine().connect().close()
        heard.clear()
        untouched.engine().connect().close()
        assert heard == ([] if event == "close" else [event])


def test_what_a_listener_has_noted_about_a_connection_is_there(another: Callable[..., SQLAlchemy]) -> None:
    """The recipe for forks notes a process where a connection is made, and looks there when it is used."""
    db: Any = another()
    seen: list[object] = []
    with (
        _listening(db.engine, "connect", lambda _connection, record: record.info.update(process=os.getpid())),
        _listening(db.engine, "checkout", lambda _connection, record, _: seen.append(record.info["process"])),
        Isolation(db.app),
    ):
        db.engine.connect().close()
    assert set(seen) == {os.getpid()}


def test_a_pool_says_how_many_connections_are_in_use(world: World) -> None:
    """As an application's page of its own state asks it to."""
    pool: Any = world.engine().pool
    with world.engine().connect(), world.engine().connect():
        assert (pool.checkedout(), pool.checkedin(), pool.size(), pool.overflow()) == (2, 0, 0, 2)
        assert "connections: 2" in pool.status()
    assert pool.checkedout() == 0


def test_a_setting_that_is_there_already_is_no_change(another: Callable[..., SQLAlchemy]) -> None:
    """A listener may set it for each connection that is used, while others have read and written."""
    db: Any = another()
    with (
        _listening(db.engine, "connect", _set),
        _listening(db.engine, "checkout", _set),
        Isolation(db.app),
        db.engine.connect() as reader,
    ):
        reader.exec_driver_sql("SELECT 1")
        for name in ("one", "two"):
            with db.engine.begin() as writer:
                writer.exec_driver_sql(f"CREATE TABLE {name} (id int)")


@pytest.mark.skipif(POSTGRES, reason="rules of SQLite")
def test_an_application_may_switch_its_keys_on_in_each_request(untouched: World) -> None:
    """It takes effect where nothing was changed before, as without isolation; elsewhere it is an error."""
    keys = sa.text("PRAGMA foreign_keys = ON")
    engine = untouched.engine()
    try:
        with Isolation(untouched.app):
            for _ in range(2):
                with engine.begin() as connection:
                    connection.execute(keys)
                    connection.execute(sa.insert(untouched.Note).values(text=str(_)))
                    assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
            with engine.connect() as connection, pytest.raises(IsolationError, match="listener of the engine's event"):
                connection.execute(sa.text("PRAGMA foreign_keys = OFF"))
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")


@pytest.mark.skipif(not POSTGRES, reason="rules of Postgres")
def test_a_setting_that_is_not_committed_is_nobody_else_s(world: World, http: FlaskClient) -> None:
    """All connections of a test share what is set, so that it is a change like others."""
    world.db.session.execute(sa.text("SET TIME ZONE 'Asia/Tokyo'"))

    with pytest.raises(IsolationError, match="not committed"):
        http.get("/count")
    world.db.session.rollback()
    assert http.get("/count").text == "1"
