"""Sessions of a rehearsal's own on the branch, beside the one that migrates."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

from flask_branches import ours, urls
from flask_branches.backends import postgres_errors, sqlite_files
from flask_branches.errors import BranchesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from sqlalchemy.engine import Connection

    from flask_branches.branch import Branch
    from flask_branches.databases import Databases

_CANCEL = (
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)

_WITHOUT_END = (
    "SELECT set_config(name, '0', false) FROM pg_settings"  # not every version has all of them
    " WHERE name IN ('lock_timeout', 'statement_timeout', 'transaction_timeout', 'idle_session_timeout')"
)
# By itself a session waits for no lock to be counted: where another has it, it is counted some seconds later.
# Postgres, `pgstat_report_stat`.
_COUNTED = "SELECT pg_stat_force_next_flush()"


class Grounds:
    """The databases of a branch, and how they are connected to: by sessions in autocommit, closed with the block.

    Args:
        there: the application's databases.
        branch: the one that is rehearsed on.
    """

    def __init__(self, there: Databases, branch: Branch) -> None:
        self.branch = branch
        self._there = there
        self._urls: dict[str | None, str] = {None: branch.url}
        self._urls.update(branch.binds)
        self._connect_args: dict[str | None, Mapping[str, Any]] = {
            key: database.connect_args for database in there.all for key in database.keys
        }
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """For the time of a block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close what was opened."""
        self._open.close()

    def let_go(self) -> None:
        """Close all sessions, the application's too: a command may want to copy the branch."""
        self._open.close()
        for database in self._there.all:
            database.let_go()

    def cancel(self) -> None:
        """End what all other sessions of Postgres do there at this moment."""
        for key in self.keys:
            # Where nobody can connect, there is nothing to end; it is tried again, too.
            with suppress(BranchesError, sa.exc.DBAPIError), self.connected(key) as connection:
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(_CANCEL)

    @contextmanager
    def connected(self, key: str | None) -> Iterator[Connection]:
        """Such a session, for a block.

        Raises:
            DatabaseFailed: where the database is out of reach.
        """
        connection = self.connect(key)
        try:
            yield connection
        finally:
            _close(connection)

    @property
    def keys(self) -> list[str | None]:
        """The bind keys, the default database first."""
        return list(self._urls)

    @property
    def is_sqlite(self) -> bool:
        """Whether the default database is SQLite's."""
        return self.url(None).get_backend_name() == "sqlite"

    def url(self, key: str | None) -> sa.URL:
        """Where one of them is."""
        return urls.parsed(self._urls[key])

    def connect(self, key: str | None, database: str | None = None) -> Connection:
        """A session in autocommit, which no setting of the role ends.

        Args:
            key: which of the application's databases is meant.
            database: another one on the same server, in its place.

        Raises:
            DatabaseFailed: where the database is out of reach.
        """
        url = self.url(key) if database is None else self.url(key).set(database=database)
        is_sqlite = url.get_backend_name() == "sqlite"
        engine = sa.create_engine(
            url,
            poolclass=sa.NullPool,
            connect_args=dict(self._connect_args.get(key, {})),
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
        )
        with (sqlite_files.told if is_sqlite else postgres_errors.told)(url), ours.connecting():
            connection = engine.connect()
            self._open.callback(_close, connection)
            if not is_sqlite:
                connection.exec_driver_sql(_WITHOUT_END)
                connection.exec_driver_sql(_COUNTED)
        return connection


def _close(connection: Connection) -> None:
    with suppress(sa.exc.DBAPIError):  # the branch is gone, and so is the session
        connection.close()
