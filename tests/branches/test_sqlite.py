"""SQLite's own rules: journals and writers, and what is in a file beside its rows."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.branches.worlds import SQLITE, bytes_of

from flask_branches import (
    Branch,
    DatabaseInUse,
)
from flask_branches.backends import sqlite_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, Program, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    Start = Callable[..., Program]

pytestmark = pytest.mark.skipif(not SQLITE, reason="rules of SQLite")

_WRITER = """if True:
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
    number = 0
    while True:
        number += 1
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO one (n) VALUES (?)", [number])
        connection.execute("INSERT INTO other (n) VALUES (?)", [number])
        connection.execute("COMMIT")
        if number == 1:
            print("writing", flush=True)
"""
_DIER = """if True:
    import os, signal, sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("PRAGMA cache_size = 2")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE note SET text = 'half written'")
    connection.execute("CREATE TABLE filler (text)")
    connection.execute("INSERT INTO filler WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 2000)"
                       " SELECT hex(randomblob(200)) FROM n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal", "off"])
@pytest.mark.parametrize("masks", [{}, {"note.text": "upper(text)"}])
def test_a_branch_holds_what_a_journal_of_whatever_mode_holds(
    make_world: MakeWorld, at: At, mode: str, masks: dict[str, str]
) -> None:
    """Also what is in the log alone, while its writer is connected; the branch has the parent's mode where it lasts."""
    world = make_world("file", BRANCHES_MASKS=masks)
    with closing(sqlite3.connect(world.file)) as writer:
        writer.execute(f"PRAGMA journal_mode = {mode}")
        writer.execute("INSERT INTO note (text) VALUES ('third')")
        writer.commit()

        branch = world.branches.create("mine")

        expected = ["first", "second", "third"]
        assert at(branch).texts() == [text.upper() if masks else text for text in expected]
        assert at(branch).run("PRAGMA journal_mode") == [("wal" if mode == "wal" else "delete",)]
        writer.execute("INSERT INTO note (text) VALUES ('fourth')")
        writer.commit()
        assert len(at(world.branches.reset("mine")).texts()) == 4
    assert world.texts() == [*expected, "fourth"]


