"""Postgres' own rules: names, drivers, and which way a clone takes."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import POSTGRES

from flask_branches import Branch, BranchExists, configured, urls
from flask_branches.backends import postgres_clone as clone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    NewDatabase = Callable[..., sa.URL]

pytestmark = pytest.mark.skipif(not POSTGRES, reason="rules of Postgres")


@pytest.mark.parametrize(
    "name", ['weird "name"; drop', "100%s", "Größe, 大きさ", "x" * 63, "ä" * 31, "a:b/c?d@e", "it's", "postgres", "\\"]
)
def test_a_database_may_be_called_anything(
    make_world: MakeWorld, new_database: NewDatabase, at: At, server: sa.URL, name: str
) -> None:
    """Its branches can be made, read, reset, copied and deleted, and are never another database's."""
    if "?" in name and sa.__version__ < "2.1":
        pytest.skip("SQLAlchemy 2.0 cannot write it in a URL")
    world = make_world(url=server if name == "postgres" else new_database(name))

    branch = world.branches.create('it\'s 50% "mine"')
    at(branch).add("third")
    child = world.branches.create("child", parent=branch.name, data="empty")

    assert at(branch).texts() == ["first", "second", "third"]
    assert at(child).texts() == []
    assert world.branches.diff("child") == ""
    assert at(world.branches.reset(branch.name)).texts() == ["first", "second"]
    world.branches.delete(branch.name)
    assert [each.name for each in world.branches.list()] == ["child"]
    assert world.texts() == ["first", "second"]


def test_a_main_with_a_long_name_leaves_room_for_a_branch_s(make_world: MakeWorld, new_database: NewDatabase) -> None:
    """It is shortened, and told from another one that begins in the same way."""
    first, second = (make_world(url=new_database("x" * 62 + end)) for end in "ab")

    with first.app.app_context():
        assert first.backend.longest_name >= 30
        mine = first.branches.create("same")
    theirs = second.branches.create("same")

    assert mine.id != theirs.id
    assert [each.id for each in second.branches.list()] == [theirs.id]


def test_a_name_that_another_database_has_is_taken(make_world: MakeWorld, new_database: NewDatabase) -> None:
    """It is no branch, and the message says so."""
    world = make_world(url=new_database("a"))
    new_database("a__b")

    with pytest.raises(BranchExists, match=r"^There is a database 'a__b', and it is no branch: choose another name\.$"):
        world.branches.create("b")


@contextmanager
def _statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "CREATE DATABASE" in statement or "file_copy_method" in statement:
            seen.append(re.sub(r'"[^"]*"', "x", statement))

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)


@pytest.mark.parametrize("kind", ["embedded"])
def test_a_small_database_goes_through_the_log(make_world: MakeWorld, kind: str, monkeypatch: Any) -> None:
    """Where files are flushed that is faster; a large one is copied file by file, whose checkpoints it outweighs."""
    world = make_world(kind)
    with _statements() as seen:
        world.branches.create("small")
        monkeypatch.setattr(clone, "_COPIED_FROM", 2**20)
        world.branches.create("large")

    assert "STRATEGY WAL_LOG" in seen[0]
    assert "STRATEGY FILE_COPY" in seen[1]


def _version(world: World) -> int:
    with world.db.engine.connect() as connection:
        return int(connection.dialect.server_version_info[0])


def test_where_nothing_is_flushed_files_are_copied(make_world: MakeWorld) -> None:
    """Whatever their size, and in the way that may share blocks."""
    world = make_world("server")
    with _statements() as seen:
        world.branches.create("small")

    assert "STRATEGY FILE_COPY" in seen[-1]
    assert (seen[0] == "SET file_copy_method = clone") is (_version(world) >= 18)


def test_that_blocks_are_shared_is_tried_and_not_assumed(tmp_path: Any) -> None:
    """A folder that cannot be written to, and none at all, count as one without."""
    assert not clone._can_clone(None)
    assert not clone._can_clone(tmp_path / "nowhere")
    assert clone._can_clone(tmp_path) in {True, False}
    assert list(tmp_path.iterdir()) == []


