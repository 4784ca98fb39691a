"""Answers: what the service hands out, in Neon's field names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from neon_emulator.service.limits import PLANS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from neon_emulator.service.views import BranchMade, BranchPage, Connection, DatabaseView, EndpointView, RoleView
    from neon_emulator.state.models import Branch, Operation, Project

HOST = "127.0.0.1"
OWNER = "00000000-0000-4000-8000-000000000001"
ORGANIZATION = "org-local-emulator-00000001"
EMAIL = "emulator@localhost.localdomain"
NAME = "Local Emulator"
# Of the names that Neon has for its plans, those that clients of earlier years know too.
SUBSCRIPTIONS = {"free": "free_v2", "launch": "launch", "scale": "scale"}

_NEVER = "2000-01-01T00:00:00Z"
_MIB = 1024 * 1024
_BRANCH_COUNTERS = (
    "cpu_used_sec",
    "active_time_seconds",
    "compute_time_seconds",
    "written_data_bytes",
    "data_transfer_bytes",
)
_PROJECT_COUNTERS = ("data_storage_bytes_hour", *_BRANCH_COUNTERS)
_ENDPOINT_FIELDS = (
    "id",
    "project_id",
    "branch_id",
    "autoscaling_limit_min_cu",
    "autoscaling_limit_max_cu",
    "region_id",
    "type",
    "settings",
    "pooler_enabled",
    "pooler_mode",
    "disabled",
    "passwordless_access",
    "suspend_timeout_seconds",
    "provisioner",
)


def second(time: datetime) -> str:
    """A time to the second, as Neon has most of them."""
    return time.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def exact(time: datetime) -> str:
    """A time as exact as it is known: a point of a branch's past must not be another one when it is handed back."""
    return time.replace(tzinfo=None).isoformat() + "Z"


def project(row: Project, plan: str) -> dict[str, Any]:
    """A project."""
    limits = PLANS[plan]
    month = row.created_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    owner = {"email": EMAIL, "name": NAME, "branches_limit": limits.branches, "subscription_type": SUBSCRIPTIONS[plan]}
    return {
        **dict.fromkeys(_PROJECT_COUNTERS, 0),
        **_project(row, plan),
        "consumption_period_start": second(month),
        "consumption_period_end": second(following),
        "owner": owner,
    }


def listed_project(row: Project, plan: str) -> dict[str, Any]:
    """A project as a list has it."""
    return {**_project(row, plan), "active_time": 0, "cpu_used_sec": 0, "org_name": NAME}


def _project(row: Project, plan: str) -> dict[str, Any]:
    size = PLANS[plan].logical_size_mib
    return {
        "id": row.id,
        "platform_id": "aws",
        "region_id": row.region_id,
        "name": row.name,
        "provisioner": row.provisioner,
        "default_endpoint_settings": row.default_endpoint_settings,
        "settings": row.settings,
        "pg_version": row.pg_version,
        "proxy_host": HOST,
        "branch_logical_size_limit": size,
        "branch_logical_size_limit_bytes": size * _MIB,
        "store_passwords": row.store_passwords,
        "creation_source": "console",
        "history_retention_seconds": row.history_retention_seconds,
        "created_at": second(row.created_at),
        "updated_at": second(row.updated_at),
        "owner_id": OWNER,
        "org_id": ORGANIZATION,
    }


def branch(row: Branch) -> dict[str, Any]:
    """A branch."""
    optional = {
        "parent_id": row.parent_id,
        "parent_lsn": row.parent_lsn,
        "parent_timestamp": row.parent_timestamp and exact(row.parent_timestamp),
        "pending_state": row.pending_state,
        "expires_at": row.expires_at and second(row.expires_at),
        "ttl_interval_seconds": row.ttl_interval_seconds,
        "last_reset_at": row.last_reset_at and second(row.last_reset_at),
        "recovery": row.deleted_at and _recovery(row.deleted_at, row.deletion_method),
    }
    return _branch(row) | {key: value for key, value in optional.items() if value is not None}


def _branch(row: Branch) -> dict[str, Any]:
    """What every branch has."""
    return {
        **dict.fromkeys(_BRANCH_COUNTERS, 0),
        "id": row.id,
        "project_id": row.project_id,
        "name": row.name,
        "current_state": row.current_state,
        "state_changed_at": second(row.state_changed_at),
        "creation_source": "console",
        "primary": row.is_default,
        "default": row.is_default,
        "protected": row.protected,
        "created_at": second(row.created_at),
        "updated_at": second(row.updated_at),
        "created_by": {"name": NAME, "image": ""},
        "init_source": row.init_source,
        "logical_size": row.logical_size,
    }


