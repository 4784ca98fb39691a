"""Names that Postgres takes for roles and databases."""

from __future__ import annotations

from neon_emulator.errors import InvalidRequest, NotAllowed
from neon_emulator.names import LONGEST_IDENTIFIER

_RESERVED_ROLES = frozenset({"cloud_admin", "neon_superuser", "none", "public"})
_RESERVED_DATABASES = frozenset({"postgres", "template0", "template1"})


def check_role(name: str) -> None:
    """Refuse a name that no role can have.

    Raises:
        InvalidRequest: for an empty name, or one that is too long.
        NotAllowed: for one that is reserved.
    """
    _check_length(name, "role")
    if name in _RESERVED_ROLES or name.startswith("pg_"):
        raise NotAllowed(f'role name "{name}" is reserved: choose another')


def check_database(name: str) -> None:
    """Refuse a name that no database can have; see `check_role`."""
    _check_length(name, "database")
    if name in _RESERVED_DATABASES:
        raise NotAllowed(f'database name "{name}" is reserved: choose another')


def _check_length(name: str, kind: str) -> None:
    # Postgres would cut a longer one off, and the client would look for it in vain.
    if not 0 < len(name.encode()) <= LONGEST_IDENTIFIER:
        raise InvalidRequest(f'invalid request: {kind} name "{name}" must be 1 to {LONGEST_IDENTIFIER} bytes long')
