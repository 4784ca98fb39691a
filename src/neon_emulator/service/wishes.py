"""What requests ask for, as values; every time is one of the emulated clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Moment:
    """A point of a branch's past: a position in its log or a time; neither means its present."""

    lsn: str | None = None
    timestamp: datetime | None = None

    def __bool__(self) -> bool:
        """Whether it is a point of the past."""
        return self.lsn is not None or self.timestamp is not None


@dataclass(frozen=True)
class EndpointWish:
    """An endpoint to be made; None leaves the choice to the project's settings.

    `suspend_timeout_seconds` is 0 for the plan's own, -1 for never; `branch_id` is None where a branch is made with it.
    """

    type: str
    branch_id: str | None = None
    name: str | None = None
    region_id: str | None = None
    provisioner: str | None = None
    autoscaling_limit_min_cu: float | None = None
    autoscaling_limit_max_cu: float | None = None
    suspend_timeout_seconds: int | None = None
    settings: dict[str, Any] | None = None
    pooler_enabled: bool = False
    pooler_mode: str = "transaction"
    disabled: bool = False
    passwordless_access: bool = True


@dataclass(frozen=True)
class BranchWish:
    """A branch to be made; `parent_id` None means the default branch, `name` None the branch's own id."""

    parent_id: str | None = None
    name: str | None = None
    at: Moment = Moment()
    protected: bool = False
    init_source: str = "parent-data"
    expires_at: datetime | None = None
    endpoints: tuple[EndpointWish, ...] = ()
    annotation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProjectWish:
    """A project to be made; `history_retention_seconds` None means the plan's own."""

    name: str | None = None
    region_id: str | None = None
    provisioner: str | None = None
    pg_version: int | None = None
    store_passwords: bool = True
    history_retention_seconds: int | None = None
    branch_name: str = "main"
    role_name: str = "neondb_owner"
    database_name: str = "neondb"
    annotation: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    default_endpoint_settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RestoreWish:
    """What a branch is to be restored to."""

    source_branch_id: str
    at: Moment = Moment()
    preserve_under_name: str | None = None


@dataclass(frozen=True)
class ListWish:
    """Which branches to list, and how."""

    search: str = ""
    sort_by: str = "updated_at"
    sort_order: str = "desc"
    limit: int | None = None
    cursor: str | None = None
    include_deleted: bool = False
