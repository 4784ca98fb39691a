"""Which passwords the roles of a copy have, and which of them are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neon_emulator import names
from neon_emulator.front.scram import build_verifier
from neon_emulator.service import sql
from neon_emulator.state.models import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from neon_emulator.engine import CatalogRole, Engine, Made


@dataclass(frozen=True)
class Secret:
    """A password and what Postgres keeps of it; `password` is None where the project does not store it."""

    password: str | None
    verifier: str

    @classmethod
    def new(cls) -> Secret:
        """A random one."""
        password = names.password()
        return cls(password, build_verifier(password))


Secrets = dict[str, Secret]


def known(roles: Iterable[Role]) -> Secrets:
    """The passwords of roles whose password was set through the API."""
    return {role.name: Secret(role.password, role.verifier) for role in roles if role.verifier}


def fresh(roles: Iterable[CatalogRole]) -> Secrets:
    """New passwords for those roles that can log in."""
    return {role.name: Secret.new() for role in roles if role.login}


def verifiers(secrets: Secrets) -> dict[str, str]:
    """What Postgres is to keep."""
    return {name: secret.verifier for name, secret in secrets.items()}


def renew_rest(engine: Engine, made: Made, secrets: Secrets) -> Secrets:
    """Give a new password to each role of a copy that is not among those that were set: one of the past, for instance.

    Returns:
        All passwords of the copy's roles.
    """
    rest = fresh(role for role in made.catalog.roles if role.name not in secrets)
    apply(engine, made.cluster, rest)
    return {**secrets, **rest}


def apply(engine: Engine, cluster: str, secrets: Secrets) -> None:
    """Give passwords to the roles of a cluster."""
    if secrets:
        with engine.session(cluster) as connection:
            sql.set_passwords(connection, verifiers(secrets))


def rows(
    branch_id: str, roles: Iterable[CatalogRole], secrets: Mapping[str, Secret], now: datetime, *, store: bool
) -> list[Role]:
    """What is to be remembered about the roles of a new branch.

    Args:
        branch_id: the branch.
        roles: the roles that it has.
        secrets: the passwords that are known.
        now: what the rows are dated by.
        store: whether the project stores passwords.
    """
    return [
        Role(
            branch_id=branch_id,
            name=role.name,
            password=secrets[role.name].password if store else None,
            verifier=secrets[role.name].verifier,
            created_at=now,
            updated_at=now,
        )
        for role in roles
        if role.name in secrets
    ]
