"""Neon's branches as this package's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_branches import neon_address, urls
from flask_branches.backends.neon import marks
from flask_branches.branch import EMPTY, MAIN, Branch

if TYPE_CHECKING:
    import sqlalchemy as sa

    from flask_branches.backends.neon.project import Project
    from flask_branches.neon_client import BranchInfo

NAME = "neon"


def listed(project: Project, main: sa.URL, main_id: str) -> list[Branch]:
    """Every complete branch but main's, oldest first.

    Its URL has main's password where that is the branch's too: a branch begins with its parent's, unless that is
    protected, since Neon gives the children of such a one others. Elsewhere it has none.
    """
    found = [_branch(project, each, main, main_id) for each in others(project.branches, main_id)]
    return sorted(found, key=lambda each: (each.created_at, each.name))


def others(branches: tuple[BranchInfo, ...], main_id: str) -> tuple[BranchInfo, ...]:
    """The branches that anybody may name."""
    return tuple(each for each in branches if each.id != main_id and not marks.is_half_built(each))


def parent_name(project: Project, branch: BranchInfo, main_id: str) -> str | None:
    """What a branch's parent is called here."""
    if branch.parent_id is None:
        record = marks.record_of(branch)
        return None if record is None else record.parent
    if branch.parent_id == main_id:
        return MAIN
    parent = next((each for each in project.branches if each.id == branch.parent_id), None)
    return branch.parent_id if parent is None else name_of(parent)


def name_of(branch: BranchInfo) -> str:
    """What a branch is called here: by its id where its name means something else."""
    return branch.id if branch.name in {MAIN, EMPTY} else branch.name


def _has_passwords_of(main_id: str, project: Project, branch: BranchInfo) -> bool:
    """Whether a branch has begun with main's passwords: as a child of its, or of such a child's."""
    for _ in project.branches:  # a name that was given anew can make two branches each other's sources
        source = _source(project, branch, main_id)
        if source is None or source.is_protected:
            return False
        if source.id == main_id:
            return True
        branch = source
    return False


def _source(project: Project, branch: BranchInfo, main_id: str) -> BranchInfo | None:
    """What a branch was made from: of a root, its record alone knows it."""
    record = marks.record_of(branch)
    if branch.parent_id is not None:
        wanted = {branch.parent_id}
    elif record is None:
        return None
    else:
        wanted = {main_id if record.parent in {None, MAIN} else str(record.parent)}
    return next((each for each in project.branches if wanted & {each.id, each.name}), None)


def _branch(project: Project, branch: BranchInfo, main: sa.URL, main_id: str) -> Branch:
    record = marks.record_of(branch)
    password = main.password if _has_passwords_of(main_id, project, branch) else None
    endpoint = project.endpoint_of(branch)
    url = "" if endpoint is None else urls.plain(neon_address.led(main, endpoint.id, endpoint.host, password))
    return Branch(
        id=branch.id,
        name=name_of(branch),
        parent=parent_name(project, branch, main_id),
        url=url,
        created_at=branch.created_at,
        expires_at=branch.expires_at,
        backend=NAME,
        labels={} if record is None else record.labels,
        has_record=record is not None and marks.ages_agree(branch),
    )
