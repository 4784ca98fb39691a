"""Endpoints as they are asked for: what may be chosen, and what the project's settings fill in."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from neon_emulator import names
from neon_emulator.errors import InvalidRequest, LimitExceeded, NotAllowed
from neon_emulator.service.limits import check_suspend
from neon_emulator.service.wishes import EndpointWish
from neon_emulator.state.models import READ_WRITE, Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from neon_emulator.service.limits import Limits
    from neon_emulator.state.models import Project

COMPUTE_UNIT = 0.25
PROVISIONER = "k8s-neonvm"

_MISSING = object()
_CHOICES = ("autoscaling_limit_min_cu", "autoscaling_limit_max_cu", "suspend_timeout_seconds")
_DEFAULTS = {"autoscaling_limit_min_cu": COMPUTE_UNIT, "autoscaling_limit_max_cu": None, "suspend_timeout_seconds": 0}


def check_all(limits: Limits, wishes: Sequence[EndpointWish]) -> None:
    """Refuse endpoints that a new branch cannot have.

    Raises:
        InvalidRequest: for settings without `pg_settings`.
        LimitExceeded: for a second one that writes.
        PreconditionFailed: for a suspend timeout that the plan does not let one choose.
    """
    for wish in wishes:
        check(limits, {"settings": wish.settings, "suspend_timeout_seconds": wish.suspend_timeout_seconds})
    if sum(wish.type == READ_WRITE for wish in wishes) > 1:
        raise second_read_write()


def check(limits: Limits, choices: Mapping[str, Any]) -> None:
    """Refuse choices that an endpoint cannot have; see `check_all`."""
    settings = choices.get("settings", _MISSING)
    if settings is not _MISSING and settings is not None and settings.get("pg_settings") is None:
        raise InvalidRequest("settings must not be nil")
    check_suspend(limits, choices.get("suspend_timeout_seconds"))


def second_read_write() -> LimitExceeded:
    """What is said to whoever asks for a second endpoint that writes."""
    return LimitExceeded("read_write endpoint already exists", "ENDPOINTS_LIMIT_EXCEEDED")


def new(project: Project, branch_id: str, wish: EndpointWish, now: datetime) -> Endpoint:
    """The row of a new endpoint, without its port.

    Raises:
        NotAllowed: where its smallest size is above its largest.
    """
    given = {field.name: getattr(wish, field.name) for field in fields(EndpointWish)}
    given |= {key: _chosen(project, wish, key) for key in _CHOICES}
    smallest = given["autoscaling_limit_min_cu"]
    largest = given["autoscaling_limit_max_cu"]
    given["autoscaling_limit_max_cu"] = max(smallest, COMPUTE_UNIT) if largest is None else largest
    given |= {"branch_id": branch_id, "settings": wish.settings or _settings(project)}
    given |= {"region_id": wish.region_id or project.region_id, "provisioner": wish.provisioner or PROVISIONER}
    row = Endpoint(
        **given,
        id=names.endpoint_id(),
        project_id=project.id,
        port=0,
        ready=False,
        pending_state=None if wish.disabled else "active",
        created_at=now,
        updated_at=now,
    )
    check_sizes(row)
    return row


def check_sizes(row: Endpoint) -> None:
    """Refuse an endpoint whose smallest size is above its largest.

    Raises:
        NotAllowed: where it is.
    """
    if row.autoscaling_limit_min_cu > row.autoscaling_limit_max_cu:
        raise NotAllowed(
            f"autoscaling_limit_min_cu is {row.autoscaling_limit_min_cu}, which is more than "
            f"autoscaling_limit_max_cu, {row.autoscaling_limit_max_cu}: raise the one or lower the other"
        )


def _chosen(project: Project, wish: EndpointWish, key: str) -> Any:  # noqa: ANN401 - one of a row's values
    value = getattr(wish, key)
    return project.default_endpoint_settings.get(key, _DEFAULTS[key]) if value is None else value


def _settings(project: Project) -> dict[str, Any]:
    return {"pg_settings": project.default_endpoint_settings.get("pg_settings", {})}
