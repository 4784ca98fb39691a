"""What a test does is rolled back, and until then everything answers as it would without."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_branches import IsolationError
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from tests.isolation.conftest import World

REMEDY = r'isolation="branch"'


def test_what_a_request_commits_the_next_one_sees(http: FlaskClient) -> None:
    """Two requests of one test share what is committed."""
    http.post("/add/a")
    http.post("/add/b")

    assert http.get("/count").text == "3"


def test_a_forgotten_commit_is_lost(http: FlaskClient) -> None:
    """A view that only flushes has stored nothing."""
    assert http.post("/forget/a").text == "1"

    assert http.get("/count").text == "1"


def test_a_conflict_costs_its_own_transaction_alone(http: FlaskClient) -> None:
    """After an IntegrityError and a rollback, what was committed before is there."""
    http.post("/add/a")

    assert http.post("/twice/a").status_code == 409
    assert http.get("/count").text == "3"


def test_the_engine_s_own_connections_take_part(http: FlaskClient) -> None:
    """`db.engine.begin()` and `db.engine.connect()` see, and are seen by, the session's transactions."""
    assert http.post("/core/a").text == "1 2"
    assert http.get("/count").text == "3"


def test_a_nested_transaction_is_undone_alone(world: World) -> None:
    """`begin_nested` may fail inside a transaction that goes on."""
    world.db.session.add(world.Note(text="outer"))
    with pytest.raises(sa.exc.IntegrityError), world.db.session.begin_nested():
        world.db.session.execute(sa.insert(world.Note).values(text="first"))
    world.db.session.commit()

    assert world.count() == 2


def test_rollback_undoes_what_is_not_committed(world: World) -> None:
    """And nothing else."""
    world.db.session.add(world.Note(text="kept"))
    world.db.session.commit()
    world.db.session.add(world.Note(text="lost"))
    world.db.session.flush()
    world.db.session.rollback()

    assert world.count() == 2


def test_binds_are_isolated_too(world: World) -> None:
    """One commit stores in every database."""
    world.db.session.add_all([world.Note(text="a"), world.Entry(text="a")])
    world.db.session.commit()
    world.db.session.rollback()

    assert (world.count(), world.count(world.Entry)) == (2, 2)


def test_an_open_read_in_the_test_loses_nothing(world: World, http: FlaskClient) -> None:
    """The test has read, the request commits, the test rolls back: the request's row is there."""
    assert world.count() == 1
    http.post("/add/a")
    world.db.session.rollback()

    assert world.count() == 2


def test_a_failed_read_in_the_test_costs_no_request_its_rows(world: World, http: FlaskClient) -> None:
    """Whatever fails in one connection, another one's commit stays."""
    http.post("/add/a")
    with pytest.raises(sa.exc.DBAPIError):
        world.db.session.execute(sa.text("SELECT * FROM no_such_table"))

    http.post("/add/b")
    assert http.get("/count").text == "3"
    world.db.session.rollback()
    assert world.count() == 3


def test_a_failed_transaction_stays_failed_as_postgres_has_it(world: World, http: FlaskClient) -> None:
    """Until it is rolled back, also when another connection was used meanwhile; SQLite goes on."""
    with pytest.raises(sa.exc.DBAPIError):
        world.db.session.execute(sa.text("SELECT * FROM no_such_table"))
    assert http.get("/count").text == "1"

    if world.app.name.startswith("psycopg"):
        with pytest.raises(sa.exc.InternalError, match="current transaction is aborted"):
            world.count()
        world.db.session.rollback()
    assert world.count() == 1


def test_a_commit_after_an_error_is_what_the_database_makes_of_it(world: World) -> None:
    """Postgres rolls the whole transaction back, SQLite keeps what went well."""
    with world.engine().connect() as connection:
        connection.execute(sa.insert(world.Note).values(text="a"))
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(sa.insert(world.Note).values(text="a"))
        connection.commit()

    assert world.count() == (1 if world.app.name.startswith("psycopg") else 2)