def test_a_materialized_view_holds_what_its_tables_hold(make_world: MakeWorld, at: At) -> None:
    """What was hidden, or taken away, does not live on in it."""
    world = make_world("server", BRANCHES_MASKS={"note.text": "'hidden'"})
    with world.db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE MATERIALIZED VIEW notes AS SELECT id, text FROM note")
        connection.exec_driver_sql("CREATE MATERIALIZED VIEW notes_again AS SELECT id, text FROM notes")
        connection.exec_driver_sql("CREATE MATERIALIZED VIEW later AS SELECT text FROM note WITH NO DATA")

    masked, empty = world.branches.create("masked"), world.branches.create("empty one", data="empty")

    assert at(masked).texts("notes_again") == ["hidden", "hidden"]
    assert at(empty).texts("notes_again") == []


def test_without_data_every_schema_is_emptied(make_world: MakeWorld, at: At) -> None:
    """Partitions and foreign keys too, whatever tables are called; sequences begin anew."""
    world = make_world("server")
    with world.db.engine.begin() as connection:
        for statement in (
            "CREATE SCHEMA other",
            'CREATE TABLE other."100% of %s" (id int GENERATED ALWAYS AS IDENTITY, note int REFERENCES note)',
            'INSERT INTO other."100% of %s" (note) SELECT id FROM note',
            "CREATE TABLE part (id int, text text) PARTITION BY RANGE (id)",
            "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (10)",
            "INSERT INTO part VALUES (1, 'a')",
        ):
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    there = at(world.branches.create(data="empty"))

    assert there.texts() == there.texts("part") == there.run('SELECT * FROM other."100% of %s"') == []
    there.add("new")
    there.run('INSERT INTO other."100% of %s" (note) VALUES (1)')
    assert there.run('SELECT id FROM other."100% of %s"') == [(1,)]


@pytest.mark.parametrize(
    "options",
    [
        "ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'POSIX' TEMPLATE template0",
        "ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C' TEMPLATE template0",
    ],
)
def test_what_begins_empty_encodes_and_sorts_as_main_does(
    make_world: MakeWorld, new_database: NewDatabase, admin: Client, options: str
) -> None:
    """Or what passes there would fail here."""
    if "builtin" in options and admin.run("SELECT current_setting('server_version_num')::int < 170000") == [(True,)]:
        pytest.skip("the server knows no such locale")
    world = make_world(url=new_database("sorted", options), fill=False)

    branch = world.branches.create(parent="empty")

    rows = admin.run(
        "SELECT datname, encoding, datcollate, datctype, to_jsonb(d) -> 'datlocprovider', to_jsonb(d) -> 'datlocale'"
        " FROM pg_database d"
    )
    found = {name: rest for name, *rest in rows}
    assert found[branch.id] == found["sorted"] != found["postgres"]


@pytest.mark.parametrize("driver", ["psycopg2"])
def test_another_driver_will_do(make_world: MakeWorld, new_database: NewDatabase, at: At, driver: str) -> None:
    """Everything that branches are made of works with it, percent signs included."""
    pytest.importorskip(driver)
    url = new_database("100% other").set(drivername=f"postgresql+{driver}")
    world = make_world(url=url, BRANCHES_MASKS={"note.text": "CASE WHEN text LIKE 'f%' THEN '100%' ELSE text END"})

    branch = world.branches.create("50% mine", expires_in="1h")
    child = world.branches.create("child", parent=branch.name, data="empty")

    assert branch.url.startswith(f"postgresql+{driver}:")
    assert at(branch).texts() == ["100%", "second"]
    assert at(child).texts() == []
    assert world.branches.diff("child") == ""
    world.branches.reset(branch.name)
    with world.branches.databases.run_alive("x"):
        assert world.backend.is_held("run x")
    with pytest.raises(BranchExists, match="'child'"):
        world.branches.create("child")
    world.branches.delete("child")
    assert world.backend.vouch(sa.make_url(branch.url)) is not None
    assert [each.name for each in world.branches.list()] == [branch.name]


def test_a_database_that_no_url_names_is_libpq_s(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGDATABASE goes before the user's name."""
    named = sa.URL.create(one.main.drivername, one.main.username, query=one.main.query)
    assert urls.database(named) == one.main.username

    monkeypatch.setenv("PGDATABASE", str(one.main.database))

    assert one.backend.is_main(named)
    assert configured.backend_for(named).main.database == one.main.database