def test_what_a_writer_that_died_has_half_written_is_rolled_back(file: World, start: Start, at: At) -> None:
    """The journal that it left tells what was there before."""
    process = start(file, "-c", _DIER, str(file.file))
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    assert file.file.with_name(f"{file.file.name}-journal").stat().st_size > 0
    assert b"half written" in file.file.read_bytes()

    assert at(file.branches.create()).texts() == ["first", "second"]
    assert file.texts() == ["first", "second"]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_parent_that_is_being_written_to_is_copied_as_of_one_moment(
    file: World, start: Start, at: At, mode: str
) -> None:
    """No transaction is ever seen in part, and each copy is later than the one before."""
    with closing(sqlite3.connect(file.file)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE one (n INTEGER)")
        connection.execute("CREATE TABLE other (n INTEGER)")
    process = start(file, "-c", _WRITER, str(file.file))
    process.says("writing")

    before = 0
    for number in range(12):
        branch = file.branches.create(f"branch {number}")
        ((ones, one), (others, other)) = at(branch).run(
            "SELECT count(*), max(n) FROM one UNION ALL SELECT count(*), max(n) FROM other"
        )
        assert ones == others == one == other
        assert one >= before
        before = one
    assert process.poll() is None


def test_a_parent_that_stays_locked_is_an_error_in_the_end(
    file: World, monkeypatch: pytest.MonkeyPatch, at: At
) -> None:
    """It says for how long somebody was waited for; before that it is waited for him."""
    monkeypatch.setattr(sqlite_files, "WAIT_SECONDS", 0.3)
    with closing(sqlite3.connect(file.file)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            DatabaseInUse, match=r"^The parent 'main' has been locked by a writer for 0 s: let it finish"
        ):
            file.branches.create("mine")
        assert file.branches.databases.sweep(dry_run=True) == []
        connection.rollback()
    assert at(file.branches.create("mine")).texts() == ["first", "second"]


def test_a_branch_that_somebody_reads_is_not_reset_under_him(file: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has it open without reading sees the parent's data with his next transaction."""
    monkeypatch.setattr(sqlite_files, "WAIT_SECONDS", 0.3)
    branch = file.branches.create("mine")
    file.add("third")
    with closing(sqlite3.connect(branch.id)) as reader:
        cursor = reader.execute("SELECT text FROM note")
        assert cursor.fetchone() == ("first",)
        with pytest.raises(DatabaseInUse, match=r"^The branch 'mine' has been locked by a writer for"):
            file.branches.reset("mine")
        assert len(cursor.fetchall()) == 1

        file.branches.reset("mine")
        assert len(reader.execute("SELECT text FROM note").fetchall()) == 3


def test_a_branch_follows_its_parent_to_pages_of_another_size(file: World, at: At) -> None:
    """With a log beside it too, as soon as nobody else has it open; before that it is said what is in the way."""
    with closing(sqlite3.connect(file.file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        branch = file.branches.create("mine")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("VACUUM")
    with closing(sqlite3.connect(branch.id)) as reader:
        reader.execute("SELECT * FROM note").fetchall()
        with pytest.raises(
            DatabaseInUse,
            match=r"^The branch 'mine' is open elsewhere, and has pages of 4096 bytes where .* 8192:",
        ):
            file.branches.reset("mine")
    at(branch).add("mine")

    file.branches.reset("mine")

    assert at(branch).texts() == ["first", "second"]
    assert at(branch).run("PRAGMA page_size") == [(8192,)]


@pytest.mark.parametrize("way", ["masked", "empty"])
def test_what_is_hidden_is_nowhere_in_the_file(make_world: MakeWorld, way: str) -> None:
    """Free pages keep what was deleted and overwritten, in the parent too, and anybody may look into a file."""
    masks = {"note.text": "'hidden'"} if way == "masked" else {}
    world = make_world("file", BRANCHES_MASKS=masks)
    with closing(sqlite3.connect(world.file)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.executemany("INSERT INTO note (text) VALUES (?)", [(f"secret {n} " * 40,) for n in range(200)])
        connection.commit()
        connection.execute("DELETE FROM note WHERE id % 2 = 0")
        connection.commit()
    assert b"secret" in world.file.read_bytes()

    branch = world.branches.create(data="empty" if way == "empty" else "copy")

    assert b"secret" not in bytes_of(branch)
    world.branches.reset(branch.name)
    assert b"secret" not in bytes_of(branch)


def test_what_was_not_to_be_changed_is_as_it_was(make_world: MakeWorld, at: At) -> None:
    """A file that masks had rewritten keeps its row ids and its pragmas."""
    world = make_world("file", BRANCHES_MASKS={"note.text": "'hidden'"})
    with closing(sqlite3.connect(world.file)) as connection:
        connection.execute("CREATE TABLE loose (text)")
        connection.executemany("INSERT INTO loose (rowid, text) VALUES (?, ?)", [(7, "a"), (3, "b")])
        connection.execute("PRAGMA user_version = 42")
        connection.execute("PRAGMA application_id = 43")
        connection.commit()

    there = at(world.branches.create())

    assert there.run("SELECT rowid, text FROM loose ORDER BY rowid") == [(3, "b"), (7, "a")]
    assert there.run("PRAGMA user_version") == [(42,)]
    assert there.run("PRAGMA application_id") == [(43,)]


def test_without_data_a_log_of_deletions_and_a_search_index_are_empty_too(file: World, at: At) -> None:
    """Triggers do not fire, not even those that forbid a deletion, and are there again; an index can be used."""
    with file.db.engine.begin() as connection:
        for statement in (
            "CREATE TABLE deleted (text)",
            "CREATE TRIGGER log AFTER DELETE ON note BEGIN INSERT INTO deleted VALUES (old.text); END",
            "CREATE TABLE ledger (text)",
            "CREATE TRIGGER forbid BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'never'); END",
            "INSERT INTO ledger VALUES ('kept for ever')",
            "CREATE VIRTUAL TABLE own USING fts5(text)",
            "INSERT INTO own VALUES ('searched')",
            "CREATE VIRTUAL TABLE over USING fts5(text, content='note', content_rowid='id')",
            "INSERT INTO over (over) VALUES ('rebuild')",
            "CREATE TABLE pairs (a INTEGER REFERENCES note, b INTEGER)",
            "INSERT INTO pairs VALUES (1, 1)",
        ):
            connection.exec_driver_sql(statement)

    there = at(file.branches.create(data="empty"))

    for table in ("note", "deleted", "ledger", "own", "pairs"):
        assert there.run(f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608
    assert there.run("SELECT count(*) FROM over WHERE over MATCH 'first'") == [(0,)]
    there.run("INSERT INTO own VALUES ('searched again')")
    assert there.run("SELECT text FROM own WHERE own MATCH 'again'") == [("searched again",)]
    there.run("INSERT INTO ledger VALUES ('new')")
    with pytest.raises(sa.exc.IntegrityError, match="never"):
        there.run("DELETE FROM ledger")


def test_a_session_s_work_in_memory_is_neither_copied_nor_lost(make_world: MakeWorld, at: At) -> None:
    """An open transaction shares the only connection: it has to end first, and goes on meanwhile."""
    world = make_world("memory")
    branch = world.branches.create("before")
    world.db.session.add(world.Note(text="third"))
    world.db.session.flush()

    with pytest.raises(
        DatabaseInUse, match=r"^The parent 'main' has an open transaction, in memory: commit or roll back"
    ):
        world.branches.create("mine")
    assert world.branches.diff("before") == ""
    world.db.session.commit()

    assert at(world.branches.create("mine")).texts() == ["first", "second", "third"]
    assert at(branch).texts() == ["first", "second"]
