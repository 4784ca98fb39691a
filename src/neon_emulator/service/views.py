"""What the service hands out: rows of the state together with what the clusters say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from neon_emulator.engine import CatalogDatabase, CatalogRole, EndpointStatus
    from neon_emulator.state.models import Branch, Database, Endpoint, Operation, Project, Role


@dataclass(frozen=True)
class RoleView:
    """A role of a branch; `password` only where it may be told now."""

    branch_id: str
    name: str
    created_at: datetime
    updated_at: datetime
    password: str | None = None


@dataclass(frozen=True)
class DatabaseView:
    """A database of a branch; `id` is its OID."""

    id: int
    branch_id: str
    name: str
    owner_name: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class EndpointView:
    """An endpoint, and what it is doing; its times are those of the emulated clock."""

    row: Endpoint
    state: str
    last_active: datetime | None = None
    started_at: datetime | None = None
    suspended_at: datetime | None = None


@dataclass(frozen=True)
class Connection:
    """Where a database is to be found, as a role of it."""

    port: int
    role: str
    password: str
    database: str


@dataclass(frozen=True)
class BranchPage:
    """Branches, and where the next page begins; `cursor` is None for an empty first page."""

    branches: Sequence[Branch]
    cursor: str | None
    sort_by: str
    sort_order: str


@dataclass(frozen=True)
class BranchMade:
    """A branch, or a project with its first branch, that was made."""

    project: Project
    branch: Branch
    endpoints: Sequence[EndpointView]
    operations: Sequence[Operation]
    roles: Sequence[RoleView]
    databases: Sequence[DatabaseView]
    connections: Sequence[Connection]


def role(branch: Branch, name: str, row: Role | None, password: str | None = None) -> RoleView:
    """A role; one that SQL has made is as old as its branch."""
    dated = row or branch
    return RoleView(branch.id, name, dated.created_at, row.updated_at if row else branch.created_at, password)


def roles(branch: Branch, there: Iterable[CatalogRole], rows: Mapping[str, Role]) -> list[RoleView]:
    """A branch's roles, by name."""
    return [role(branch, one.name, rows.get(one.name)) for one in sorted(there, key=lambda one: one.name)]


def database(branch: Branch, there: CatalogDatabase, row: Database | None) -> DatabaseView:
    """A database; one that SQL has made is as old as its branch."""
    created, updated = (row.created_at, row.updated_at) if row else (branch.created_at, branch.created_at)
    return DatabaseView(there.id, branch.id, there.name, there.owner, created, updated)


def databases(branch: Branch, there: Iterable[CatalogDatabase], rows: Mapping[str, Database]) -> list[DatabaseView]:
    """A branch's databases, by name."""
    return [database(branch, one, rows.get(one.name)) for one in sorted(there, key=lambda one: one.name)]


def state_of(row: Endpoint, status: EndpointStatus | None) -> str:
    """An endpoint's state: `init` until its first start is over."""
    if not row.ready:
        return "init"
    return status.state if status else "idle"
