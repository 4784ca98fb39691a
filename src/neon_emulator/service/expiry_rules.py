"""When a branch may expire."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from neon_emulator.errors import NotAllowed
from neon_emulator.service import find

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from neon_emulator.state.models import Branch

LONGEST = timedelta(days=30)


def check_time(now: datetime, expires_at: datetime) -> None:
    """Refuse a time in the past, or too far ahead.

    Raises:
        NotAllowed: where it is.
    """
    if not now < expires_at <= now + LONGEST:
        raise NotAllowed(
            f"expires_at is {_text(expires_at)}, and must be in the future and at most {LONGEST.days} days ahead; "
            f"it is {_text(now)} now"
        )


def check_branch(session: Session, branch: Branch) -> None:
    """Refuse an expiry for a branch that others depend on.

    Raises:
        NotAllowed: for the default branch, a protected one, and one with children.
    """
    if branch.is_default:
        raise NotAllowed("the default branch cannot expire: make another branch the default first")
    if branch.protected:
        raise NotAllowed("a protected branch cannot expire: take the protection away first")
    if there := find.children(session, branch.id):
        raise NotAllowed(f"a branch that has children cannot expire: delete {', '.join(child.id for child in there)}")


def interval(now: datetime, expires_at: datetime | None) -> int | None:
    """The seconds between now and an expiry, which a reset begins anew."""
    return None if expires_at is None else max(1, round((expires_at - now).total_seconds()))


def after(now: datetime, seconds: int) -> datetime:
    """The time of an expiry that begins anew."""
    return now.replace(microsecond=0) + timedelta(seconds=seconds)


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
