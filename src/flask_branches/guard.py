"""What must never be tested on, and how an existing database is marked as one that may."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask_branches import configured, databases, emptying, neon_address, record, urls
from flask_branches.errors import DatabaseFailed, Refused
from flask_branches.tables import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import sqlalchemy as sa

    from flask_branches.backends import Backend
    from flask_branches.databases import Databases
    from flask_branches.record import Record

_HOW = "Make a branch with: flask branches create"
OWN = f"the application's own database, which tests never write to. {_HOW}"


def require_branch(there: Databases, url: sa.URL, source: str, *, as_it_is: bool = False) -> Record:
    """Let a database pass only if its record proves that it was made, or adopted, for tests.

    Args:
        there: the application's own databases.
        url: the database that a session is about to use.
        source: where the URL came from, for the message.
        as_it_is: whether its schema is left alone. Then the application may be configured with it too, as an earlier
            release is whose code is tried on it, if it was made as a branch: one that was adopted may be its only one.

    Raises:
        Refused: with what was seen, and how to make a branch.
        DatabaseFailed: where it cannot be reached.
    """
    own = Refused(f"{source} leads to {urls.shown(url)}, {OWN}")
    with _asked(there, url) as backend:
        is_own = _is_own(there, url)
        if is_own and not as_it_is:
            raise own
        try:
            found = backend.vouch(url)
        except Refused as error:
            raise (own if is_own else Refused(f"{source}: {error} {_HOW}")) from None
    if is_own and not (found is not None and _was_made(found, url)):
        raise own
    if found is None:
        raise Refused(
            f"{source} leads to {urls.shown(url)}, which has no record that says it may be tested on. {_HOW}; "
            "or mark that database, once, with: flask branches adopt URL"
        )
    return found


def contents(there: Databases, url: sa.URL) -> list[tuple[str, int]]:
    """The tables of a database and how many rows each has, so that a user sees what is about to be marked.

    Raises:
        DatabaseFailed: where it cannot be reached.
    """
    _require_file(url)
    with databases.connected(url, _connect_args(there, url)) as connection:
        return [(_spoken(name), count(connection, name)) for name in emptying.tables(connection, keep="")]


def adopt(there: Databases, url: sa.URL) -> None:
    """Mark an existing database as one that may be tested on; without effect where it is marked already.

    Raises:
        Refused: for the application's own database, and for one whose comment the record would replace.
        DatabaseFailed: where it cannot be reached, or may not be marked.
    """
    if _is_own(there, url):
        raise Refused(f"{urls.shown(url)} is the application's own database and cannot be adopted. {_HOW}")
    with _asked(there, url) as backend:
        if backend.vouch(url) is None:
            backend.adopt(url, record.made(name_of(url), parent=None, main=None, expires_at=None))


def name_of(url: sa.URL) -> str:
    """What a user types to say that he means this database: its name, or its file's."""
    return urls.sqlite_file(url).name if urls.backend_of(url) == "sqlite" else urls.database(url)


def _is_own(there: Databases, url: sa.URL) -> bool:
    _require_file(url)
    return any(each.backend.is_main(url) for each in there.all if not _cannot_be_main(each.backend, url))


def _was_made(found: Record, url: sa.URL) -> bool:
    """Whether a record is of a branch that was made; one that was renamed to take its main's place has it still."""
    return found.main is not None and urls.key(url.set(database=found.main)) != urls.key(url)


def _cannot_be_main(backend: Backend, url: sa.URL) -> bool:
    """Whether the addresses alone tell, so that a database on Neon is not connected to for an answer."""
    return backend.name == "postgres" and neon_address.is_neon(url) and not neon_address.is_neon(backend.main)


@contextmanager
def _asked(there: Databases, url: sa.URL) -> Iterator[Backend]:
    """Whoever can tell what a database is, closed afterwards unless it is the application's own."""
    backend = _backend(there, url)
    try:
        yield backend
    finally:
        if all(backend is not each.backend for each in there.all):
            backend.close()


def _backend(there: Databases, url: sa.URL) -> Backend:
    """Who can tell what a database is: of Neon's, Neon alone, since its copies have their parents' records too."""
    if urls.backend_of(url) == "postgres":
        for each in there.all:
            if each.backend.name == "neon":
                return each.backend
        if neon_address.is_neon(url):
            return configured.on_neon_at(url, there.neon)
    return configured.backend_for(url, _connect_args(there, url))


def _connect_args(there: Databases, url: sa.URL) -> Mapping[str, Any]:
    """What the application passes to its driver beside the URL, such as a certificate, it needs there too."""
    same = [each for each in there.all if each.backend.main.drivername == url.drivername]
    return same[0].connect_args if same else {}


def _require_file(url: sa.URL) -> None:
    """SQLite makes a file where there is none."""
    if urls.backend_of(url) == "sqlite" and (urls.is_memory(url) or not urls.sqlite_file(url).is_file()):
        raise DatabaseFailed(f"{urls.shown(url)} is no file: name one that exists.")


def _spoken(table: str) -> str:
    """A quoted name as people know it."""
    table = table.removeprefix("public.")
    return table[1:-1].replace('""', '"') if table.startswith('"') and table.endswith('"') else table
