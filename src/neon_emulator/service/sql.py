"""Roles and databases, made and changed inside of a cluster by its superuser."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg import errors
from psycopg.sql import SQL, Composable, Identifier, Literal

from neon_emulator.errors import AlreadyExists, Busy, NotAllowed, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

_ATTRIBUTES = SQL("CREATEDB CREATEROLE BYPASSRLS REPLICATION IN ROLE neon_superuser")


@contextmanager
def refusals() -> Iterator[None]:
    """What Postgres refuses inside of the block, in the words of the domain; anything else is a mistake of ours."""
    try:
        yield
    except (errors.DuplicateObject, errors.DuplicateDatabase, errors.UniqueViolation) as error:
        raise AlreadyExists(_message(error)) from error
    except (errors.UndefinedObject, errors.InvalidCatalogName) as error:
        raise NotFound(_message(error)) from error
    except errors.LockNotAvailable as error:
        raise Busy("a client's open transaction has locked what is to be changed: end it, and try again") from error
    except (
        errors.DependentObjectsStillExist,
        errors.FeatureNotSupported,
        errors.InvalidName,
        errors.ObjectInUse,
        errors.ReservedName,
    ) as error:
        raise NotAllowed(_message(error)) from error


def create_role(connection: Connection, name: str, verifier: str | None) -> None:
    """Make a role; without a verifier, one that nobody can log in as."""
    login = SQL("NOLOGIN") if verifier is None else SQL("LOGIN PASSWORD {}").format(Literal(verifier))
    connection.execute(SQL("CREATE ROLE {} {} {}").format(Identifier(name), login, _ATTRIBUTES))


def drop_role(connection: Connection, name: str) -> None:
    """Delete a role, and end its sessions."""
    # Once it is gone, its sessions can be told by its number alone; while it may have to stay, they go on.
    row = connection.execute("SELECT oid FROM pg_authid WHERE rolname = %s", (name,)).fetchone()
    connection.execute(SQL("DROP ROLE {}").format(Identifier(name)))
    if row is not None:
        _end_sessions(connection, SQL("usesysid = {}").format(Literal(row[0])))


def set_passwords(connection: Connection, verifiers: Mapping[str, str]) -> None:
    """Give roles the passwords that verifiers stand for."""
    for name, verifier in verifiers.items():
        connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(name), Literal(verifier)))


def end_sessions(connection: Connection, role: str) -> None:
    """End a role's sessions."""
    _end_sessions(connection, SQL("usename = {}").format(Literal(role)))


def _end_sessions(connection: Connection, condition: Composable) -> None:
    # Waited for, up to ten seconds: what comes next would else meet a session that is just about to end.
    query = SQL("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {}")
    connection.execute(query.format(condition))


def create_database(connection: Connection, name: str, owner: str) -> None:
    """Make a database."""
    connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(name), Identifier(owner)))


def drop_database(connection: Connection, name: str) -> None:
    """Delete a database, and end the sessions in it."""
    connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def rename_database(connection: Connection, name: str, new: str) -> None:
    """Give a database another name, which ends the sessions in it."""
    _end_sessions(connection, SQL("datname = {}").format(Literal(name)))
    connection.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(name), Identifier(new)))


def give_database(connection: Connection, name: str, owner: str) -> None:
    """Give a database to another owner."""
    connection.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(name), Identifier(owner)))


def _message(error: psycopg.Error) -> str:
    parts = (error.diag.message_primary, error.diag.message_detail)
    return "; ".join(part for part in parts if part)
