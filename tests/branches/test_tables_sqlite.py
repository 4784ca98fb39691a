"""What tables of SQLite have beside their rows, where they are emptied or masked."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import SQLITE, bytes_of

from flask_branches import Branch, DatabaseFailed, MaskFailed
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]

pytestmark = pytest.mark.skipif(not SQLITE, reason="rules of SQLite")

_OWN = "CREATE VIRTUAL TABLE docs USING {}"
_OF_TWO = {"fts5(text, content UNINDEXED)", "fts3(content=other, note)"}
_OVER = (
    "CREATE TABLE docs_content (id INTEGER PRIMARY KEY, text)",
    "INSERT INTO docs_content VALUES (1, 'secretword')",
)


def _make(world: World, *statements: str) -> None:
    with world.db.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    "module",
    [
        "fts5(content, tokenize = 'porter')",
        "fts5(text, content UNINDEXED)",
        "FTS4(content, tokenize=porter)",
        "fts3(content=other, note)",
        "\"fts5\" /* content=other */ (text, prefix='2 3')",
        "fts5(text, tokenize=\"unicode61 separators ',content='\")",
        "rtree(id, low, high)",
    ],
)
@pytest.mark.parametrize("how", ["branch", "rollback"])
def test_a_virtual_table_with_rows_of_its_own_is_emptied(file: World, module: str, how: str) -> None:
    """Whatever its columns and options are called."""
    row = "1, 1, 2" if "rtree" in module else "'secretword', 'more'" if module in _OF_TWO else "'secretword'"
    _make(file, _OWN.format(module), f"INSERT INTO docs VALUES ({row})")  # noqa: S608

    assert _counts(file, how, "docs") == [0]


def _counts(world: World, how: str, *tables: str) -> list[Any]:
    """How many rows an application finds that begins without data."""
    if how == "rollback":
        with Isolation(world.app, empty=True), world.db.engine.connect() as connection:
            return [connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() for table in tables]  # noqa: S608
    branch = world.branches.create(data="empty")
    assert b"secretword" not in bytes_of(branch)
    engine = sa.create_engine(branch.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() for table in tables]  # noqa: S608


@pytest.mark.parametrize("how", ["branch", "rollback"])
@pytest.mark.parametrize(
    "module", ["fts5(text)", "fts5(text, content='docs_content', content_rowid=id)", "fts4(content=docs_content, text)"]
)
def test_a_table_that_is_called_like_part_of_another_is_emptied(file: World, module: str, how: str) -> None:
    """Only those that a virtual table is really made of are left to it."""
    _make(file, *(_OVER if "docs_content" in module else ()))
    _make(file, _OWN.format(module), "CREATE TABLE docs_tags (tag)", "INSERT INTO docs_tags VALUES ('secretword')")

    assert _counts(file, how, "docs_tags", *(["docs_content"] if "docs_content" in module else [])) in ([0], [0, 0])


def test_what_an_unknown_virtual_table_is_made_of_is_left_to_it(file: World) -> None:
    """Where its module is not there, nobody can know which tables those are."""
    _make(file, "CREATE TABLE odd_parts (x)", "INSERT INTO odd_parts VALUES (1)", "PRAGMA writable_schema = ON")
    _make(
        file,
        "INSERT INTO sqlite_master VALUES ('table', 'odd', 'odd', 0, 'CREATE VIRTUAL TABLE odd USING nobody_s(x)')",
        "PRAGMA writable_schema = OFF",
    )

    assert _counts(file, "branch", "odd_parts") == [1]


@pytest.mark.parametrize(
    ("module", "column"),
    [
        ("fts5(text)", "docs.text"),
        ("fts4(text)", "docs.text"),
        ("fts3(text)", "docs.text"),
        ("fts5(text, content='docs_content', content_rowid=id)", "docs_content.text"),
        ('fts4(content="docs_content", text)', "docs_content.text"),
        ("fts5(text, content='')", "docs_content.text"),
        ("fts4(text, content='')", "docs_content.text"),
    ],
)
def test_no_search_finds_what_is_masked(make_world: MakeWorld, at: At, module: str, column: str) -> None:
    """Nor are the words in the file; one without content of its own, which nothing can be made from, finds nothing."""
    world = make_world("file", BRANCHES_MASKS={column: "'hiddenword'"})
    over = _OVER if "content" in column else ()
    _make(world, *over, _OWN.format(module), "INSERT INTO docs (rowid, text) VALUES (1, 'secretword here')")
    assert at(str(world.main)).run("SELECT count(*) FROM docs WHERE docs MATCH 'secretword'") == [(1,)]

    branch = world.branches.create()

    assert b"secretword" not in bytes_of(branch)
    found = at(branch).run("SELECT count(*) FROM docs WHERE docs MATCH 'hiddenword'")
    assert found == [(0 if "''" in module else 1,)]
    at(branch).run("INSERT INTO docs (rowid, text) VALUES (7, 'more')")
    assert at(branch).run("SELECT rowid FROM docs WHERE docs MATCH 'more'") == [(7,)]


@pytest.mark.parametrize("module", ["fts5(text, content=nowhere)", "fts4(text, content=nowhere)"])
@pytest.mark.parametrize("data", ["copy", "empty"])
def test_a_search_of_a_table_that_is_gone_is_empty(make_world: MakeWorld, at: At, module: str, data: Any) -> None:
    """It stands in nobody's way, and keeps no word."""
    world = make_world("file", BRANCHES_MASKS={"note.text": "'hidden'"})
    _make(world, _OWN.format(module), "INSERT INTO docs (rowid, text) VALUES (1, 'secretword')")

    branch = world.branches.create(data=data)

    assert b"secretword" not in bytes_of(branch)


