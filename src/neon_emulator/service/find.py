"""Things by their ids, and what may be done to them now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from neon_emulator.errors import Busy, NotAllowed, NotFound
from neon_emulator.state.models import READ_WRITE, UNFINISHED, Branch, Endpoint, Operation, Project, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

READY = "ready"


def project(session: Session, project_id: str) -> Project:
    """A project.

    Raises:
        NotFound: where there is none of that id.
    """
    found = session.get(Project, project_id)
    if found is None:
        raise NotFound(f'project not found; project_id:"{project_id}"')
    return found


def branch(session: Session, project_id: str, branch_id: str) -> Branch:
    """A branch that was not deleted.

    Raises:
        NotFound: where the project has none of that id, or there is no such project.
    """
    found = branch_or_none(session, project_id, branch_id)
    if found is None:
        raise NotFound(f'branch not found; branch_id:"{branch_id}"')
    return found


def branch_or_none(session: Session, project_id: str, branch_id: str) -> Branch | None:
    """A branch that was not deleted, where there is one.

    Raises:
        NotFound: where there is no such project.
    """
    project(session, project_id)
    found = session.get(Branch, branch_id)
    return found if found and found.project_id == project_id and found.deleted_at is None else None


def branches(session: Session, project_id: str) -> Sequence[Branch]:
    """All branches of a project that were not deleted."""
    query = sa.select(Branch).where(Branch.project_id == project_id, Branch.deleted_at.is_(None))
    return session.scalars(query.order_by(Branch.created_at, Branch.id)).all()


def default_branch(session: Session, project_id: str) -> Branch:
    """The default branch of a project."""
    return next(found for found in branches(session, project_id) if found.is_default)


def children(session: Session, branch_id: str) -> Sequence[Branch]:
    """The branches that were made of a branch, and were not deleted."""
    query = sa.select(Branch).where(Branch.parent_id == branch_id, Branch.deleted_at.is_(None))
    return session.scalars(query.order_by(Branch.created_at, Branch.id)).all()


def endpoint(session: Session, project_id: str, endpoint_id: str) -> Endpoint:
    """An endpoint.

    Raises:
        NotFound: where the project has none of that id, or there is no such project.
    """
    found = endpoint_or_none(session, project_id, endpoint_id)
    if found is None:
        raise NotFound(f'endpoint not found; endpoint_id:"{endpoint_id}"')
    return found


def endpoint_or_none(session: Session, project_id: str, endpoint_id: str) -> Endpoint | None:
    """An endpoint, where there is one.

    Raises:
        NotFound: where there is no such project.
    """
    project(session, project_id)
    found = session.get(Endpoint, endpoint_id)
    return found if found and found.project_id == project_id else None


def endpoints(session: Session, project_id: str, branch_id: str | None = None) -> Sequence[Endpoint]:
    """The endpoints of a project, or of one of its branches."""
    query = sa.select(Endpoint).where(Endpoint.project_id == project_id)
    if branch_id is not None:
        query = query.where(Endpoint.branch_id == branch_id)
    return session.scalars(query.order_by(Endpoint.created_at, Endpoint.id)).all()


def read_write(session: Session, branch_id: str) -> Endpoint | None:
    """The endpoint that a branch can be written through, where it has one."""
    query = sa.select(Endpoint).where(Endpoint.branch_id == branch_id, Endpoint.type == READ_WRITE)
    return session.scalars(query).one_or_none()


def roles(session: Session, branch_id: str) -> dict[str, Role]:
    """What is known about a branch's roles, by name."""
    return {role.name: role for role in session.scalars(sa.select(Role).where(Role.branch_id == branch_id))}


def is_busy(session: Session, branch_id: str) -> bool:
    """Whether a branch has an operation that has not ended."""
    query = sa.select(Operation.number).where(Operation.branch_id == branch_id, Operation.status.in_(UNFINISHED))
    return session.scalars(query.limit(1)).first() is not None


def unfinished(session: Session, project_id: str | None = None) -> Sequence[Operation]:
    """The operations that have not ended, of a project or of all."""
    query = sa.select(Operation).where(Operation.status.in_(UNFINISHED))
    if project_id is not None:
        query = query.where(Operation.project_id == project_id)
    return session.scalars(query.order_by(Operation.number)).all()


def check_not_busy(session: Session, branch_id: str) -> None:
    """Refuse where a branch has an operation that has not ended.

    Raises:
        Busy: where it has.
    """
    if is_busy(session, branch_id):
        raise Busy


def check_ready(branch: Branch) -> None:
    """Refuse where a branch cannot be copied yet.

    Raises:
        NotAllowed: where it cannot.
    """
    if branch.current_state != READY:
        raise NotAllowed("branch not ready yet")


def cluster(branch: Branch) -> str:
    """The cluster that holds a branch's data."""
    if branch.cluster is None:
        raise AssertionError(f"{branch.id} has been deleted, and with it its data.")
    return branch.cluster
