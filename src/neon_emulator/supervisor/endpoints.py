"""The endpoints: which cluster each leads to, awake or asleep, and asleep again when nobody has used it for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from local_postgres import LocalPostgresError
from neon_emulator.engine import ClusterFailed, ClusterMissing, EndpointSpec, EndpointStatus, EngineError
from neon_emulator.front.front import Backend, Front, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from neon_emulator.clusters.clusters import Clusters
    from neon_emulator.front.certificate import Certificate

_log = logging.getLogger(__name__)
_READ_ONLY = "-c default_transaction_read_only=on"
_DISABLED = "55000"  # object_not_in_prerequisite_state
_NOT_STARTED = "57P03"  # cannot_connect_now
_TROUBLE = (EngineError, LocalPostgresError, OSError)  # a full disk, and the like


@dataclass
class _Endpoint:
    spec: EndpointSpec
    active: bool = False
    started_at: datetime | None = None
    suspended_at: datetime | None = None
    # When it was last used by our reckoning, and how far the API's clock was ahead then.
    used: float = field(default_factory=time.monotonic)
    offset: float = 0.0
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Endpoints:
    """All endpoints, and what the front asks about them."""

    def __init__(self, clusters: Clusters, certificate: Certificate) -> None:
        """Begin without any."""
        self._clusters = clusters
        self._front = Front(self, certificate)
        self._known: dict[str, _Endpoint] = {}
        self._offset = 0.0

    async def open(self, spec: EndpointSpec) -> int:
        """Listen for an endpoint, which is idle."""
        port = await self._front.open(spec.id, spec.port)
        self._known[spec.id] = _Endpoint(spec, offset=self._offset)
        return port

    async def close(self, endpoint: str) -> None:
        """End an endpoint's sessions and stop listening; without effect where there is none."""
        known = self._known.pop(endpoint, None)
        if known is None:
            return
        async with known.changing:
            await self._front.close(endpoint)
            await self._sleep(known)

    async def update(self, spec: EndpointSpec) -> None:
        """Change an endpoint's settings, or move it to another cluster."""
        known = self._find(spec.id)
        async with known.changing:
            try:
                if spec.cluster != known.spec.cluster or spec.disabled:
                    await self._sleep(known)
            finally:
                known.spec = spec  # even where the old server does not stop: what is written there would be lost

    async def start(self, endpoint: str) -> None:
        """Wake an endpoint, or its server where that was killed."""
        try:
            await self._awaken(self._find(endpoint))
        except Refused as refusal:
            raise ClusterFailed(refusal.message) from refusal

    async def suspend(self, endpoint: str) -> None:
        """End an endpoint's sessions, and stop its cluster where nothing else needs it."""
        known = self._find(endpoint)
        async with known.changing:
            await self._sleep(known)

    def statuses(self) -> dict[str, EndpointStatus]:
        """What every endpoint is doing."""
        return {
            name: EndpointStatus(
                state="active" if known.active else "idle",
                last_active=self._last_active(known),
                started_at=known.started_at,
                suspended_at=known.suspended_at,
            )
            for name, known in self._known.items()
        }

    async def set_clock(self, offset: float) -> None:
        """Take over how far the API's clock is ahead, and suspend what has been idle for too long by it."""
        for known in self._known.values():
            self._note_use(known)
        self._offset = offset
        await self.suspend_idle(patient=True)

    async def suspend_idle(self, *, patient: bool = False) -> None:
        """Suspend every endpoint that nobody has used for as long as it may be idle.

        Args:
            patient: whether one that is just being changed is waited for, and else left for the next time.
        """
        several = list(self._known.values())
        await asyncio.gather(*(self._suspend_if_idle(known, patient=patient) for known in several))

    async def lost(self, cluster: str) -> None:
        """Put to sleep what led to a server that has ended by itself; the next connection starts it again."""
        for known in list(self._known.values()):
            if known.spec.cluster == cluster:
                async with known.changing:
                    if self._clusters.running(cluster) is None:
                        await self._sleep(known)

    async def close_all(self) -> None:
        """Stop listening; the clusters are stopped by whoever owns them."""
        await asyncio.gather(*map(self._front.close, self._known))
        self._known.clear()

    # What the front asks.

    async def wake(self, endpoint: str) -> Backend:
        """Where an endpoint's server is, started where it sleeps."""
        try:
            known = self._find(endpoint)
            socket = await self._awaken(known)
        except _TROUBLE as error:
            raise Refused(_NOT_STARTED, f"The compute of {endpoint} could not be started: {error}") from error
        return Backend(socket, _READ_ONLY if known.spec.read_only else "")

    def awake(self, endpoint: str) -> Path | None:
        """Where an endpoint's server is, if it runs."""
        known = self._known.get(endpoint)
        return self._clusters.running(known.spec.cluster) if known is not None and known.active else None

    async def verifier(self, endpoint: str, role: str) -> str | None:
        """The verifier of a role's password, in an endpoint that was woken."""
        try:
            return await self._clusters.verifier(self._find(endpoint).spec.cluster, role)
        except _TROUBLE as error:
            raise Refused(_NOT_STARTED, f"The compute of {endpoint} cannot say who may log in: {error}") from error

    def _find(self, endpoint: str) -> _Endpoint:
        try:
            return self._known[endpoint]
        except KeyError:
            raise ClusterMissing(f"There is no endpoint {endpoint}.") from None

    async def _awaken(self, known: _Endpoint) -> Path:
        cluster = known.spec.cluster
        if known.active and not known.changing.locked() and (socket := self._clusters.running(cluster)) is not None:
            return socket
        async with known.changing:
            if self._known.get(known.spec.id) is not known:
                raise ClusterMissing(f"The endpoint {known.spec.id} was deleted meanwhile.")
            if known.spec.disabled:
                raise Refused(_DISABLED, f"The endpoint {known.spec.id} is disabled: enable it, and connect again.")
            return await self._acquire(known)

    async def _acquire(self, known: _Endpoint) -> Path:
        cluster = known.spec.cluster
        socket = await self._clusters.acquire(cluster)
        known.used, known.offset = time.monotonic(), self._offset
        if known.active:  # its server was killed, and now runs again on the hold that was there before
            await self._clusters.release(cluster)
        else:
            known.active, known.started_at = True, datetime.now(UTC)
        return socket

    async def _sleep(self, known: _Endpoint) -> None:
        """Give the cluster back; the caller holds the endpoint's lock."""
        if not known.active:
            return
        known.active, known.suspended_at = False, datetime.now(UTC)
        name, cluster = known.spec.id, known.spec.cluster
        if any(other.active and other.spec.cluster == cluster for other in self._known.values()):
            await self._front.drop(name)
            await self._clusters.release(cluster)
        else:
            # The server itself tells its clients, and ends what they were running.
            try:
                await self._clusters.release(cluster, linger=0)
            finally:
                await self._front.drop(name)

    async def _suspend_if_idle(self, known: _Endpoint, *, patient: bool) -> None:
        try:
            if known.active and self._is_idle(known) and (patient or not known.changing.locked()):
                async with known.changing:
                    await self._suspend_unless_busy(known)
        except Exception as error:  # noqa: BLE001 - one server in trouble must not keep others awake, nor end everything
            _log.warning("The endpoint %s could not be suspended: %s", known.spec.id, error)
            known.used, known.offset = time.monotonic(), self._offset  # tried again when it has been idle for as long

    async def _suspend_unless_busy(self, known: _Endpoint) -> None:
        if await self._clusters.busy(known.spec.cluster):
            known.used, known.offset = time.monotonic(), self._offset
        elif known.active and self._is_idle(known):
            await self._sleep(known)

    def _is_idle(self, known: _Endpoint) -> bool:
        if known.spec.suspend_after is None:
            return False
        self._note_use(known)
        idle = time.monotonic() - known.used + self._offset - known.offset
        return idle >= known.spec.suspend_after

    def _note_use(self, known: _Endpoint) -> None:
        last = self._front.last_byte(known.spec.id)
        if last > known.used:
            known.used, known.offset = last, self._offset

    def _last_active(self, known: _Endpoint) -> datetime | None:
        if known.started_at is None:
            return None
        self._note_use(known)
        return datetime.now(UTC) - timedelta(seconds=time.monotonic() - known.used)
