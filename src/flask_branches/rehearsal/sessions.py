"""Whether others than a rehearsal's own sessions were in a database: they tell late of what they have written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.engine import Connection

# What has no role is the server's own. Of other roles' sessions it is not told what they do.
_OPEN = (
    "SELECT pid, CASE WHEN left(state, 4) = 'idle' THEN state_change END FROM pg_stat_activity"
    " WHERE datname = current_database() AND usesysid IS NOT NULL"
)
_BEGUN = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True)
class Sessions:
    """Those of a database at one moment."""

    open: Mapping[int, object]
    """By number, since when each has nothing to do; None where it is at work, or nobody tells."""
    begun: int
    """How many there have been until then."""


def look(connection: Connection) -> Sessions:
    """Which sessions there are, by a connection in autocommit; the server notes down at once who comes and goes."""
    found = dict(map(tuple, connection.exec_driver_sql(_OPEN)))
    # In this order: one that is not open any more has been counted.
    return Sessions(found, int(connection.exec_driver_sql(_BEGUN).scalar_one()))


def are_alone(own: Collection[int], before: Sessions, now: Sessions) -> bool:
    """Whether no others have come, gone, or done anything between two moments.

    Args:
        own: the numbers of those that are no others; those of them that came are open still.
        before: at the first moment.
        now: at the second.
    """
    was, others = ({pid: since for pid, since in each.open.items() if pid not in own} for each in (before, now))
    came = [pid for pid in own if pid in now.open and pid not in before.open]
    return was == others and None not in others.values() and now.begun - before.begun == len(came)
