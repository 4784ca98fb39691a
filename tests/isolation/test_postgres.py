"""Postgres' own ways with transactions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_branches import IsolationError

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from tests.isolation.conftest import World

POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"

pytestmark = pytest.mark.skipif(not POSTGRES, reason="rules of Postgres")

REMEDY = 'isolation="branch"'


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SET LOCAL work_mem = '8MB'", "until the test's end"),
        ("SELECT set_config('work_mem', '8MB', true)", "until the test's end"),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "until the test's end"),
        ("LISTEN news", "never comes"),
        ("NOTIFY news", "never comes"),
        ("SELECT pg_notify('news', '')", "never comes"),
        ("CREATE INDEX CONCURRENTLY i ON note (text)", "cannot run in a transaction"),
        ("VACUUM note", "cannot run in a transaction"),
        ("PREPARE TRANSACTION 'a'", "ends the transaction"),
        ("BEGIN", "ends the transaction"),
    ],
)
def test_what_a_rolled_back_test_cannot_have_is_named(world: World, statement: str, why: str) -> None:
    """Each with its reason and the remedy; the test can go on."""
    with world.engine().connect() as connection:
        with pytest.raises(IsolationError, match=f"{why}.*{REMEDY}"):
            connection.exec_driver_sql(statement)
        connection.rollback()
        assert connection.scalar(sa.select(sa.func.count(world.Note.id))) == 1


def test_two_phases_are_refused(world: World) -> None:
    """They would end the transaction."""
    with world.engine().connect() as connection, pytest.raises(IsolationError, match=REMEDY):
        connection.begin_twophase()


def test_deferred_constraints_are_looked_at_when_a_transaction_commits(world: World) -> None:
    """They fire with the commit that would fire them, are deferred again, and spare what was committed before."""
    engine = world.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE a (id int PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
        connection.exec_driver_sql("INSERT INTO a VALUES (1)")
    for _ in range(2):
        with engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO b VALUES (7)")
            with pytest.raises(sa.exc.IntegrityError):
                connection.commit()
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO b VALUES (8)")
        connection.exec_driver_sql("INSERT INTO a VALUES (8)")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM a, b").scalar() == 2


def test_a_deferred_trigger_s_work_is_kept(world: World) -> None:
    """What it writes at the commit is there for the next reader."""
    engine = world.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE seen (n int)")
        connection.exec_driver_sql(
            "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO seen VALUES (1); RETURN NULL; END $$"
        )
        connection.exec_driver_sql(
            "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON note DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION see()"
        )
    for text in ("a", "b"):
        with engine.begin() as connection:
            connection.execute(sa.insert(world.Note).values(text=text))
            assert connection.exec_driver_sql("SELECT count(*) FROM seen").scalar() == {"a": 0, "b": 1}[text]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM seen").scalar() == 2


def test_rows_can_be_copied(world: World) -> None:
    """`COPY` is a change like every other, with each driver's words for it."""
    import io

    raw: Any = world.engine().raw_connection()
    with raw.cursor() as cursor:
        if world.kind == "psycopg":
            with cursor.copy("COPY note (text) FROM STDIN") as copy:
                copy.write_row(("copied",))
        else:
            cursor.copy_expert("COPY note (text) FROM STDIN", io.StringIO("copied\n"))
    raw.commit()
    raw.close()

    assert world.count() == 2


def test_many_rows_are_streamed(world: World) -> None:
    """A server-side cursor reads in parts."""
    world.db.session.add_all([world.Note(text=str(number)) for number in range(50)])
    world.db.session.commit()

    found = world.db.session.scalars(sa.select(world.Note.id).execution_options(yield_per=10))
    assert len(list(found)) == 51


def test_a_function_that_may_write_counts_as_a_change(world: World, http: FlaskClient) -> None:
    """Nobody can tell from outside; where two connections overlap that is an error, never a lost row."""
    with world.engine().begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION store() RETURNS void LANGUAGE sql AS $$ INSERT INTO note (text) VALUES ('stored') $$"
        )
    world.db.session.execute(sa.text("SELECT store()"))

    with pytest.raises(IsolationError, match=REMEDY):
        http.get("/count")
    world.db.session.commit()
    assert http.get("/count").text == "2"
