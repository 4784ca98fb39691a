"""What a cluster holds: its roles and databases, read from a server that runs, kept beside one that is stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from neon_emulator.engine import Catalog, CatalogDatabase, CatalogRole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Neon's own, and Postgres's; a role that is neither cannot have a name that begins with pg_.
_CATALOG = """
SELECT
  (SELECT coalesce(json_agg(json_build_array(rolname, rolcanlogin) ORDER BY oid), '[]') FROM pg_roles
    WHERE rolname !~ '^pg_' AND rolname NOT IN ('cloud_admin', 'neon_superuser')),
  (SELECT coalesce(json_agg(json_build_array(oid::int8, datname, pg_get_userbyid(datdba)) ORDER BY oid), '[]')
    FROM pg_database WHERE NOT datistemplate AND datdba <> 'cloud_admin'::regrole),
  (SELECT coalesce(sum(pg_database_size(oid)), 0)::int8 FROM pg_database),
  pg_current_wal_insert_lsn()::text,
  clock_timestamp()
"""


@dataclass(frozen=True)
class Rest:
    """What can be told of a cluster that does not run: what it holds, and the end of its write-ahead log."""

    catalog: Catalog
    lsn: str
    time: datetime


async def read(ask: Callable[[str], Awaitable[list[tuple[Any, ...]]]]) -> Rest:
    """What a running server holds now.

    Args:
        ask: runs a statement as the superuser, and returns its rows.
    """
    [(roles, databases, size, lsn, now)] = await ask(_CATALOG)
    return Rest(_catalog(roles, databases, size), lsn, now.astimezone(UTC))


def dump(rest: Rest) -> str:
    """A text for the disk."""
    return json.dumps(asdict(rest) | {"time": rest.time.isoformat()})


def load(text: str) -> Rest:
    """What :func:`dump` wrote."""
    found = json.loads(text)
    held = found["catalog"]
    roles = [(each["name"], each["login"]) for each in held["roles"]]
    databases = [(each["id"], each["name"], each["owner"]) for each in held["databases"]]
    return Rest(_catalog(roles, databases, held["size"]), found["lsn"], datetime.fromisoformat(found["time"]))


def _catalog(roles: list[tuple[str, bool]], databases: list[tuple[int, str, str]], size: int) -> Catalog:
    return Catalog(
        tuple(CatalogRole(*role) for role in roles), tuple(CatalogDatabase(*each) for each in databases), size
    )
