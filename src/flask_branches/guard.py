"""What must never be tested on, and how an existing database is marked as one that may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches import configured, databases, record, urls
from flask_branches.errors import DatabaseFailed, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_branches.databases import Databases
    from flask_branches.record import Record

_HOW = "Make a branch with: flask branches create"


def require_branch(there: Databases, url: sa.URL, source: str) -> Record:
    """Let a database pass only if its record proves that it was made, or adopted, for tests.

    Args:
        there: the application's own databases.
        url: the database that a session is about to use.
        source: where the URL came from, for the message.

    Raises:
        Refused: with what was seen, and how to make a branch.
        DatabaseFailed: where it cannot be reached.
    """
    if any(urls.key(url) == urls.key(each.backend.main) for each in there.all if not urls.is_memory(each.backend.main)):
        raise Refused(
            f"{source} leads to {url.render_as_string()}, the application's own database, which tests never write to. "
            f"{_HOW}"
        )
    found = _record(url)
    if found is None:
        raise Refused(
            f"{source} leads to {url.render_as_string()}, which has no record that says it may be tested on. {_HOW}; "
            "or mark that database, once, with: flask branches adopt URL"
        )
    return found


def contents(url: sa.URL, connect_args: Mapping[str, object]) -> list[tuple[str, int]]:
    """The tables of a database and how many rows each has, so that a user sees what is about to be marked."""
    with databases.connected(url, connect_args) as connection:
        inspector = sa.inspect(connection)
        quote = connection.dialect.identifier_preparer.quote
        return [
            (name, connection.exec_driver_sql(f"SELECT count(*) FROM {quote(name)}").scalar_one())  # noqa: S608
            for name in sorted(inspector.get_table_names())
        ]


def adopt(there: Databases, url: sa.URL) -> None:
    """Mark an existing database as one that may be tested on.

    Raises:
        Refused: for the application's own database, and for one whose comment the record would replace.
    """
    if any(urls.key(url) == urls.key(each.backend.main) for each in there.all):
        raise Refused(f"{url.render_as_string()} is the application's own database and cannot be adopted. {_HOW}")
    name = name_of(url)
    configured.backend_for(url).adopt(url, record.made(name, parent=None, main=None, expires_at=None))


def name_of(url: sa.URL) -> str:
    """What a user types to say that he means this database: its name, or its file's."""
    return urls.sqlite_file(url).name if urls.backend_of(url) == "sqlite" else str(url.database)


def _record(url: sa.URL) -> Record | None:
    if urls.backend_of(url) == "sqlite" and (urls.is_memory(url) or not urls.sqlite_file(url).is_file()):
        raise DatabaseFailed(f"{url.render_as_string()} is no file: name one that exists.")
    return configured.backend_for(url).vouch(url)
