"""What a plan allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neon_emulator.errors import AlreadyExists, LimitExceeded, NotAllowed, PreconditionFailed
from neon_emulator.service import find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from neon_emulator.service.claims import Claims, Reserved

MOST_ROLES = 500
MOST_DATABASES = 500
MOST_ACTIVE = 20
MOST_BRANCHES = 5000
DEFAULT_SUSPEND = 300
NEVER = -1

_HOUR = 3600
_DAY = 24 * _HOUR


@dataclass(frozen=True)
class Limits:
    """A plan's limits, by project; `retention` is the longest window of the past, in seconds.

    `branches` is where Neon refuses, which on a paid plan is beyond what the price includes. `suspends` are the suspend
    timeouts that may be asked for, None for every one that Neon knows.
    """

    branches: int
    roots: int
    protected: int
    retention: int
    logical_size_mib: int
    suspends: frozenset[int] | None


PLANS: Mapping[str, Limits] = {
    "free": Limits(10, 3, 0, 6 * _HOUR, 512, frozenset({0})),
    "launch": Limits(MOST_BRANCHES, 5, 2, 7 * _DAY, 16 * 1024 * 1024, frozenset({0, NEVER, DEFAULT_SUSPEND})),
    "scale": Limits(MOST_BRANCHES, 25, 5, 30 * _DAY, 16 * 1024 * 1024, None),
}


def default_retention(limits: Limits) -> int:
    """The window of the past, in seconds, of a project that names none."""
    return min(_DAY, limits.retention)


def check_retention(limits: Limits, seconds: int) -> None:
    """Refuse a window of the past that is longer than the plan's.

    Raises:
        NotAllowed: where it is.
    """
    if seconds > limits.retention:
        raise NotAllowed(
            f"history_retention_seconds is {seconds}, and the plan allows at most {limits.retention}: ask for less"
        )


def check_suspend(limits: Limits, seconds: int | None) -> None:
    """Refuse a suspend timeout that the plan does not let one choose.

    Raises:
        PreconditionFailed: where it does not.
    """
    if seconds is not None and limits.suspends is not None and seconds not in limits.suspends:
        allowed = ", ".join(str(one) for one in sorted(limits.suspends))
        raise PreconditionFailed(
            f"suspend interval changing is not allowed on this plan: suspend_timeout_seconds is {seconds}, "
            f"and may be: {allowed}"
        )


def check_new_branch(session: Session, limits: Limits, claims: Claims, new: Reserved) -> None:
    """Refuse a branch whose name is taken, or that would be one too many.

    Raises:
        AlreadyExists: for the name.
        LimitExceeded: for the number of branches, of root branches, or of protected ones.
    """
    check_name(session, claims, new)
    there = find.branches(session, new.project_id)
    known = {branch.id for branch in there}
    coming = [one for one in claims.reserved(new.project_id) if one.id not in known and one.id != new.id]
    if len(there) + len(coming) >= limits.branches:
        raise LimitExceeded("branches limit exceeded", "BRANCHES_LIMIT_EXCEEDED")
    roots = sum(branch.parent_id is None for branch in there) + sum(one.root for one in coming)
    if new.root and roots >= limits.roots:
        raise LimitExceeded("root branches limit exceeded", "ROOT_BRANCHES_LIMIT_EXCEEDED")
    if new.protected:
        check_protected(session, limits, claims, new.project_id)


def check_name(session: Session, claims: Claims, new: Reserved) -> None:
    """Refuse a name that another branch has, or is about to have.

    Raises:
        AlreadyExists: where one does.
    """
    there = [(branch.id, branch.name) for branch in find.branches(session, new.project_id)]
    coming = [(one.id, one.name) for one in claims.reserved(new.project_id)]
    if any(name == new.name and branch_id != new.id for branch_id, name in there + coming):
        raise AlreadyExists(f'branch already exists; branch_name:"{new.name}"', "BRANCH_ALREADY_EXISTS")


def check_protected(session: Session, limits: Limits, claims: Claims, project_id: str) -> None:
    """Refuse one more protected branch than the plan allows.

    Raises:
        LimitExceeded: where it would be.
    """
    there = find.branches(session, project_id)
    known = {branch.id for branch in there}
    coming = sum(one.protected for one in claims.reserved(project_id) if one.id not in known)
    if sum(branch.protected for branch in there) + coming >= limits.protected:
        raise LimitExceeded("protected branches limit exceeded", "BRANCHES_PROTECTED_LIMIT_EXCEEDED")
