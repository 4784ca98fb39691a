"""Tables with rows, for tests of what tables hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def run(connection: Connection, *statements: str) -> None:
    """Run SQL as it stands."""
    for each in statements:
        connection.exec_driver_sql(each, execution_options={"no_parameters": True})


def fill(connection: Connection, table: str = "note", rows: int = 100) -> None:
    """Make a table with rows."""
    numbers = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n"  # noqa: S608  names of this test's
    run(
        connection,
        f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, text VARCHAR(100), stars INTEGER)",
        f"INSERT INTO {table} SELECT i, 'note ' || i, i % 5 FROM ({numbers}) AS numbers",  # noqa: S608  names of this test's
    )
