"""What a cluster has without its rows: roles, databases, schemas, taken and given by Postgres's own programs."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from neon_emulator.clusters.commands import run, tail
from neon_emulator.clusters.initdb import SUPERUSER
from neon_emulator.engine import ClusterBusy, ClusterFailed

if TYPE_CHECKING:
    from neon_emulator.clusters.cluster import Cluster

# The superuser is there already.
_SUPERUSER = re.compile(r"^(CREATE|ALTER) ROLE cloud_admin\b.*;\n", re.MULTILINE)
# A guard against what a foreign server might dump, with a key that is another one every time.
_GUARD = re.compile(r"^\\(un)?restrict \w+\n", re.MULTILINE)

# Behind a client's open transaction that changes a table it would wait for ever.
_PG_DUMP = ("pg_dump", "--schema-only", "--lock-wait-timeout=30s")
_SECONDS = 300.0  # it waits for a view's lock, too, and has no limit for that
_WAITED = "canceling statement due to statement timeout"  # which pg_dump makes of it


@dataclass(frozen=True)
class Outline:
    """Texts for psql: of the roles with their passwords, and of every database."""

    roles: str
    databases: tuple[str, ...]
    default: str


async def dump_schema(cluster: Cluster, database: str) -> str:
    """The schema of a running cluster's database; the same text for the same schema."""
    text = await _do(cluster, *_PG_DUMP, _database(cluster, database))
    return _GUARD.sub("", text)


async def take(cluster: Cluster) -> Outline:
    """The outline of a running cluster."""
    roles = await _do(cluster, "pg_dumpall", "--roles-only", _database(cluster))
    held = (await cluster.look()).catalog
    names = [database.name for database in held.databases]
    databases = [await _do(cluster, *_PG_DUMP, "--create", _database(cluster, name)) for name in names]
    default = await _do(cluster, *_PG_DUMP, _database(cluster))
    return Outline(_SUPERUSER.sub("", roles), tuple(databases), default)


async def give(cluster: Cluster, outline: Outline) -> None:
    """Make a new, running cluster what an outline says."""
    options = ("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", _database(cluster))
    for text in (outline.roles, *outline.databases, outline.default):
        await _do(cluster, *options, text=text)


async def _do(cluster: Cluster, program: str, *options: str, text: str | None = None) -> str:
    place = cluster.place
    try:
        async with asyncio.timeout(_SECONDS):
            result = await run(place.account, place.binaries.tool(program), *options, text=text)
    except TimeoutError:
        text = f"{program} has not ended in {_SECONDS:.0f} s: end the client's transaction that it may be waiting for."
        raise ClusterBusy(text) from None
    if program == "pg_dump" and _WAITED in result.complaints:
        raise ClusterBusy(
            f"A client's open transaction has locked a table for 30 s: end it, and try again.{tail(result.complaints)}"
        )
    if result.status != 0:
        raise ClusterFailed(f"{program} failed for {cluster.id}:{tail(result.complaints)}")
    return result.output


def _database(cluster: Cluster, name: str = "postgres") -> str:
    """An option of Postgres's programs; they get no variable that would have to be overridden."""
    place = cluster.place
    return f"--dbname={make_conninfo(host=str(place.sockets), port=place.number, user=SUPERUSER, dbname=name)}"
