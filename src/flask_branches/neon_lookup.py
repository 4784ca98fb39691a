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
        settings: the branch is the project's default one where none is named; the database and the role are the only
            ones that the branch has.

    Raises:
        ConfigurationError: where there are several to choose from.
        BranchesError: where Neon cannot be asked, or has no such branch.
    """
    from flask_branches.neon_client import NeonClient  # which needs packages that other databases do not

    client = NeonClient(settings.access)
    try:
        branch = _branch(tuple(client.branches()), settings.branch)
        database = settings.database or _only(
            [name for name, _owner in client.databases(branch.id)], f"databases of {branch.name!r}", "NEON_DATABASE"
        )
        role = settings.role or _only(client.roles(branch.id), f"roles of {branch.name!r}", "NEON_ROLE")
        return client.connection_uri(branch.id, database=database, role=role).get_secret_value()
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


def _only(names: list[str], what: str, variable: str) -> str:
    if len(names) == 1:
        return names[0]
    raise ConfigurationError(f"There are {len(names)} {what} ({', '.join(names)}): name one in {variable}.")
