"""What tables hold: counted, estimated, and digested so that what was lost can be named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import SQLITE
from tests.rehearsal.filled import fill, run

from flask_branches.databases import connected
from flask_branches.rehearsal.rows import Counted, columns, count, digest, lost

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa
    from sqlalchemy.engine import Connection
    from tests.branches.worlds import Client

NOTE = "note" if SQLITE else "public.note"
ODD = '"odd ""%s"" name"'
on_postgres = pytest.mark.skipif(SQLITE, reason="a rule of Postgres")
on_sqlite = pytest.mark.skipif(not SQLITE, reason="a rule of SQLite")


def _counted(connection: Connection, affordable: int = 20_000_000) -> dict[str, Counted]:
    return {name: each for name, each in count(connection, affordable).items() if each is not None}


def test_rows_are_counted_by_the_name_that_reports_have(database: Connection) -> None:
    """Quoted where it has to be; the revision's table is none."""
    fill(database)
    fill(database, ODD, 3)
    run(database, "CREATE TABLE alembic_version (version_num VARCHAR(32))")

    odd = ODD if SQLITE else f"public.{ODD}"
    assert count(database) == {NOTE: Counted(100, exact=True), odd: Counted(3, exact=True)}
    assert columns(database) == {NOTE: {"id", "text", "stars"}, odd: {"id", "text", "stars"}}


@pytest.mark.parametrize("analyzed", [True, False])
def test_what_is_too_large_is_estimated(database: Connection, *, analyzed: bool) -> None:
    """All that is read together is affordable, and the smallest tables are read first."""
    if SQLITE and not analyzed:
        pytest.skip("without ANALYZE SQLite estimates nothing, and all is counted")
    fill(database, rows=20_000)
    fill(database, "small", 1_000)
    fill(database, "middle", 2_000)
    if analyzed:
        run(database, "ANALYZE")

    found = {name.removeprefix("public."): each for name, each in _counted(database, 5_000).items()}
    assert found["small"] == Counted(1_000, exact=True)
    assert found["note"].exact is False
    assert found["note"].rows == 20_000 if analyzed else 5_000 < found["note"].rows < 80_000
    if analyzed:
        assert found["middle"] == Counted(2_000, exact=True)
        assert [name for name, each in _counted(database, 2_500).items() if each.exact] == [
            name for name in count(database) if "small" in name
        ]


@on_postgres
def test_an_estimate_follows_what_has_come_since_it_was_made(database: Connection) -> None:
    """As the planner's: the density of then, the size of now."""
    fill(database, rows=10_000)
    run(database, "ANALYZE", "INSERT INTO note SELECT id + 10000, text, stars FROM note")

    assert _counted(database, 1)[NOTE].exact is False
    assert 19_000 < _counted(database, 1)[NOTE].rows < 21_000


@on_postgres
def test_a_partitioned_table_is_one(database: Connection) -> None:
    """With what all its partitions hold, once; what inherits otherwise is a table of its own."""
    run(
        database,
        "CREATE TABLE visit (id int, at date) PARTITION BY RANGE (at)",
        "CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
        "CREATE TABLE visit_2 PARTITION OF visit DEFAULT PARTITION BY LIST (id)",
        "CREATE TABLE visit_2a (at date, gone int, id int)",
        "ALTER TABLE visit_2a DROP COLUMN gone",
        "ALTER TABLE visit_2 ATTACH PARTITION visit_2a DEFAULT",
        "INSERT INTO visit SELECT i, date '2025-06-01' + i FROM generate_series(1, 400) AS i",
        "CREATE TABLE parent (id int)",
        "CREATE TABLE child (more int) INHERITS (parent)",
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO child VALUES (2), (3)",
        "CREATE TEMPORARY TABLE passing (id int)",
    )

    assert count(database) == {
        "public.child": Counted(2, exact=True),
        "public.parent": Counted(1, exact=True),
        "public.visit": Counted(400, exact=True),
    }
    content = digest(database, ["public.visit"])["public.visit"]
    assert content is not None
    assert content.rows == 400
    assert {name: each.number for name, each in content.columns.items()} == {"id": 400, "at": 400}


