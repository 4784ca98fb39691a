"""One client's connection, from its first byte to its last."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neon_emulator.front import computes, messages, startup
from neon_emulator.front.authentication import authenticate
from neon_emulator.front.channel import Channel, Ended
from neon_emulator.front.messages import Refused
from neon_emulator.front.relay import GOODBYE, Relay, Use

if TYPE_CHECKING:
    from pathlib import Path

    from neon_emulator.front.certificate import Certificate
    from neon_emulator.front.computes import Backend, Computes

_LOG = logging.getLogger(__name__)
_SAY_SECONDS = 1.0
_END_SECONDS = 2.0
_DRAIN_SECONDS = 2.0


@dataclass(frozen=True)
class House:
    """What all sessions share: who knows the servers, the certificate, and the seconds that a client has.

    `patience` ends with the server's greeting; waking is not counted.
    """

    computes: Computes
    certificate: Certificate
    patience: float


@dataclass
class Door:
    """What an endpoint's sessions share; `drops` counts how often all of them were ended."""

    endpoint: str
    use: Use = field(default_factory=Use)
    sessions: set[Session] = field(default_factory=set)
    drops: int = 0


@dataclass(frozen=True)
class _Key:
    """How a session's own query is cancelled."""

    socket: Path
    packet: bytes


class Session:
    """A client's connection.

    Args:
        client: its channel.
        door: the endpoint's.
        house: what all have in common.
    """

    def __init__(self, client: Channel, door: Door, house: House) -> None:
        """Take the client over; nothing is read before `run`."""
        self._client, self._door, self._house = client, door, house
        self._server: Channel | None = None
        self._key: _Key | None = None
        self._relay: Relay | None = None
        self._limit: asyncio.Timeout | None = None
        self._ending = False
        self._over = asyncio.Event()
        self.is_placed = False  # whether it is bound to a server; until then the end of all sessions is none of its own
        door.sessions.add(self)

    async def run(self) -> None:
        """Serve the client until it goes, the server goes, or the session is ended."""
        try:
            await self._serve_or_refuse()
            self._client.finish()
            self._close_server()
            await self._client.drain(_DRAIN_SECONDS)
        finally:
            self._close_server()
            self._client.close()

    async def end(self) -> None:
        """End the session as by an administrator's command; return when the client has been told, or is let go."""
        self._ending = True
        if self._relay is not None:
            self._relay.hang_up()
            if self._key is not None:
                await computes.cancel(self._key.socket, self._key.packet)
        elif self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._over.wait()
        except TimeoutError:
            # The server is busy with what cannot be cancelled, or the client reads nothing.
            if self._relay is not None:
                self._relay.stop()

    async def _serve_or_refuse(self) -> None:
        try:
            await self._serve()
        except Refused as refusal:
            await self._say(messages.fatal(refusal))
        except (Ended, OSError) as gone:
            _LOG.debug("A connection to %s ended early: %s", self._door.endpoint, type(gone).__name__)
        except Exception:  # noqa: BLE001 - one session's failure must not reach the others; the log has the whole
            _LOG.exception("A connection to %s failed", self._door.endpoint)
            await self._say(messages.fatal(Refused(messages.INTERNAL_ERROR, "internal error: the log says more")))

    async def _serve(self) -> None:
        try:
            async with asyncio.timeout(0 if self._ending else self._house.patience) as self._limit:
                relay = await self._begin()
        except TimeoutError:
            if not self._ending:
                raise Refused(messages.QUERY_CANCELED, "canceling authentication due to timeout") from None
            relay = None
        finally:
            self._limit = None
        if self._ending:
            await self._say(GOODBYE)
        elif relay is not None:
            self._relay = relay
            await relay.run()

    async def _begin(self) -> Relay | None:
        """Everything before the session's first query; None where there will be none."""
        wish = await startup.receive(self._client, self._house.certificate)
        if isinstance(wish, startup.Cancel):
            if (socket := self._house.computes.awake(self._door.endpoint)) is not None:
                await computes.cancel(socket, wish.packet)
            return None
        backend, verifier = await self._meet(wish.role)
        await authenticate(self._client, wish.role, verifier, self._house.certificate)
        packet = wish.packet(backend.options)
        self._server, said = await computes.reach(self._wake_again, self._door.endpoint, backend, packet)
        key = await computes.greeting(self._server, self._client, said)
        self._key = None if key is None else _Key(backend.socket, messages.cancel(key))
        return Relay(self._client, self._server, self._door.use)

    async def _meet(self, role: str) -> tuple[Backend, str | None]:
        """The server, started where it sleeps, and a role's verifier; anew where all sessions were ended meanwhile."""
        self._wait_for_client(None)
        drops = -1
        while drops != self._door.drops:
            drops = self._door.drops
            self._door.use.last = time.monotonic()
            found = await computes.meet(self._house.computes, self._door.endpoint, role)
        self.is_placed = True
        self._door.use.last = time.monotonic()
        self._wait_for_client(self._house.patience)
        return found

    async def _wake_again(self) -> Backend:
        """The server, where it was lost since; not for a session that is ended, whose endpoint is to go to sleep."""
        self._wait_for_client(None)
        backend = await self._house.computes.wake(self._door.endpoint)
        self._wait_for_client(self._house.patience)
        return backend

    def _wait_for_client(self, seconds: float | None) -> None:
        if self._limit is not None and not self._ending:
            self._limit.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)

    async def _say(self, last: bytes) -> None:
        """Say a last word; a client that does not take it, or is still beginning with TLS, is not waited for."""
        with suppress(OSError):
            async with asyncio.timeout(_SAY_SECONDS):
                await self._client.write(last)

    def _close_server(self) -> None:
        self._over.set()
        self._door.sessions.discard(self)
        if self._server is not None:
            self._server.close()
