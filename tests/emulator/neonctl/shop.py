"""A project that the command line has made, and a look into its branches past every API."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from tests.emulator.neonctl.command import Neonctl

_ROWS = "CREATE TABLE goods (id int PRIMARY KEY, name text NOT NULL); INSERT INTO goods VALUES (1, 'tea'), (2, 'salt')"


@dataclass(frozen=True)
class Shop:
    """A project with a table of goods in its default branch, `main`.

    Attributes:
        urls: where its branches are, once they have been looked at: an address is for the whole life of a branch.
    """

    neonctl: Neonctl
    id: str
    urls: dict[str, str] = field(default_factory=dict, repr=False)

    def __call__(self, *words: str, **options: Any) -> str:
        """Run a command in the project, and return what it printed."""
        return self.neonctl(f"--project-id={self.id}", *words, **options)

    def json(self, *words: str) -> Any:
        """Run a command in the project, and return what it printed as JSON."""
        return self.neonctl.json(f"--project-id={self.id}", *words)

    def url(self, branch: str, *words: str) -> str:
        """What `neonctl connection-string` prints for a branch."""
        return self("connection-string", branch, *words).strip()

    def query(self, branch: str, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """Run a statement in a branch, as the owner, and return its rows."""
        if branch not in self.urls:
            self.urls[branch] = self.url(branch)
        with psycopg.connect(self.urls[branch], autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def names(self, branch: str) -> list[str]:
        """The goods in a branch."""
        return [name for (name,) in self.query(branch, "SELECT name FROM goods ORDER BY id")]

    def add(self, branch: str, name: str) -> None:
        """Write a row to a branch."""
        self.query(branch, "INSERT INTO goods SELECT max(id) + 1, %s FROM goods", name)

    def moment(self, branch: str) -> tuple[str, str]:
        """The present of a branch, as a time and as a position in its log, both before whatever comes next.

        The command line knows milliseconds, so that the time is a whole one which has passed.
        """
        [(now, lsn)] = self.query(branch, "SELECT clock_timestamp(), pg_current_wal_lsn()::text")
        point = datetime.fromtimestamp((int(now.timestamp() * 1000) + 1) / 1000, UTC)
        while datetime.now(UTC) <= point:
            time.sleep(0.001)
        return point.isoformat(timespec="milliseconds").replace("+00:00", "Z"), lsn


def open_shop(neonctl: Neonctl, name: str) -> Shop:
    """Make a project, and put the goods into it."""
    made = neonctl.json("projects", "create", "--name", name)
    with psycopg.connect(made["connection_uris"][0]["connection_uri"], autocommit=True) as connection:
        connection.execute(_ROWS.encode())
    return Shop(neonctl, made["project"]["id"])
