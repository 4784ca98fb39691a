"""Databases out of a run's reach: the application's own, and a test's branch past what isolates it."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches import places, reach, urls
from flask_branches.errors import BranchesError, IsolationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.engine.interfaces import DBAPIConnection

    from flask_branches import Branch
    from flask_branches.places import Place
    from pytest_branches.plan import Plan

    Own = list[tuple[Place, str]]

_IDLE = 0  # libpq's PQTRANS_IDLE


@contextmanager
def read_only(named: Iterable[sa.URL], *, servers: bool = False) -> Iterator[None]:
    """Let nothing be written, for the time of a block, to databases that somebody has named.

    An application that is being loaded may look into its database. One that makes its tables then would make them in
    production. A SQLite file that nobody has named is the application's to write.

    Args:
        named: the databases.
        servers: whether that goes for whatever database of a server, which an application has from somewhere else.
    """
    kept = [places.of_url(url) for url in named if not urls.is_memory(url)]
    met: list[Any] = []

    def look(connection: DBAPIConnection, place: Place) -> None:
        if any(place.may_be(each) for each in kept) or (servers and place.hosts):
            met.append(connection)
            _keep_from_writing(connection)

    with reach.looking(look):
        try:
            yield
        finally:
            for connection in met:
                _let_write(connection)


def _keep_from_writing(connection: Any) -> None:  # noqa: ANN401  whatever driver it is from
    """Say so with each transaction to come: nothing of it stays in a server's session, which a pooler hands on."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA query_only = ON")
    elif hasattr(connection, "read_only"):
        connection.read_only = True
    else:
        connection.readonly = True  # psycopg2's word


def _let_write(connection: Any) -> None:  # noqa: ANN401  whatever driver it is from
    """Take that back, unless the connection is gone or has stayed in use."""
    if isinstance(connection, sqlite3.Connection):
        with suppress(sqlite3.ProgrammingError):  # it is closed, which it does not tell
            connection.execute("PRAGMA query_only = OFF")
    elif not connection.closed and int(connection.info.transaction_status) == _IDLE:
        if hasattr(connection, "read_only"):
            connection.read_only = None
        else:
            connection.readonly = None


@contextmanager
def watched(plan: Plan) -> Iterator[Own]:
    """Refuse, for the time of a block, every connection of this process to one of the application's databases.

    A fixture may create its tables, or drop them, in an application that was never given the branch; a test may make an
    application of its own; an ``env.py`` may look for its database by itself. Gives the databases, for :func:`let_in`.
    """
    own = reach.own_of(plan.app)
    if plan.main is not None:
        own.append((places.of_url(plan.main), urls.shown(plan.main)))
    with reach.kept_out_of(own, "tests run: take the fixture branch and use its URL."):
        yield own


def let_in(own: Own, plan: Plan) -> None:
    """Let an earlier release connect to what it is configured with, where that is the branch that the guard let pass.

    Args:
        own: what :func:`watched` keeps it out of.
        plan: of a run that has begun, which asks the guard.
    """
    if plan.url is not None and not plan.migrates:
        branch = places.of_url(plan.url)
        own[:] = [each for each in own if each[0] != branch]


@contextmanager
def only_isolated(branch: Branch) -> Iterator[list[BranchesError]]:
    """Refuse, while a test runs that is rolled back, whatever connects to its branch past that.

    Gives the list of what was refused: an application may have caught it.
    """
    mine = [places.of_url(sa.make_url(url)) for url in (branch.url, *branch.binds.values())]
    refused: list[BranchesError] = []

    def look(_connection: DBAPIConnection, place: Place) -> None:
        if any(place.may_be(each) for each in mine):
            refused.append(
                IsolationError(
                    "A connection leads to the branch that this test works on, and is none of those that are rolled "
                    "back: those of the application that the fixture app returns. Call your fixture app; or mark the "
                    'test with @pytest.mark.branches(isolation="branch") and work on database_url.'
                )
            )
            raise refused[-1]

    with reach.looking(look):
        yield refused