def test_changes_that_are_not_committed_are_nobody_else_s(world: World, http: FlaskClient) -> None:
    """Another connection would see them here, and nowhere else: an error with the remedy, not a wrong answer."""
    world.db.session.add(world.Note(text="a"))
    world.db.session.flush()

    with pytest.raises(IsolationError, match=rf"not committed.*{REMEDY}"):
        http.get("/count")
    world.db.session.commit()
    assert http.get("/count").text == "2"


def test_two_that_write_at_once_are_an_error(world: World) -> None:
    """One connection of the database cannot hold two transactions that write."""
    first, second = world.engine().connect(), world.engine().connect()
    first.execute(sa.insert(world.Note).values(text="a"))

    with pytest.raises(IsolationError, match=REMEDY):
        second.execute(sa.insert(world.Note).values(text="b"))
    first.commit()
    second.execute(sa.insert(world.Note).values(text="b"))
    second.commit()
    assert world.count() == 3
    first.close()
    second.close()


def test_an_error_that_the_application_catches_reaches_the_client(world: World) -> None:
    """A view that answers 500 to whatever happens does not hide that there was no isolation."""
    world.app.config["PROPAGATE_EXCEPTIONS"] = False
    world.db.session.add(world.Note(text="a"))
    world.db.session.flush()
    try:
        with pytest.raises(IsolationError, match=REMEDY):
            world.app.test_client().get("/count")
    finally:
        world.app.config["PROPAGATE_EXCEPTIONS"] = None


def test_tables_can_be_made_and_are_gone_afterwards(world: World) -> None:
    """DDL is part of the transaction."""
    with world.engine().begin() as connection:
        connection.execute(sa.text("CREATE TABLE passing (id INTEGER)"))

    assert sa.inspect(world.engine()).has_table("passing")


def test_an_empty_beginning(untouched: World) -> None:
    """With `empty`, no row is there, in no database; what is stored in the test can be counted."""
    with Isolation(untouched.app, empty=True), untouched.app.app_context():
        assert (untouched.count(), untouched.count(untouched.Entry)) == (0, 0)
        untouched.db.session.add(untouched.Note(text="a"))
        untouched.db.session.commit()
        untouched.db.session.rollback()
        assert untouched.count() == 1


@pytest.mark.parametrize(
    "statement",
    ["COMMIT", "rollback", "END", "/* a comment */ COMMIT", "SELECT 1; COMMIT", "ABORT"],
)
def test_statements_that_end_the_transaction_are_refused(world: World, statement: str) -> None:
    """Before they do so."""
    with world.engine().connect() as connection, pytest.raises(IsolationError, match=rf"ends the .*{REMEDY}"):
        connection.exec_driver_sql(statement)


def test_a_thread_that_is_waited_for_takes_part(world: World) -> None:
    """What it has committed is there; two at once that write would be an error."""

    def store() -> None:
        with world.app.app_context():
            world.db.session.add(world.Note(text="from a thread"))
            world.db.session.commit()

    thread = threading.Thread(target=store)
    thread.start()
    thread.join()

    assert world.count() == 2


def test_a_connection_that_outlives_the_test_writes_nowhere(untouched: World) -> None:
    """What the test has left open is dead after it."""
    with Isolation(untouched.app):
        left = untouched.engine().connect()
        left.execute(sa.insert(untouched.Note).values(text="a"))

    with pytest.raises(sa.exc.StatementError, match="after its test"):
        left.execute(sa.insert(untouched.Note).values(text="b"))
    left.close()


def test_one_test_after_another(untouched: World) -> None:
    """An application can be isolated any number of times, and works as before in between."""
    for _ in range(3):
        with Isolation(untouched.app), untouched.app.app_context():
            untouched.db.session.add(untouched.Note(text="again"))
            untouched.db.session.commit()
            assert untouched.count() == 2
        with untouched.app.app_context():
            assert untouched.count() == 1


def test_a_test_that_uses_no_database_opens_no_connection(untouched: World) -> None:
    """The isolation begins with the first connection."""
    pool: Any = untouched.engine().pool
    with Isolation(untouched.app):
        if hasattr(pool, "checkedout"):
            assert pool.checkedout() == 0
