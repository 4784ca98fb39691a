"""Branches, but for what makes them and what replaces their data."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from neon_emulator.errors import NotAllowed
from neon_emulator.service import actions, branch_making, expiry_rules, find, limits, pages, restoring, worker
from neon_emulator.service.claims import Reserved
from neon_emulator.service.views import BranchPage
from neon_emulator.service.worker import Step
from neon_emulator.state.models import Branch, Database, Endpoint, Operation, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from neon_emulator.service.core import Core
    from neon_emulator.service.views import BranchMade
    from neon_emulator.service.wishes import BranchWish, ListWish, RestoreWish

BY_USER = "user"
BY_TTL = "ttl"


class Branches:
    """What can be done with branches.

    Args:
        core: the service's parts.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def page(self, project_id: str, wish: ListWish) -> BranchPage:
        """A page of a project's branches.

        Raises:
            InvalidRequest: for a cursor of another list, or of another order.
            NotFound: where there is no such project.
        """
        found = self._found(project_id, wish.search, deleted=wish.include_deleted)
        descending = wish.sort_order == "desc"
        found.sort(key=lambda branch: _place(branch, wish.sort_by), reverse=descending)
        cursor = wish.cursor
        if cursor is not None:
            begin = _begin(cursor, wish)
            found = [one for one in found if _is_after(_place(one, wish.sort_by), begin, descending=descending)]
        page = found[: wish.limit]
        if page:
            cursor = _cursor(page[-1], wish)
        return BranchPage(page, cursor, wish.sort_by, wish.sort_order.upper())

    def count(self, project_id: str, search: str = "") -> int:
        """How many branches of a project have a text in their name or id.

        Raises:
            NotFound: where there is no such project.
        """
        return len(self._found(project_id, search, deleted=False))

    def get(self, project_id: str, branch_id: str) -> Branch:
        """A branch.

        Raises:
            NotFound: where there is none.
        """
        with self._core.store.session() as session:
            return find.branch(session, project_id, branch_id)

    def create(self, project_id: str, wish: BranchWish) -> BranchMade:
        """Make a branch; see `branch_making.create`."""
        return branch_making.create(self._core, project_id, wish)

    def restore(self, project_id: str, branch_id: str, wish: RestoreWish) -> tuple[Branch, Sequence[Operation]]:
        """Replace a branch's data; see `restoring.restore`."""
        return restoring.restore(self._core, project_id, branch_id, wish)

    def update(self, project_id: str, branch_id: str, changes: Mapping[str, Any]) -> tuple[Branch, Sequence[Operation]]:
        """Change a branch's name, its protection or its expiry.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        core = self._core
        with core.claims.claim() as claim, core.store.session() as session:
            branch = find.branch(session, project_id, branch_id)
            core.take(session, claim, branch)
            if "name" in changes:
                limits.check_name(session, core.claims, Reserved(branch.id, project_id, changes["name"]))
                branch.name = changes["name"]
            self._protect(session, branch, protected=changes.get("protected", branch.protected))
            if "expires_at" in changes:
                self._expire(session, branch, changes["expires_at"])
            elif branch.protected and branch.expires_at is not None:
                raise NotAllowed("a branch that expires cannot be protected: take its expires_at away first")
            branch.updated_at = core.clock.now()
        return branch, []

    def set_default(self, project_id: str, branch_id: str) -> tuple[Branch, Sequence[Operation]]:
        """Make a branch the default one.

        Raises:
            Busy: where it has an operation that has not ended.
            NotAllowed: where it expires.
            NotFound: where there is none.
        """
        core = self._core
        with core.claims.claim() as claim, core.store.session() as session:
            branch = find.branch(session, project_id, branch_id)
            core.take(session, claim, branch)
            if branch.expires_at is not None:
                raise NotAllowed("a branch that expires cannot be the default one: take its expires_at away first")
            former = find.default_branch(session, project_id)
            former.is_default = False
            branch.is_default = True
            former.updated_at = branch.updated_at = core.clock.now()
        return branch, []

    def delete(
        self, project_id: str, branch_id: str, *, expired_by: datetime | None = None
    ) -> tuple[Branch, Sequence[Operation]] | None:
        """Delete a branch with its endpoints; None where there is no such branch, as when it was deleted before.

        Args:
            project_id: the project.
            branch_id: the branch.
            expired_by: a time by which it has to have expired, or it is none of those that are meant.

        Raises:
            Busy: where it has an operation that has not ended, or is being copied.
            NotAllowed: for the default branch, a protected one, and one with children.
            NotFound: where there is no such project.
        """
        core = self._core
        with core.claims.claim() as claim, core.store.session() as session:
            branch = find.branch_or_none(session, project_id, branch_id)
            if branch is None or not _is_due(branch, expired_by):
                return None
            core.take(session, claim, branch)
            _check_deletable(session, branch)
            endpoints = find.endpoints(session, project_id, branch.id)
            steps = [Step(actions.SUSPEND, branch.id, endpoint.id) for endpoint in endpoints]
            steps.append(Step(actions.DELETE_TIMELINE, branch.id, subject=branch.cluster))
            operations = worker.add(session, core.clock, project_id, steps)
            self._forget(session, branch, BY_USER if expired_by is None else BY_TTL)
        core.worker.begin(operations)
        return branch, operations

    def _forget(self, session: Session, branch: Branch, method: str) -> None:
        for table in (Endpoint, Role, Database):
            session.execute(sa.delete(table).where(table.branch_id == branch.id))
        now = self._core.clock.now()
        branch.cluster = None
        branch.pending_state = "storage_deleted"
        branch.state_changed_at = branch.updated_at = branch.deleted_at = now
        branch.deletion_method = method

    def _found(self, project_id: str, search: str, *, deleted: bool) -> list[Branch]:
        with self._core.store.session() as session:
            find.project(session, project_id)
            query = sa.select(Branch).where(Branch.project_id == project_id)
            found = session.scalars(query if deleted else query.where(Branch.deleted_at.is_(None))).all()
        wanted = search.casefold()
        return [branch for branch in found if wanted in branch.name.casefold() or wanted in branch.id]

    def _protect(self, session: Session, branch: Branch, *, protected: bool) -> None:
        if protected and not branch.protected:
            limits.check_protected(session, self._core.limits, self._core.claims, branch.project_id)
        branch.protected = protected

    def _expire(self, session: Session, branch: Branch, expires_at: datetime | None) -> None:
        now = self._core.clock.now()
        if expires_at is not None:
            expiry_rules.check_time(now, expires_at)
            expiry_rules.check_branch(session, branch)
            expires_at = expires_at.replace(microsecond=0)
        branch.expires_at = expires_at
        branch.ttl_interval_seconds = expiry_rules.interval(now, expires_at)


def _is_due(branch: Branch, expired_by: datetime | None) -> bool:
    # Its expiry may have been moved since somebody has found it to be over.
    return expired_by is None or (branch.expires_at is not None and branch.expires_at <= expired_by)


def _check_deletable(session: Session, branch: Branch) -> None:
    # The last root needs no rule of its own: it is the default branch, or that is among its descendants.
    if branch.is_default:
        raise NotAllowed("cannot delete the default branch: make another branch the default first")
    if branch.protected:
        raise NotAllowed("cannot delete protected branch")
    if there := find.children(session, branch.id):
        raise NotAllowed(f"cannot delete branch that has children: {', '.join(child.id for child in there)}")


def _place(branch: Branch, sort_by: str) -> tuple[str, str]:
    value = getattr(branch, sort_by)
    # Of one length and in UTC, so that the texts sort as the times do.
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value, branch.id


def _cursor(branch: Branch, wish: ListWish) -> str:
    value, branch_id = _place(branch, wish.sort_by)
    order = wish.sort_order.upper()
    place = {"branch_id": branch_id, "sort_by": wish.sort_by, "sort_by_value": value, "sort_order": order}
    return pages.encode(place)


def _begin(cursor: str, wish: ListWish) -> tuple[str, str]:
    place = pages.decode(cursor, "branch_id", "sort_by", "sort_by_value", "sort_order")
    if (place["sort_by"], place["sort_order"]) != (wish.sort_by, wish.sort_order.upper()):
        raise pages.foreign(cursor)
    return place["sort_by_value"], place["branch_id"]


def _is_after(place: tuple[str, str], begin: tuple[str, str], *, descending: bool) -> bool:
    return place < begin if descending else place > begin
