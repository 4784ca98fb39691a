"""What tables hold, told so that two moments can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.branches.worlds import SQLITE
from tests.rehearsal.filled import fill, run

from flask_branches.rehearsal.rows import digest, lost

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

on_postgres = pytest.mark.skipif(SQLITE, reason="a rule of Postgres")
on_sqlite = pytest.mark.skipif(not SQLITE, reason="a rule of SQLite")


NOTE = "note" if SQLITE else "public.note"


def _lost(connection: Connection, *statements: str) -> tuple[str, ...]:
    before = digest(connection, [NOTE])
    run(connection, *statements)
    return lost(before, digest(connection, [NOTE]))


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE note SET id = id"], []),
        (["ALTER TABLE note ADD COLUMN more INTEGER"], []),
        (["DELETE FROM note WHERE id <= 12"], [": 12 rows"]),
        (["DELETE FROM note WHERE id = 1"], [": 1 row"]),
        (["INSERT INTO note (id, text) VALUES (0, 'more')"], [": 1 row too many"]),
        (["DELETE FROM note", "ALTER TABLE note DROP COLUMN stars"], [": 100 rows"]),
        (["ALTER TABLE note DROP COLUMN stars"], [".stars: 100 values"]),
        (["UPDATE note SET stars = NULL WHERE stars > 2"], [".stars: 40 values"]),
        (
            ["UPDATE note SET stars = NULL WHERE id = 1", "DELETE FROM note WHERE id = 2"],
            [": 1 row", ".stars: 2 values"],
        ),
        (["UPDATE note SET blank = id"], []),
        (["UPDATE note SET text = 'Note 1' WHERE id = 1"], [".text: values have changed"]),
        (["UPDATE note SET stars = 4 - stars"], [": values have changed places"]),
        (["DROP TABLE note"], [": 100 rows"]),
    ],
)
def test_what_is_lost_is_named(database: Connection, statements: list[str], said: list[str]) -> None:
    """Rows, values, and values that are others now; not what has come."""
    fill(database)
    run(database, "ALTER TABLE note ADD COLUMN blank INTEGER")

    assert list(_lost(database, *statements)) == [f"{NOTE}{each}" for each in said]


def test_digests_know_no_order(database: Connection) -> None:
    """Of rows and columns neither: a table made anew holds the same."""
    fill(database)
    assert not _lost(
        database,
        "ALTER TABLE note RENAME TO old",
        "CREATE TABLE note (stars INTEGER, id INTEGER PRIMARY KEY, text VARCHAR(100))",
        "INSERT INTO note SELECT stars, id, text FROM old ORDER BY id DESC",
        "DROP TABLE old",
    )


def test_of_a_table_that_is_too_large_nothing_is_said(database: Connection) -> None:
    """It is not read; the smaller ones are."""
    fill(database, rows=3_000)
    fill(database, "small")
    run(database, "ANALYZE")
    small = NOTE.replace("note", "small")

    before = digest(database, [NOTE, small], affordable=1_000)
    run(database, "DELETE FROM note", "DELETE FROM small")

    assert before[NOTE] is None
    assert lost(before, digest(database, [NOTE, small])) == (f"{small}: 100 rows",)


@on_postgres
def test_whatever_has_a_text_is_digested(database: Connection) -> None:
    """Also what cannot be compared or sorted; a table without columns holds rows."""
    run(
        database,
        'CREATE TABLE note (a json, b point, c bytea, d int[], "f%s" timestamptz)',
        "INSERT INTO note VALUES ('{}', '(1,2)', 'x', '{1,2}', now()), (NULL, NULL, NULL, NULL, NULL)",
        "CREATE TABLE bare ()",
        "INSERT INTO bare DEFAULT VALUES",
    )

    assert _lost(database, "UPDATE note SET b = '(1,3)' WHERE c = 'x'") == ("public.note.b: values have changed",)
    assert _lost(database, 'UPDATE note SET "f%s" = NULL') == ('public.note."f%s": 1 value',)
    bare = digest(database, ["public.bare"])["public.bare"]
    assert bare is not None
    assert bare.rows == 1


@on_sqlite
@pytest.mark.parametrize(
    ("before", "after"), [("CAST(x'ff' AS TEXT)", "CAST(x'fe' AS TEXT)"), ("1", "'1'"), ("-1", "-2"), ("1", "1.0")]
)
def test_whatever_sqlite_takes_is_digested(database: Connection, before: str, after: str) -> None:
    """Text that is no UTF-8, numbers beside texts, generated columns; the connection reads as before then."""
    run(
        database,
        "CREATE TABLE note (id INTEGER PRIMARY KEY, held, same AS (held))",
        f"INSERT INTO note (held) VALUES ({before})",  # noqa: S608  a literal of this test's
    )

    changed = ("note.held: values have changed", "note.same: values have changed")
    assert _lost(database, f"UPDATE note SET held = {after}") == changed  # noqa: S608  the same
    driver: Any = database.connection.dbapi_connection
    assert driver.text_factory is str
