"""``NEON_…``, with the meanings that Neon's own command line gives them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from pydantic import SecretStr

    from flask_branches.neon_client import Access

    Find = Callable[[str], object]

MISSING = (
    "Neon makes branches for who has a key: set NEON_API_KEY to one of your account, and NEON_PROJECT_ID to the "
    "project's id, in the environment or in .env."
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
    from flask_branches.neon_client import Access

    access = Access(_secret(find("NEON_API_KEY")), str(find("NEON_PROJECT_ID")))
    return NeonSettings(
        replace(
            access,
            api_host=_text(find, "NEON_API_HOST") or access.api_host,
            timeout=timeout or access.timeout,
            patience=patience or access.patience,
        ),
        _text(find, "NEON_BRANCH"),
        _text(find, "NEON_DATABASE"),
        _text(find, "NEON_ROLE"),
    )


def _text(find: Find, name: str) -> str | None:
    value = find(name)
    return str(value) if value else None


def _secret(value: object) -> SecretStr:
    from pydantic import SecretStr

    return value if isinstance(value, SecretStr) else SecretStr(str(value))