def _recovery(deleted_at: datetime, method: str | None) -> dict[str, Any]:
    # The emulator deletes at once, so that nothing can be recovered from the moment on.
    deleted = second(deleted_at)
    return {"deleted_at": deleted, "recoverable_until": deleted, "deletion_method": method}


def annotation(row: Branch) -> dict[str, Any]:
    """What a client has noted about a branch."""
    return {
        "object": {"type": "console/branch", "id": row.id},
        "value": row.annotation,
        "created_at": second(row.created_at),
        "updated_at": second(row.created_at),
    }


def branch_page(page: BranchPage) -> dict[str, Any]:
    """A page of branches."""
    answer: dict[str, Any] = {
        "branches": [branch(row) for row in page.branches],
        "annotations": {row.id: annotation(row) for row in page.branches},
    }
    if page.cursor is not None:
        answer["pagination"] = {"next": page.cursor, "sort_by": page.sort_by, "sort_order": page.sort_order}
    return answer


def made(thing: BranchMade) -> dict[str, Any]:
    """A branch that was made, with all that came with it."""
    answer: dict[str, Any] = {
        "branch": branch(thing.branch),
        "endpoints": [endpoint(view) for view in thing.endpoints],
        "operations": operations(thing.operations),
        "roles": [role(view) for view in thing.roles],
        "databases": [database(view) for view in thing.databases],
    }
    if thing.connections:
        answer["connection_uris"] = [connection(one) for one in thing.connections]
    return answer


def endpoint(view: EndpointView) -> dict[str, Any]:
    """An endpoint."""
    row = view.row
    answer: dict[str, Any] = {name: getattr(row, name) for name in _ENDPOINT_FIELDS}
    answer |= {
        "host": address(row.port),
        "proxy_host": HOST,
        "current_state": view.state,
        "last_active": second(view.last_active) if view.last_active else _NEVER,
        "creation_source": "console",
        "created_at": second(row.created_at),
        "updated_at": second(row.updated_at),
    }
    optional = {
        "name": row.name,
        "pending_state": row.pending_state,
        "started_at": view.started_at and second(view.started_at),
        "suspended_at": view.suspended_at and second(view.suspended_at),
    }
    return answer | {key: value for key, value in optional.items() if value is not None}


def operations(rows: Iterable[Operation]) -> list[dict[str, Any]]:
    """Operations."""
    return [operation(row) for row in rows]


def operation(row: Operation) -> dict[str, Any]:
    """An operation."""
    duration = row.updated_at - row.created_at
    answer = {
        "id": row.id,
        "project_id": row.project_id,
        "action": row.action,
        "status": row.status,
        "failures_count": row.failures_count,
        "created_at": second(row.created_at),
        "updated_at": second(row.updated_at),
        # The clock may be moved meanwhile; what is told has to fit into 32 bits.
        "total_duration_ms": min(max(0, int(duration.total_seconds() * 1000)), 2**31 - 1),
    }
    optional = {"branch_id": row.branch_id, "endpoint_id": row.endpoint_id, "error": row.error}
    return answer | {key: value for key, value in optional.items() if value is not None}


def role(view: RoleView) -> dict[str, Any]:
    """A role, with its password where it may be told now."""
    answer = {
        "branch_id": view.branch_id,
        "name": view.name,
        "protected": False,
        "authentication_method": "password",
        "created_at": second(view.created_at),
        "updated_at": second(view.updated_at),
    }
    return answer | ({"password": view.password} if view.password is not None else {})


def database(view: DatabaseView) -> dict[str, Any]:
    """A database."""
    return {
        "id": view.id,
        "branch_id": view.branch_id,
        "name": view.name,
        "owner_name": view.owner_name,
        "created_at": second(view.created_at),
        "updated_at": second(view.updated_at),
    }


def connection(one: Connection) -> dict[str, Any]:
    """Where a database is to be found, as a URI and in its parts."""
    parameters = {
        "database": one.database,
        "password": one.password,
        "role": one.role,
        "host": address(one.port),
        "pooler_host": address(one.port),
    }
    return {"connection_uri": uri(one), "connection_parameters": parameters}


def uri(one: Connection) -> str:
    """Where a database is to be found, as a URI."""
    role, password, name = (quote(part, safe="") for part in (one.role, one.password, one.database))
    return f"postgresql://{role}:{password}@{address(one.port)}/{name}?sslmode=require&channel_binding=require"


def address(port: int) -> str:
    """An endpoint's host; the port is part of it, since it is what tells the endpoints of this machine apart."""
    return f"{HOST}:{port}"
