"""Tables of another database that one of Postgres shows as its own: nothing that is done to a branch goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.worlds import POSTGRES, Client

from flask_branches import Branch, MaskFailed
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa
    from tests.branches.worlds import World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    NewDatabase = Callable[..., sa.URL]

pytestmark = pytest.mark.skipif(not POSTGRES, reason="rules of Postgres")


@pytest.fixture
def elsewhere(new_database: NewDatabase, server: sa.URL, admin: Client) -> tuple[Client, str]:
    """A database with three tables of two rows, and what makes it a foreign server called `away`."""
    if not admin.run("SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw'"):
        pytest.skip("the server comes without postgres_fdw")
    there = Client(new_database("elsewhere").render_as_string(hide_password=False))
    for table in ("alone", "part_2", "below"):
        there.run(f"CREATE TABLE {table} (id int, text text)")
        there.run(f"INSERT INTO {table} VALUES (11, 'real'), (12, 'real')")  # noqa: S608
    options = f"host '{server.query['host']}', port '{server.query['port']}', dbname 'elsewhere'"
    return there, f"CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({options})"


@pytest.fixture
def across(make_world: MakeWorld, elsewhere: tuple[Client, str]) -> Callable[..., World]:
    """Make an application that also sees the other database's tables: alone, as a partition, as one that inherits."""

    def make(**settings: Any) -> World:
        world = make_world("server", **settings)
        with world.db.engine.begin() as connection:
            for statement in (
                "CREATE EXTENSION postgres_fdw",
                elsewhere[1],
                "CREATE USER MAPPING FOR CURRENT_USER SERVER away OPTIONS (user 'postgres')",
                "CREATE FOREIGN TABLE alone (id int, text text) SERVER away",
                "CREATE TABLE part (id int, text text) PARTITION BY RANGE (id)",
                "CREATE FOREIGN TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20) SERVER away",
                "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id)",
                "CREATE TABLE part_1_1 PARTITION OF part_1 FOR VALUES FROM (0) TO (5)",
                "INSERT INTO part VALUES (1, 'near')",
                "CREATE TABLE above (id int, text text)",
                "INSERT INTO above VALUES (1, 'near')",
                "CREATE FOREIGN TABLE below () INHERITS (above) SERVER away",
                "CREATE VIEW seen AS SELECT * FROM alone",
            ):
                connection.exec_driver_sql(statement)
        world.let_go()
        return world

    return make


def _rows(there: Client) -> list[list[str]]:
    return [there.texts(table) for table in ("alone", "part_2", "below")]


def test_what_is_in_another_database_is_not_emptied(
    across: Callable[..., World], elsewhere: tuple[Client, str], at: At
) -> None:
    """Not through a table that has a foreign one below it either; what is here is."""
    branch = across().branches.create(data="empty")

    assert _rows(elsewhere[0]) == [["real", "real"]] * 3
    assert at(branch).run("SELECT count(*) FROM part_1") == at(branch).run("SELECT count(*) FROM ONLY above") == [(0,)]
    assert at(branch).texts() == []


def test_what_is_in_another_database_is_seen_by_a_test_that_begins_empty(across: Callable[..., World]) -> None:
    """To delete it and roll that back would lock it, and could not be rolled back everywhere."""
    world = across()

    with Isolation(world.app, empty=True), world.db.engine.connect() as connection:
        counts = [
            connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()  # noqa: S608
            for table in ("alone", "part_2", "below", "part_1", "ONLY above", "note")
        ]

    assert counts == [2, 2, 2, 0, 0, 0]


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ("alone", r"public\.alone is a foreign table, whose rows are not in the branch"),
        ("part", r"public\.part_2 is a foreign table"),
        ("above", r"public\.below is a foreign table"),
        ("seen", r"public\.seen is a view"),
    ],
)
def test_what_is_in_another_database_is_not_masked(
    across: Callable[..., World], elsewhere: tuple[Client, str], table: str, wrong: str
) -> None:
    """A mask that would write there is refused, and no branch is left."""
    world = across(BRANCHES_MASKS={f"{table}.text": "'hidden'"})

    with pytest.raises(MaskFailed, match=rf"^The mask of {table}\.text failed, and the branch 'mine' .*: {wrong}"):
        world.branches.create("mine")

    assert _rows(elsewhere[0]) == [["real", "real"]] * 3
    assert world.branches.list() == []
