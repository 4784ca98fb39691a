"""A server with a template of the big table, and clones of it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from tests.rehearsal.corpus.application import BEFORE

import local_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rehearsal.corpus.case import Case

_TEMPLATE = "template_of_big"
_FILL = """
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('{revision}');
CREATE TABLE author (id integer PRIMARY KEY, name varchar(50) NOT NULL);
CREATE TABLE big (
    id integer PRIMARY KEY,
    author_id integer,
    title varchar(50) NOT NULL,
    note text,
    stars integer,
    asked_at timestamp NOT NULL
);
INSERT INTO author SELECT n, 'author ' || n FROM generate_series(0, {rows} / 1000) n;
INSERT INTO big SELECT n, n / 1000, 'title ' || n, NULL, n % 5 + 1, '2026-01-01'::timestamp + n * interval '1 second'
    FROM generate_series(1, {rows}) n;
"""


@dataclass(frozen=True)
class Server:
    """Where the clones are."""

    conninfo: str
    version: int
    rows: int
    """How many the big table has."""

    def url(self, database: str) -> str:
        """Where a database is, for SQLAlchemy."""
        known = psycopg.conninfo.conninfo_to_dict(self.conninfo)
        return f"postgresql+psycopg://{known['user']}@/{database}?host={known['host']}&port={known['port']}"

    @contextmanager
    def clone(self, case: Case, name: str) -> Iterator[str]:
        """A database of that name with the big table, and what the case needs."""
        with psycopg.connect(self.conninfo, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY FILE_COPY".encode())
            try:
                if case.setup:
                    with psycopg.connect(self.conninfo, dbname=name, autocommit=True) as connection:
                        connection.execute(case.setup.encode())
                yield self.url(name)
            finally:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def serving(rows: int) -> Iterator[Server]:
    """Run a server whose template has that many rows in its big table."""
    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True) as lease:
        address = lease.cluster.address
        conninfo = psycopg.conninfo.make_conninfo(host=str(address.host), port=address.port, user=address.user)
        with psycopg.connect(conninfo, dbname="postgres", autocommit=True) as admin:
            # The planner's estimates are the same for every clone, and nobody but the migration comes to it.
            admin.execute("ALTER SYSTEM SET autovacuum = off")
            admin.execute("SELECT pg_reload_conf()")
            admin.execute(f"CREATE DATABASE {_TEMPLATE}".encode())
            version = admin.info.server_version // 10_000
        with psycopg.connect(conninfo, dbname=_TEMPLATE, autocommit=True) as connection:
            connection.execute(_FILL.format(rows=rows, revision=BEFORE).encode())
            connection.execute("VACUUM ANALYZE")
        yield Server(psycopg.conninfo.make_conninfo(conninfo, dbname="postgres"), version, rows)
