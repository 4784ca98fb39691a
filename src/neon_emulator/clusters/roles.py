"""The roles of a new cluster, as Neon has them, and passwords, which are handed over as their verifiers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from neon_emulator.clusters.superuser import connect, told

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUPERUSER = "CREATE ROLE neon_superuser NOLOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION"
_PLAIN = {"pg_read_all_data": 15, "pg_write_all_data": 15, "pg_checkpoint": 15, "pg_create_subscription": 16}
_HANDED_ON = ("pg_monitor", "pg_signal_backend")
_OWNER = "CREATE ROLE {} LOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION PASSWORD {} IN ROLE neon_superuser"


async def make_owner(conninfo: str, version: int, *, owner: str, verifier: str, database: str) -> None:
    """Make the roles and the database of a new cluster.

    Args:
        conninfo: the superuser's connection string.
        version: Postgres's major version.
        owner: the role that owns the database; no superuser.
        verifier: its password as SCRAM keeps it.
        database: the database's name.

    Raises:
        ClusterFailed: where Postgres refuses; the text is the server's.
    """
    name = sql.Identifier(owner)
    await _do(
        conninfo,
        *neon_superuser(version),
        sql.SQL(_OWNER).format(name, sql.Literal(verifier)),
        sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), name),
    )


def neon_superuser(version: int) -> list[sql.SQL | sql.Composed]:
    """The statements that make the role of which every role that the API makes is a member."""
    plain = sql.SQL(", ").join(sql.Identifier(role) for role, since in _PLAIN.items() if version >= since)
    handed = sql.SQL(", ").join(map(sql.Identifier, _HANDED_ON))
    return [
        sql.SQL(_SUPERUSER),
        sql.SQL("GRANT {} TO neon_superuser").format(plain),
        sql.SQL("GRANT {} TO neon_superuser WITH ADMIN OPTION").format(handed),
    ]


async def set_passwords(conninfo: str, verifiers: Mapping[str, str]) -> None:
    """Give roles their passwords; those that there are not are left out.

    Args:
        conninfo: the superuser's connection string.
        verifiers: by role, the password as SCRAM keeps it.
    """
    query = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
    with told("Passwords could not be set"):
        async with await connect(conninfo) as session:
            for (role,) in await (await session.execute(query, [list(verifiers)])).fetchall():
                change = sql.SQL("ALTER ROLE {} PASSWORD {}")
                await session.execute(change.format(sql.Identifier(role), sql.Literal(verifiers[role])))


async def _do(conninfo: str, *statements: sql.SQL | sql.Composed) -> None:
    with told("The roles of a new cluster could not be made"):
        async with await connect(conninfo) as session:
            for statement in statements:
                await session.execute(statement)
