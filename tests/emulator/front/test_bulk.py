"""Much at a time: neither side is faster than the other can take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.emulator.front.fronts import until

if TYPE_CHECKING:
    import psycopg
    from tests.emulator.front.fronts import House

_BOTH = pytest.mark.parametrize("sslmode", ["require", "disable"])
_LINES = 100 * 1024
_LINE = b"x" * 1023 + b"\n"


@_BOTH
def test_a_hundred_megabytes_come_out(house: House, sslmode: str) -> None:
    """Not a byte is lost, although the server is faster than the client."""
    with house.connect(sslmode=sslmode) as session, session.cursor() as cursor:
        with cursor.copy("COPY (SELECT repeat('x', 1023) FROM generate_series(1, %s)) TO STDOUT", (_LINES,)) as out:
            assert sum(len(block) for block in out) == _LINES * len(_LINE)
        assert session.execute("SELECT 1").fetchone() == (1,)


@_BOTH
def test_a_hundred_megabytes_go_in(house: House, sslmode: str) -> None:
    """Not a byte is lost, although the client is faster than the server."""
    with house.connect(sslmode=sslmode) as session, session.cursor() as cursor:
        session.execute("CREATE TEMPORARY TABLE lines (line text)")
        with cursor.copy("COPY lines FROM STDIN") as into:
            for _ in range(_LINES // 1024):
                into.write(_LINE * 1024)
        told = session.execute("SELECT count(*), sum(length(line)) FROM lines").fetchone()
        assert told == (_LINES, _LINES * 1023)


@_BOTH
def test_what_nobody_reads_is_not_piled_up(house: House, admin: psycopg.Connection[Any], sslmode: str) -> None:
    """A server whose client does not read has to wait: the front keeps no more than a buffer."""
    with house.connect(sslmode=sslmode) as session:
        pid = session.info.backend_pid
        session.pgconn.send_query(b"COPY (SELECT repeat('x', 1023) FROM generate_series(1, 1000000)) TO STDOUT")
        session.pgconn.flush()
        waits = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'ClientWrite'"
        until(lambda: admin.execute(waits, (pid,)).fetchone())
        session.pgconn.finish()
