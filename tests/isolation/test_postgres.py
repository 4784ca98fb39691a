"""Postgres' own ways with transactions."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_branches import IsolationError
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient
    from flask_sqlalchemy import SQLAlchemy
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
        ("SELECT pg_advisory_lock(1)", "locks of a session"),
        ("SELECT pg_try_advisory_lock(1)", "locks of a session"),
        ("CREATE TEMP TABLE a (id int) ON COMMIT DROP", "never comes"),
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


@pytest.mark.parametrize("name", ["lobject", "notifies", "pgconn", "reset"])
def test_what_goes_round_the_transaction_is_refused(world: World, name: str) -> None:
    """By its name, with the remedy."""
    connection: Any = world.engine().raw_connection().driver_connection
    with pytest.raises(IsolationError, match=f"own {name} was used.*{REMEDY}"):
        getattr(connection, name)


@pytest.mark.parametrize("name", ["set_autocommit", "set_isolation_level", "set_read_only", "set_deferrable"])
def test_what_would_end_the_transaction_is_refused(world: World, name: str) -> None:
    """Each driver has some of these."""
    connection: Any = world.engine().raw_connection().driver_connection
    with pytest.raises(IsolationError, match=REMEDY):
        getattr(connection, name)(None)


def _texts(world: World, connection: sa.Connection) -> sa.ScalarResult[str]:
    return connection.scalars(sa.select(world.Note.text).order_by(world.Note.id).execution_options(yield_per=2))


def _many(world: World) -> None:
    world.db.session.add_all([world.Note(text=str(number)) for number in range(9)])
    world.db.session.commit()


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("writes", [False, True])
def test_a_server_s_cursor_ends_with_its_transaction(world: World, end: str, writes: bool) -> None:
    """A loop that commits reads no further: it would not without isolation; rolled back, its connection goes on."""
    _many(world)
    with world.engine().connect() as connection:
        if writes:
            connection.execute(sa.insert(world.Note).values(text="a"))
        rows = _texts(world, connection)
        assert next(rows) == "first"
        getattr(connection, end)()
        with pytest.raises(sa.exc.DBAPIError, match=r"cursor .* does not exist"):
            rows.all()
        connection.exec_driver_sql("DROP TABLE note")  # which an open cursor would forbid
        connection.rollback()
    assert world.count() == 10 + (writes and end == "commit")


def test_a_server_s_cursor_goes_on_where_another_connection_rolls_back(world: World) -> None:
    """And commits: its rows are those of its beginning."""
    _many(world)
    with world.engine().connect() as reader, world.engine().connect() as writer:
        rows = _texts(world, reader)
        assert next(rows) == "first"
        for number, end in enumerate(("rollback", "commit", "rollback")):
            writer.execute(sa.insert(world.Note).values(text=f"other {number}"))
            getattr(writer, end)()
        assert len(rows.all()) == 9
    assert world.count() == 11


def test_a_cursor_that_is_held_outlives_a_commit(world: World) -> None:
    """It was declared so; closed, nothing of it stays behind."""
    raw, other = (world.engine().raw_connection() for _ in range(2))
    cursor: Any = raw.cursor("held", withhold=True)
    cursor.execute("SELECT n FROM generate_series(1, 5) AS a(n)")
    assert cursor.fetchone() == (1,)
    raw.commit()
    changing = other.cursor()
    changing.execute("INSERT INTO note (text) VALUES ('lost')")
    other.rollback()
    assert cursor.fetchmany(2) == [(2,), (3,)]
    cursor.close()
    changing.execute("SELECT count(*) FROM pg_cursors")
    assert changing.fetchone() == (0,)
    for each in (other, raw):
        each.close()


def test_a_read_that_fails_costs_no_other_connection_its_rows(world: World) -> None:
    """Not the one that writes meanwhile, and not the one that writes next."""
    fails = sa.text("SELECT 1 / (3 - n) FROM generate_series(1, 9) AS a(n)").execution_options(yield_per=1)
    with world.engine().connect() as reader, world.engine().connect() as writer:
        rows = reader.scalars(fails)
        writer.execute(sa.insert(world.Note).values(text="kept"))
        with pytest.raises(IsolationError, match="not committed"):
            rows.all()
        writer.commit()
        rows = reader.scalars(fails)
        with pytest.raises(sa.exc.DataError, match="division by zero"):
            rows.all()
        writer.execute(sa.insert(world.Note).values(text="kept, too"))
        writer.commit()
    assert world.count() == 3


def test_a_driver_s_cursor_of_the_server_s_is_read_row_by_row(world: World) -> None:
    """With `for`, and closed: nothing of it stays behind."""
    raw: Any = world.engine().raw_connection()
    with raw.cursor("mine") as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 5) AS a(n)")
        assert [row[0] for row in cursor] == [1, 2, 3, 4, 5]
    with raw.cursor("mine") as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    raw.close()


def test_a_copy_that_fails_while_it_is_read_costs_its_own_transaction_alone(world: World) -> None:
    """Though no statement has failed: rows are handed out later."""
    if world.kind == "psycopg2":
        return  # its copies are statements
    raw: Any = world.engine().raw_connection()
    copied = "COPY (SELECT 1 / (3 - n) FROM generate_series(1, 9) AS a(n)) TO STDOUT"
    with pytest.raises(Exception, match="division by zero"), raw.cursor() as cursor, cursor.copy(copied) as copy:
        list(copy)
    assert world.count() == 1
    raw.close()


def test_backslashes_of_long_ago_may_hide_a_change(untouched: World, another: Callable[..., SQLAlchemy]) -> None:
    """Where a server reads them in every text, a statement that has some counts as one."""
    db: Any = another(connect_args={"options": "-c standard_conforming_strings=off -c escape_string_warning=off"})
    with Isolation(db.app):
        with db.engine.begin() as connection:
            connection.exec_driver_sql(r"SELECT 'it\'s'; INSERT INTO note (text) VALUES ('kept') --'")
        with db.engine.connect() as connection:
            connection.execute(sa.insert(untouched.Note).values(text="lost"))
            connection.rollback()
            assert connection.scalar(sa.select(sa.func.count(untouched.Note.id))) == 2


def test_a_bind_has_the_rights_of_its_own_role(untouched: World, another: Callable[..., SQLAlchemy]) -> None:
    """It does not write as whoever else is led to the same database."""
    name = f"reader_{untouched.kind}"
    with untouched.engine().begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
        connection.exec_driver_sql(f"GRANT SELECT ON note TO {name}")
    try:
        db: Any = another(binds={"reader": untouched.engine().url.set(username=name)})
        with Isolation(db.app), db.engines["reader"].connect() as connection:
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                connection.execute(sa.insert(untouched.Note).values(text="a"))
            connection.rollback()
            assert connection.scalar(sa.select(sa.func.count(untouched.Note.id))) == 1
        with Isolation(db.app), db.engine.begin() as connection:
            connection.execute(sa.insert(untouched.Note).values(text="a"))
        db.engines["reader"].dispose()
    finally:
        with untouched.engine().begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {name}")
            connection.exec_driver_sql(f"DROP ROLE {name}")


def test_a_server_s_cursor_that_could_not_be_opened_is_closed(world: World) -> None:
    """Its driver warns of one that is not."""
    if world.kind != "psycopg":
        pytest.skip("psycopg2 does not warn")
    with pytest.raises(sa.exc.ProgrammingError):
        world.db.session.execute(sa.text("SELECT nothing"), execution_options={"stream_results": True})
    world.db.session.remove()
    gc.collect()
