"""What Neon's API says of a project: its branches, their endpoints, and which of them a URL leads to."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from flask_branches import neon_address, urls
from flask_branches.backends.neon import marks
from flask_branches.errors import BranchNotFound, ConfigurationError, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from flask_branches.neon_client import BranchInfo, EndpointInfo, NeonClient

_WRITING = "read_write"


@dataclass(frozen=True)
class Project:
    """A project as it was when it was looked at: two requests."""

    branches: tuple[BranchInfo, ...]
    endpoints: tuple[EndpointInfo, ...]

    def branch_of(self, url: sa.URL) -> BranchInfo | None:
        """The branch that a URL leads to; None where it leads to none of this project, or nobody can tell."""
        for endpoint in self.endpoints:
            if neon_address.leads_to(url, endpoint.id, endpoint.host):
                return next((each for each in self.branches if each.id == endpoint.branch_id), None)
        return None

    def endpoint_of(self, branch: BranchInfo) -> EndpointInfo | None:
        """The endpoint that a branch is written through."""
        mine = [each for each in self.endpoints if each.branch_id == branch.id and each.type == _WRITING]
        return mine[0] if mine else None


def look(client: NeonClient) -> Project:
    """Ask for all of it."""
    return Project(tuple(client.branches()), tuple(client.endpoints()))


def main_of(endpoints: list[EndpointInfo], main: sa.URL, project_id: str) -> str:
    """The id of the branch that an application's own database is on.

    Raises:
        ConfigurationError: where it is on none of the project's.
    """
    for endpoint in endpoints:
        if neon_address.leads_to(main, endpoint.id, endpoint.host):
            return endpoint.branch_id
    raise ConfigurationError(
        f"The application's database {urls.shown(main)} is on no branch of the Neon project {project_id}: correct "
        "NEON_PROJECT_ID or the URL; where the database is none of Neon's, set BRANCHES_BACKEND to postgres."
    )


def require_branch(project: Project, url: sa.URL, project_id: str) -> BranchInfo:
    """The branch that a URL leads to, if Neon's API says that it may be tested on.

    Raises:
        Refused: for the default branch, a protected one, and one that is not of this project.
    """
    if len(neon_address.named(url)) > 1:
        raise Refused(f"{urls.shown(url)} names several endpoints, and which of them it leads to is left to chance.")
    found = project.branch_of(url)
    if found is None:
        why = (
            "leads to no endpoint of"
            if neon_address.named(url)
            else "names no endpoint, by which alone Neon can tell that it is a branch of"
        )
        raise Refused(f"{urls.shown(url)} {why} the project {project_id}, so it may be anybody's database.")
    if found.is_default or found.is_protected:
        kind = "the default branch" if found.is_default else "a protected branch"
        raise Refused(f"{urls.shown(url)} leads to {found.name!r}, {kind} of the project {project_id}.")
    if found.parent_id is None and marks.record_of(found) is None:
        raise Refused(
            f"{urls.shown(url)} leads to {found.name!r}, a root of the project {project_id} and no copy: "
            "its data may be somebody's only ones."
        )
    return found


def named(
    branches: tuple[BranchInfo, ...], name: str, called: Callable[[BranchInfo], str] = attrgetter("name")
) -> BranchInfo:
    """The branch of a name or, as Neon's own command line has it, of an id.

    Args:
        branches: those that may be meant.
        name: which one.
        called: gives the name of one; by default Neon's.

    Raises:
        BranchNotFound: where there is none; the message names those that there are.
    """
    for each in branches:
        if called(each) == name:
            return each
    for each in branches:
        if each.id == name:
            return each
    names = ", ".join(repr(called(each)) for each in branches) or "none"
    raise BranchNotFound(f"There is no branch {name!r}; there are: {names}.")