@on_postgres
def test_foreign_tables_are_not_asked(database: Connection) -> None:
    """Their rows are another database's, which may be out of reach."""
    run(
        database,
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER nowhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1')",
        "CREATE USER MAPPING FOR CURRENT_USER SERVER nowhere",
        "CREATE FOREIGN TABLE far (id int) SERVER nowhere",
        "CREATE TABLE visit (id int) PARTITION BY LIST (id)",
        "CREATE TABLE near PARTITION OF visit FOR VALUES IN (1)",
        "CREATE FOREIGN TABLE gone PARTITION OF visit FOR VALUES IN (2) SERVER nowhere",
        "INSERT INTO visit VALUES (1), (1)",
    )

    assert count(database) == {"public.visit": Counted(2, exact=True)}
    assert digest(database, ["public.visit", "public.far"]).keys() == {"public.visit"}
    run(database, "DROP EXTENSION postgres_fdw CASCADE")


@on_postgres
def test_what_the_role_may_not_read_is_estimated(
    new_database: Callable[..., sa.URL], role: str, at: Callable[[str], Client]
) -> None:
    """Neither a table without rights, nor one whose rows are hidden from it."""
    url = new_database("guarded")
    with connected(url, {}) as connection:
        fill(connection.execution_options(isolation_level="AUTOCOMMIT"))
        fill(connection, "closed")
        run(
            connection,
            "ALTER TABLE note ENABLE ROW LEVEL SECURITY",
            f"GRANT SELECT ON note TO {role}",
            "ANALYZE",
        )
    with connected(url.set(username=role), {}) as connection:
        assert count(connection) == {
            "public.closed": Counted(100, exact=False),
            "public.note": Counted(100, exact=False),
        }
        assert digest(connection, [NOTE]) == {NOTE: None}


@on_postgres
def test_a_schema_that_the_role_may_not_enter_is_passed_over(
    new_database: Callable[..., sa.URL], role: str, at: Callable[[str], Client]
) -> None:
    """The right to read a table of it is none."""
    url = new_database("guarded")
    with connected(url, {}) as connection:
        run(
            connection.execution_options(isolation_level="AUTOCOMMIT"),
            "CREATE SCHEMA audit",
            "CREATE TABLE audit.log (id int)",
            "INSERT INTO audit.log VALUES (1)",
            f"GRANT SELECT ON audit.log TO {role}",
            "ANALYZE",
        )
    with connected(url.set(username=role), {}) as connection:
        assert count(connection) == {"audit.log": Counted(1, exact=False)}
        assert digest(connection, ["audit.log"]) == {"audit.log": None}


def test_a_table_of_very_many_columns_is_counted_alone(database: Connection) -> None:
    """A statement cannot give the digests of all of them."""
    run(
        database,
        f"CREATE TABLE note ({', '.join(f'c{number} INTEGER' for number in range(900))})",
        "INSERT INTO note (c0) VALUES (1)",
    )

    assert count(database) == {NOTE: Counted(1, exact=True)}
    assert digest(database, [NOTE]) == {NOTE: None}


@on_postgres
@pytest.mark.parametrize("inside", [True, False])
def test_a_table_that_refuses_is_passed_over(database: Connection, *, inside: bool) -> None:
    """The others are read; a transaction goes on."""
    run(
        database,
        "CREATE TABLE more (id int)",
        "CREATE FUNCTION refused(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        " $$BEGIN IF $1 IS NULL THEN RETURN 1; END IF; RAISE 'refused'; END$$",
        "CREATE TYPE odd AS (id int)",
        "CREATE FUNCTION odd_text(odd) RETURNS text LANGUAGE sql AS $$SELECT refused(1)::text$$",
        "CREATE CAST (odd AS text) WITH FUNCTION odd_text(odd)",
        "CREATE TABLE note (held odd)",
        "INSERT INTO note VALUES (ROW(1))",
    )
    with connected(database.engine.url, {}) as connection:
        connection.execution_options(isolation_level="READ COMMITTED" if inside else "AUTOCOMMIT")
        found = digest(connection, [NOTE, "public.more"], inside=inside)

        assert found[NOTE] is None
        assert found["public.more"] is not None
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


@on_sqlite
def test_virtual_tables_count_once(database: Connection) -> None:
    """A search that keeps its own rows has them; what it is made of is not counted beside, nor one of other rows."""
    fill(database)
    run(
        database,
        "CREATE VIRTUAL TABLE own USING fts5(text)",
        "INSERT INTO own SELECT text FROM note",
        "CREATE VIRTUAL TABLE search USING fts5(text, content=note)",
    )

    assert count(database) == {"note": Counted(100, exact=True), "own": Counted(100, exact=True)}
    assert columns(database)["own"] == {"text"}
    assert lost(digest(database, ["own"]), digest(database, ["own"])) == ()
