"""A client of a branch that is still to be made: does one thing again and again, and tells how long it had to wait."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

import psycopg

NAME = "waits for its turn"
"""As the server knows it."""
_BRANCHES = r"SELECT datname FROM pg_database WHERE datname LIKE '%\_\_rehearsal-%'"
_PAUSE = 0.001


def main(conninfo: str, statement: str) -> None:
    """Find the branch, stay until it is gone, and print the longest wait in milliseconds."""
    longest = 0.0
    session = psycopg.connect(conninfo, dbname=_branch(conninfo), autocommit=True, application_name=NAME)
    with suppress(psycopg.OperationalError), session:  # the branch is deleted, with all sessions that it has
        while True:
            began = time.perf_counter()
            session.execute(statement.encode())
            longest = max(longest, time.perf_counter() - began)
            time.sleep(_PAUSE)
    print(longest * 1e3)


def _branch(conninfo: str) -> str:
    with psycopg.connect(conninfo, autocommit=True) as session:
        while (found := session.execute(_BRANCHES).fetchone()) is None:
            time.sleep(_PAUSE)
    return str(found[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
