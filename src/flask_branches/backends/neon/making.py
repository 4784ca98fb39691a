"""How a branch of Neon comes to be: hidden until it is complete, and never without an end while it is not."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from flask_branches import here
from flask_branches.backends.neon import marks
from flask_branches.branch import now
from flask_branches.errors import BranchesError, BranchExists, InvalidValue, NotSupported
from flask_branches.record import EMPTIED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from flask_branches.branch import PointInTime
    from flask_branches.neon_client import BranchInfo, NeonClient
    from flask_branches.record import Record

# Neon's rule, of its guide to branch expiration.
_LONGEST_LIFE = timedelta(days=30)
_HALF_BUILT_FOR = timedelta(hours=1)
_CLOCKS_AGREE = timedelta(hours=1)


def check(record: Record, at: PointInTime | None) -> None:
    """Refuse what Neon cannot make.

    Raises:
        InvalidValue: for an expiry that is further away than Neon lets it be.
        NotSupported: for a branch without rows of a past moment.
    """
    check_expiry(record.expires_at)
    if record.name.startswith(marks.HALF_BUILT):
        raise InvalidValue(
            f"A branch's name cannot begin with {marks.HALF_BUILT!r}, as those do that are not complete."
        )
    if at is not None and is_without_rows(record):
        raise NotSupported(
            "Neon makes a branch without rows of its parent's present only: leave the point in time out."
        )


def check_expiry(expires_at: datetime | None) -> None:
    """Refuse a moment that is further away than Neon lets it be.

    Raises:
        InvalidValue: with the limit.
    """
    if expires_at is not None and expires_at > now() + _LONGEST_LIFE + timedelta(minutes=1):
        raise InvalidValue(
            f"A branch of Neon expires within {_LONGEST_LIFE.days} days, or never: name an earlier moment."
        )


def is_without_rows(record: Record) -> bool:
    """Whether a branch begins with its parent's schema alone, or with not even that."""
    return record.parent is None or record.labels.get(EMPTIED) == "empty"


def exists(name: str) -> BranchExists:
    """That a name is taken."""
    return BranchExists(f"There is a branch {name!r} already: choose another name, or delete it.")


@contextmanager
def taken(name: str) -> Iterator[None]:
    """Say in those words too what Neon answers where somebody else has got a name first."""
    try:
        yield
    except BranchExists:
        raise exists(name) from None


@contextmanager
def half_built(project_id: str) -> Iterator[str]:
    """A name for a branch that is not complete; while the block lives, nobody takes it for a dead one's."""
    name = f"{marks.HALF_BUILT}{secrets.token_hex(6)}"
    with here.locked(f"{project_id} {name}"):
        yield name


def is_dead(branch: BranchInfo, project_id: str) -> bool:
    """Whether a half-built branch was begun on this machine, by a process that is gone."""
    mine = marks.place_of(branch) == here.place()
    return mine and not here.is_held(f"{project_id} {branch.name}")


def latest() -> datetime:
    """About the last moment that a branch can be made to expire at, by a clock that need not be Neon's."""
    return now() + _LONGEST_LIFE - _CLOCKS_AGREE


def sooner(expires_at: datetime | None) -> datetime:
    """When a branch expires that is never completed."""
    limit = now() + _HALF_BUILT_FOR
    return limit if expires_at is None else min(limit, expires_at)


@contextmanager
def undone(client: NeonClient, branch_id: str) -> Iterator[None]:
    """Delete a branch if the block fails; where even that fails, it expires, and the error says so."""
    try:
        yield
    except BaseException as error:
        try:
            client.delete_branch(branch_id)
        except BranchesError as failure:
            if isinstance(error, BranchesError):
                error.args = (f"{error} What was made of it could not be deleted, and expires by itself: {failure}",)
        raise
