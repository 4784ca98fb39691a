"""The URL of a database on Neon, found by the words that Neon's own command line has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_branches.errors import BranchesError, ConfigurationError

if TYPE_CHECKING:
    from flask_branches.neon_client import BranchInfo
    from flask_branches.neon_settings import NeonSettings


def database_url(settings: NeonSettings) -> str:
    """The URL of a database, its password included.

    Args:
        settings: the branch is the project's default one where none is named, the database the only one that it has,
            and the role that one's owner.

    Raises:
        ConfigurationError: where there are several databases to choose from, or none of the name that is asked for.
        BranchesError: where Neon cannot be asked, or has no such branch.
    """
    from flask_branches.neon_client import NeonClient  # which needs packages that other databases do not

    client = NeonClient(settings.access)
    try:
        branch = _branch(tuple(client.branches()), settings.branch)
        database, role = settings.database, settings.role
        if database is None or role is None:
            database, owner = _database(client.databases(branch.id), branch.name, database)
            role = role or owner
        uri = client.connection_uri(branch.id, database=database, role=role)
        return uri.get_secret_value()
    finally:
        client.close()


def _branch(branches: tuple[BranchInfo, ...], name: str | None) -> BranchInfo:
    from flask_branches.backends.neon import project

    if name is not None:
        return project.named(branches, name)
    for each in branches:
        if each.is_default:
            return each
    raise BranchesError("The project has no default branch: name one in NEON_BRANCH.")


def _database(there: list[tuple[str, str]], branch: str, wanted: str | None) -> tuple[str, str]:
    """The database that is meant, and its owner."""
    found = [each for each in there if wanted in {None, each[0]}]
    if len(found) == 1:
        return found[0]
    if not there:
        raise ConfigurationError(f"The branch {branch!r} has no database: make one, or name a branch in NEON_BRANCH.")
    names = ", ".join(name for name, _owner in there)
    missing = (
        f"NEON_DATABASE is {wanted!r}, and the" if wanted else f"There are {len(there)} databases to choose from: the"
    )
    raise ConfigurationError(f"{missing} branch {branch!r} has {names}. Name one of them in NEON_DATABASE.")
