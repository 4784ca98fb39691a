"""What a Postgres server refuses, in our words: with the value and the remedy, and never a password."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches.errors import BranchesError, BranchExists, DatabaseFailed, DatabaseInUse

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_WAIT = "10min"
"""How long a process waits for another one that is making a branch."""
_NO_RIGHTS = (
    "{said}. A branch is a new database, and a copy of one's own: as an administrator, run "
    'ALTER ROLE "{role}" CREATEDB, and let it own the parent.'
)
_NO_CONNECT = (
    "The server at {place} refuses {role!r} ({said}), and branches are made from that database: as an administrator, "
    "GRANT CONNECT on it to the role."
)
_REFUSALS: dict[str, tuple[type[BranchesError], str]] = {
    "28000": (DatabaseFailed, "The server at {place} refuses {role!r} ({said}): correct the database URL."),
    "no CONNECT": (DatabaseFailed, _NO_CONNECT),
    "28P01": (DatabaseFailed, "The server at {place} refuses {role!r} ({said}): correct the database URL."),
    "42501": (DatabaseFailed, _NO_RIGHTS),
    "42P04": (BranchExists, "{said}: choose another name, or delete that branch."),
    "quota": (
        DatabaseFailed,
        "The server at {place} does not begin to work ({said}): see what the plan allows, or enable it there.",
    ),
    "3D000": (DatabaseFailed, "The server at {place} has no such database ({said}): correct the database URL."),
    "53100": (DatabaseFailed, "The server's disk is full ({said}): free some space."),
    "53300": (DatabaseFailed, "{said}: end some sessions, or raise max_connections."),
    "55006": (DatabaseInUse, "{said}: end the sessions that use it."),
    "55P03": (DatabaseInUse, "Another process has been making a branch for {wait}: let it finish, or end it."),
}
# While they connect, drivers give no code.
_CONNECTING = (
    # Of Neon's proxy, which answers in a server's place.
    (
        re.compile(
            r"(compute time|data transfer|quota).*exceeded|exceeded the .*quota|endpoint (\S+ )?(is|has been) disabled",
            re.IGNORECASE,
        ),
        "quota",
    ),
    (re.compile(r"FATAL: .*(authentication failed|role .* does not exist|no pg_hba\.conf entry)"), "28000"),
    (re.compile(r"FATAL: .*database .* does not exist"), "3D000"),
    (re.compile(r"FATAL: .*permission denied for database"), "no CONNECT"),
    (re.compile(r"FATAL: .*(too many clients|remaining connection slots|too many connections)"), "53300"),
)

_FINAL = {"28000", "28P01", "no CONNECT", "3D000", "quota"}


@contextmanager
def told(url: sa.URL) -> Iterator[None]:
    """Turn the driver's errors into ours, which name the value and the remedy."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _translated(error, url) from error


def sqlstate(error: sa.exc.DBAPIError) -> str | None:
    """The code of what went wrong, with every driver; None where no server has answered."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def is_final(error: BaseException | None) -> bool:
    """Whether an error while connecting will be the same the next time: the server has looked, and said no."""
    if not isinstance(error, sa.exc.DBAPIError):
        return True
    return _state(error) in _FINAL


def said(error: sa.exc.DBAPIError) -> str:
    """What the server, or the driver, has said: its first line, or of several addresses' the one that tells most."""
    lines = str(error.orig).strip().split("\n")
    return next((each for each in lines if _told_by(each)), lines[0])


def _translated(error: sa.exc.DBAPIError, url: sa.URL) -> BranchesError:
    state = _state(error)
    role = url.username or "the role"
    if state is None and not isinstance(error, sa.exc.OperationalError):
        return DatabaseFailed(f"The server at {_place(url)} cannot be asked ({said(error)}): correct the URL.")
    if state is None:
        text = f"The server at {_place(url)} cannot be reached ({said(error)}): start it, or correct the URL."
        return DatabaseFailed(text)
    kind, text = _REFUSALS.get(state, (DatabaseFailed, "The server at {place} refused: {said}."))
    return kind(text.format(said=said(error), role=role, place=_place(url), wait=LOCK_WAIT))


def _state(error: sa.exc.DBAPIError) -> str | None:
    return sqlstate(error) or _told_by(said(error))


def _told_by(line: str) -> str | None:
    return next((state for text, state in _CONNECTING if text.search(line)), None)


def _place(url: sa.URL) -> str:
    host = url.host or ", ".join(url.normalized_query.get("host", ())) or "the default host"
    port = url.port or ", ".join(url.normalized_query.get("port", ()))
    return f"{host}:{port}" if port else host
