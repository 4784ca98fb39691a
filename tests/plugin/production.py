"""Databases that the applications of the projects are made for, full of rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.plugin.projects import PASSWORD


class Production:
    """An application's own databases, full of rows, and what is in them."""

    def __init__(self, url: str, audit_url: str) -> None:
        self.url = url
        self.audit_url = audit_url

    def content(self) -> Any:
        """Whatever changes with a write."""
        if self.url.startswith("sqlite"):
            return [Path(str(sa.make_url(url).database)).read_bytes() for url in (self.url, self.audit_url)]
        return [_counted(url) for url in (self.url, self.audit_url)]


_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def _counted(url: str) -> list[Any]:
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        end = time.monotonic() + 60
        while connection.scalar(sa.text(_OTHERS)):  # a session may tell only in its end what it has written
            assert time.monotonic() < end, "somebody stays connected"
            time.sleep(0.01)
        tables = sorted(sa.inspect(connection).get_table_names())
        counts = [(name, connection.scalar(sa.text(f"SELECT count(*) FROM {name}"))) for name in tables]  # noqa: S608
        written = connection.execute(
            sa.text("SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del) FROM pg_stat_user_tables")
        ).one()
    return [counts, tuple(written)]


ROWS = 1000


def fill(url: str, table: str, column: str) -> None:
    """Make a table as the shop's first revision has it, with rows, and say so to Alembic."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        integer = "INTEGER PRIMARY KEY" if url.startswith("sqlite") else "SERIAL PRIMARY KEY"
        connection.execute(sa.text(f"CREATE TABLE {table} (id {integer}, {column} VARCHAR(80) NOT NULL UNIQUE)"))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('0001')"))
        connection.execute(
            sa.text(f"INSERT INTO {table} ({column}) VALUES (:text)"),  # noqa: S608
            [{"text": f"row {number}"} for number in range(ROWS)],
        )
    engine.dispose()


class Databases:
    """Databases of one test on the session's server."""

    def __init__(self, server: sa.URL) -> None:
        self._server = server
        self._made: list[str] = []

    def make(self, name: str) -> str:
        """A new database; gives its URL, which has a password."""
        self._run(f'CREATE DATABASE "{name}"')
        self._made.append(name)
        url = self._server.set(database=name, username="tester", password=PASSWORD)
        return url.render_as_string(hide_password=False)

    def names(self) -> list[str]:
        """Every database of the server that it did not come with."""
        engine = sa.create_engine(self._server, poolclass=sa.NullPool)
        with engine.connect() as connection:
            found = connection.execute(sa.text("SELECT datname FROM pg_database WHERE NOT datistemplate")).scalars()
            return sorted(name for name in found if name not in {"postgres", *self._made})

    def drop_all(self) -> None:
        """Leave the server as it was."""
        for name in (*self.names(), *self._made):
            self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        engine = sa.create_engine(self._server, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)


def add(url: str, table: str, column: str, text: str) -> None:
    """Store one more row."""
    _change(url, f"INSERT INTO {table} ({column}) VALUES ('{text}')")  # noqa: S608


def delete(url: str, table: str, count: int) -> None:
    """Take away the rows with the lowest ids."""
    _change(url, f"DELETE FROM {table} WHERE id <= {count}")  # noqa: S608


def _change(url: str, statement: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