def test_a_search_that_cannot_be_made_anew_is_named(make_world: MakeWorld) -> None:
    """It would keep what is hidden, and no mask is wrong."""
    world = make_world("file", BRANCHES_MASKS={"note.text": "'hidden'"})
    _make(world, _OWN.format("fts5(title, content=note)"))

    with pytest.raises(DatabaseFailed, match=r"^The search index 'docs' keeps .* anew \(.+\): correct it, or drop"):
        world.branches.create("mine")
    assert world.branches.list() == []


@pytest.mark.parametrize(
    "trigger",
    [
        "AFTER UPDATE ON note BEGIN INSERT INTO audit VALUES (old.text); END",
        "BEFORE UPDATE ON note BEGIN SELECT RAISE(IGNORE); END",
    ],
)
def test_masks_fire_no_trigger(make_world: MakeWorld, at: At, trigger: str) -> None:
    """An audit would keep what is hidden, and whatever forbids changes would keep it from being hidden."""
    world = make_world("file", BRANCHES_MASKS={"note.text": "'hidden'"})
    _make(world, "CREATE TABLE audit (text)", f'CREATE TRIGGER "t %" {trigger}')

    there = at(world.branches.create("mine"))

    assert there.run("SELECT * FROM audit") == []
    assert there.texts() == ["hidden", "hidden"]
    assert world.branches.diff("mine") == ""


def test_a_view_is_not_masked(make_world: MakeWorld) -> None:
    """It holds nothing: the message says what it is."""
    world = make_world("file", BRANCHES_MASKS={"seen.text": "'hidden'"})
    _make(world, "CREATE VIEW seen AS SELECT text FROM note")

    with pytest.raises(MaskFailed, match=r"^The mask of seen\.text failed, .* was deleted: seen is a view\. Correct"):
        world.branches.create("mine")


@pytest.mark.parametrize("data", ["copy", "empty"])
def test_the_planner_keeps_no_samples(make_world: MakeWorld, at: At, data: Any) -> None:
    """Those that SQLite takes where it is built so."""
    world = make_world("file", BRANCHES_MASKS={"note.text": "'hidden'"})
    with sqlite3.connect(world.file) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("CREATE TABLE sqlite_stat4 (tbl, idx, neq, nlt, ndlt, sample)")
        connection.execute("INSERT INTO sqlite_stat4 VALUES ('note', 'x', '1', '1', '1', 'secretword')")
    connection.close()

    branch = world.branches.create(data=data)

    assert b"secretword" not in bytes_of(branch)
