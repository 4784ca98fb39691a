"""Endpoints in the engine's words."""

from __future__ import annotations

from neon_emulator.engine import EndpointSpec
from neon_emulator.service.limits import DEFAULT_SUSPEND, NEVER
from neon_emulator.state.models import READ_ONLY, Endpoint


def spec_of(endpoint: Endpoint, cluster: str) -> EndpointSpec:
    """An endpoint as the engine is to have it."""
    return EndpointSpec(
        id=endpoint.id,
        cluster=cluster,
        port=endpoint.port or None,
        read_only=endpoint.type == READ_ONLY,
        disabled=endpoint.disabled,
        suspend_after=suspend_after(endpoint.suspend_timeout_seconds),
    )


def suspend_after(seconds: int) -> float | None:
    """Seconds without activity after which an endpoint sleeps, None for never, of what a client has asked for."""
    return None if seconds == NEVER else float(seconds or DEFAULT_SUSPEND)
