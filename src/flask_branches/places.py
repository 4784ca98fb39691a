"""Where a connection really leads, whatever engine it is from and however its URL is written."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_branches import neon_address, urls

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

# Ways to say this machine; a folder of sockets that is none of the usual ones tells servers apart.
_HERE = frozenset({"", "localhost", "127.0.0.1", "::1", "/var/run/postgresql", "/run/postgresql", "/tmp"})  # noqa: S108  sockets; nothing is put there
_PORT = "5432"


@dataclass(frozen=True)
class Place:
    """A database; of a Postgres one, every address that its URL allows."""

    database: str
    hosts: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()

    def may_be(self, other: Place) -> bool:
        """Whether both can be the same."""
        if self.database != other.database or bool(self.hosts) != bool(other.hosts):
            return False
        return not self.hosts or not (self.hosts.isdisjoint(other.hosts) or self.ports.isdisjoint(other.ports))


def of_url(url: sa.URL) -> Place:
    """The place of a URL, which is no in-memory one."""
    if url.get_backend_name() == "sqlite":
        return Place(os.path.realpath(urls.sqlite_file(url)))
    query = url.normalized_query
    hosts = query.get("host") or (url.host or os.environ.get("PGHOST", ""),)
    ports = query.get("port") or (str(url.port or os.environ.get("PGPORT") or _PORT),)
    return Place(urls.database(url), _addresses(hosts) | neon_address.named(url), frozenset(",".join(ports).split(",")))


def of_connection(connection: Any) -> Place | None:  # noqa: ANN401  whatever driver it is from
    """The place of a driver's connection; None in memory, and where a driver does not say."""
    if isinstance(connection, sqlite3.Connection):
        files = {row[1]: row[2] for row in connection.execute("PRAGMA database_list")}
        return Place(os.path.realpath(files["main"])) if files.get("main") else None
    info: Any = getattr(connection, "info", None)  # psycopg and psycopg2
    if not hasattr(info, "dbname"):
        return None
    named = neon_address.named_in(info.host or "", info.options or "")
    return Place(info.dbname, _addresses((info.host,)) | named, frozenset({str(info.port)}))


def _addresses(hosts: Sequence[str]) -> frozenset[str]:
    """The hosts; an endpoint of Neon's has several, and is told by its id."""
    return frozenset(
        "" if host in _HERE else neon_address.endpoint(host) or host for host in ",".join(hosts).split(",")
    )
