"""A Postgres of the application's own: started when an engine first connects, stopped when its last user is gone.

An application on SQLite imports this too, so psycopg comes when there is something to connect to.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa

import local_postgres
from flask_branches.errors import DatabaseFailed, NoServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.engine import Dialect, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry


def url(database: str) -> sa.URL:
    """The URL of a database of that name on a server that is still to be started.

    Raises:
        NoServer: where this machine has no Postgres to start.
    """
    try:
        local_postgres.find_binaries()
    except local_postgres.LocalPostgresError as error:
        raise NoServer(str(error)) from None
    return sa.URL.create("postgresql+psycopg", username="postgres", database=database)


def serve(engine: Engine, folder: Path) -> None:
    """Let an engine made with :func:`url` reach a server of its own.

    Args:
        engine: not connected yet; its database is created where it is missing. It uses the server until it is
            disposed of or its process ends, however that ends.
        folder: where the server's data is kept. Processes that name one folder share one server.
    """
    server = _servers[engine] = _Server(folder, engine.url)

    @sa.event.listens_for(engine, "do_connect")
    def connect(
        _dialect: Dialect, _entry: ConnectionPoolEntry, _args: tuple[Any, ...], parameters: dict[str, Any]
    ) -> DBAPIConnection | None:
        if engine.url == server.url:  # and not a branch, for the time of a test
            parameters.update(server.address())
        return None

    @sa.event.listens_for(engine, "engine_disposed")
    def disposed(_engine: Engine) -> None:
        server.release()


@contextmanager
def throwaway() -> Iterator[sa.URL]:
    """A new server for the time of a block, fast and not durable; gone when this process is, however that ends.

    Raises:
        NoServer: where this machine has no Postgres to start.
    """
    try:
        lease = local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True)
    except local_postgres.LocalPostgresError as error:
        raise NoServer(str(error)) from None
    with lease:
        address = lease.cluster.address
        query = {"host": address.host, "port": str(address.port)}
        yield sa.URL.create("postgresql+psycopg", username=address.user, database=address.user, query=query)


def is_served(engine: Engine) -> bool:
    """Whether an engine has a server of its own."""
    return engine in _servers


def reachable(engine: Engine) -> sa.URL:
    """An engine's URL, completed with the place of its own server, which is started; others are as they are.

    Raises:
        DatabaseFailed: where the server does not start.
    """
    server = _servers.get(engine)
    if server is None:
        return engine.url
    import psycopg

    try:
        address = server.address()
    except psycopg.OperationalError as error:
        raise DatabaseFailed(str(error)) from error
    return server.url.update_query_dict({"host": str(address["host"]), "port": str(address["port"])})


class _Server:
    """This process's share in the server; the kernel gives it back when the process ends, however it ends."""

    def __init__(self, folder: Path, url: sa.URL) -> None:
        self.url = url
        self._folder = folder
        self._database = str(url.database)
        self._lock = threading.Lock()
        self._lease: local_postgres.Lease | None = None

    def address(self) -> dict[str, Any]:
        """Where to connect, as psycopg's keywords.

        Raises:
            psycopg.OperationalError: where the server does not start: to its user it is a database out of reach.
        """
        import psycopg

        with self._lock:
            try:
                if self._lease is not None and not self._lease.cluster.is_running():
                    # Killed, or stopped by hand, and perhaps deleted, its keeper with it: begun anew, as at first.
                    self._lease.release()
                    self._lease = None
                if self._lease is None:
                    self._lease = self._begin()
            except local_postgres.LocalPostgresError as error:
                raise psycopg.OperationalError(str(error)) from error
            return self._lease.cluster.address.parameters(self._database)

    def release(self) -> None:
        """Give the share back; the next :meth:`address` takes one again."""
        with self._lock:
            lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    def _begin(self) -> local_postgres.Lease:
        lease = local_postgres.lease(self._folder)
        try:
            self._create_database(lease)
        except BaseException:
            lease.release()
            raise
        return lease

    def _create_database(self, lease: local_postgres.Lease) -> None:
        import psycopg
        from psycopg import sql
        from psycopg.errors import DuplicateDatabase, UniqueViolation

        with psycopg.connect(lease.cluster.address.conninfo(), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self._database]).fetchone()
            if known is None:
                try:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))
                except (DuplicateDatabase, UniqueViolation):
                    return  # another process was faster


_servers: WeakKeyDictionary[Engine, _Server] = WeakKeyDictionary()
