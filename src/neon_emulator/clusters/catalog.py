"""What a cluster holds: its roles and databases, read from a server that runs, kept beside one that is stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from neon_emulator.clusters.commands import write_file
from neon_emulator.engine import Catalog, CatalogDatabase, CatalogRole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from local_postgres import Account

_FILE = "catalog.json"

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


def keep(folder: Path, rest: Rest, account: Account) -> None:
    """Keep what is known of a stopped cluster in its folder."""
    text = json.dumps(asdict(rest) | {"time": rest.time.isoformat()})
    write_file(folder / _FILE, text, account)


def find(folder: Path) -> Rest | None:
    """What is known of the cluster in a folder; None where it runs, or was not stopped in order."""
    try:
        found = json.loads((folder / _FILE).read_text())
    except FileNotFoundError:
        return None
    held = found["catalog"]
    roles = [(each["name"], each["login"]) for each in held["roles"]]
    databases = [(each["id"], each["name"], each["owner"]) for each in held["databases"]]
    return Rest(_catalog(roles, databases, held["size"]), found["lsn"], datetime.fromisoformat(found["time"]))


def forget(folder: Path) -> None:
    """Forget what is known, since the cluster is about to run."""
    (folder / _FILE).unlink(missing_ok=True)


def _catalog(roles: list[tuple[str, bool]], databases: list[tuple[int, str, str]], size: int) -> Catalog:
    return Catalog(
        tuple(CatalogRole(*role) for role in roles), tuple(CatalogDatabase(*each) for each in databases), size
    )
