"""What is said of a server that does not take a connection, and whether to try again."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa

from flask_branches import DatabaseFailed
from flask_branches.backends import postgres_errors

_URL = sa.make_url("postgresql+psycopg://me:hunter2@ep-a-1.example.invalid/d")
_AT = 'connection failed: connection to server at "192.0.2.1", port 5432 failed: '
_UNREACHED = f"{_AT}Network is unreachable\n\tIs the server running on that host?\nMultiple connection attempts failed."


def _told(text: str) -> DatabaseFailed:
    with pytest.raises(DatabaseFailed) as raised, postgres_errors.told(_URL):
        raise sa.exc.OperationalError("", None, psycopg.OperationalError(text))
    return raised.value


@pytest.mark.parametrize(
    "said",
    [
        "ERROR:  Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.",
        "ERROR:  Your project has exceeded the data transfer quota. Upgrade your plan to increase limits.",
        "ERROR:  The endpoint has been disabled. Enable it using Neon API and retry.",
        "ERROR:  endpoint is disabled",
        "FATAL:  The endpoint ep-a-1 is disabled: enable it, and connect again.",
    ],
)
@pytest.mark.parametrize("before", [_AT, f"{_UNREACHED} All failures were:\n- hostaddr: '192.0.2.2': {_AT}"])
def test_what_neon_s_proxy_refuses_stays_refused(said: str, before: str) -> None:
    """Of several addresses the one that tells most counts; the remedy is one line."""
    error = _told(f"{before}{said}\n- hostaddr: '2001:db8::1': Network is unreachable")

    assert postgres_errors.is_final(error.__cause__)
    assert str(error).startswith("The server at ep-a-1.example.invalid does not begin to work (")
    assert str(error).endswith(f"{said}): see what the plan allows, or enable it there.")
    assert "\n" not in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "said",
    ["Connection refused", "FATAL:  the database system is starting up", "ERROR:  Couldn't connect to compute node"],
)
def test_what_may_come_to_life_is_waited_for(said: str) -> None:
    """A compute that wakes up is not there yet."""
    error = _told(f"{_AT}{said}")

    assert not postgres_errors.is_final(error.__cause__)
    assert str(error).endswith(f"{said}): start it, or correct the URL.")
