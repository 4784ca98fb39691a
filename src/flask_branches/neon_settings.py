"""``NEON_…``, with the meanings that Neon's own command line gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from flask_branches.neon_client import Access

    Find = Callable[[str], str | None]

NAMES = ("NEON_API_KEY", "NEON_PROJECT_ID", "NEON_API_HOST", "NEON_BRANCH", "NEON_DATABASE", "NEON_ROLE")
MISSING = (
    "The database is on Neon, whose branches are made with a key: set NEON_API_KEY to a key of your account, and "
    "NEON_PROJECT_ID to the project's id, in the environment or in .env."
)


@dataclass(frozen=True)
class NeonSettings:
    """How Neon is asked, and which branch, database and role are meant where no URL says it."""

    access: Access
    branch: str | None = None
    """A name or an id; None for the project's default branch."""
    database: str | None = None
    role: str | None = None


def read(find: Find, *, timeout: timedelta | None = None, patience: timedelta | None = None) -> NeonSettings | None:
    """The settings; None where neither a key nor a project is set, or one of the two is missing.

    Args:
        find: gives the value of a variable, None or nothing where it is not set.
        timeout: of one request.
        patience: of one call, with all its repeats.

    Raises:
        ConfigurationError: for a value that cannot be used.
    """
    if not find("NEON_API_KEY") or not find("NEON_PROJECT_ID"):
        return None
    from pydantic import SecretStr

    from flask_branches.neon_client import Access

    chosen = {"api_host": find("NEON_API_HOST") or None, "timeout": timeout, "patience": patience}
    return NeonSettings(
        Access(
            SecretStr(find("NEON_API_KEY") or ""),
            find("NEON_PROJECT_ID") or "",
            **{key: value for key, value in chosen.items() if value is not None},  # type: ignore[arg-type]  # by name
        ),
        find("NEON_BRANCH") or None,
        find("NEON_DATABASE") or None,
        find("NEON_ROLE") or None,
    )
