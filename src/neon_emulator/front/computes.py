"""The front's way to the servers behind it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from neon_emulator.front import messages
from neon_emulator.front.channel import Channel, Ended, connect
from neon_emulator.front.messages import CANNOT_CONNECT_NOW, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path
    from typing import Any

_T = TypeVar("_T")

_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.05
_CANCEL_SECONDS = 3.0
_CHUNK = 64 * 1024

_kept: set[asyncio.Task[Any]] = set()


@dataclass(frozen=True)
class Backend:
    """Where an endpoint's server is: its Unix socket, and options that every session of the endpoint begins with."""

    socket: Path
    options: str = ""


class _NotNow(Exception):
    """A server that is there takes no sessions at the moment."""


class Computes(Protocol):
    """What the front asks of whoever keeps the servers."""

    async def wake(self, endpoint: str) -> Backend:
        """Where an endpoint's server is, started where it sleeps.

        Raises:
            Refused: where it cannot be had.
        """

    def awake(self, endpoint: str) -> Path | None:
        """The socket of an endpoint's server where that runs; it is never started."""

    async def verifier(self, endpoint: str, role: str) -> str | None:
        """What an endpoint's server keeps of a role's password; None for no such role, or one without a password.

        Raises:
            Refused: where the server has ended since it was woken, or does not answer.
        """


async def undisturbed(work: Coroutine[Any, Any, _T]) -> _T:
    """Wait for work that others may wait for too: it goes on where this waiting is cancelled."""
    task = asyncio.ensure_future(work)
    _kept.add(task)
    task.add_done_callback(_kept.discard)
    return await asyncio.shield(task)


async def meet(computes: Computes, endpoint: str, role: str) -> tuple[Backend, str | None]:
    """Wake an endpoint's server, and ask it for a role's verifier; one that is lost in between is woken again.

    Raises:
        Refused: where it cannot be had, or is lost for seconds.
    """
    limit = None
    while True:
        backend = await undisturbed(computes.wake(endpoint))
        limit = limit or time.monotonic() + _CONNECT_SECONDS
        try:
            return backend, await undisturbed(computes.verifier(endpoint, role))
        except Refused:
            if time.monotonic() > limit:
                raise
        await asyncio.sleep(_RETRY_SECONDS)


async def reach(
    wake: Callable[[], Awaitable[Backend]], endpoint: str, backend: Backend, startup: bytes
) -> tuple[Channel, bytes]:
    """Connect to an endpoint's server; one that was killed since it was woken is woken again.

    Args:
        wake: wakes it; a start that is given up when the session ends.
        endpoint: its id.
        backend: where the server is.
        startup: the packet that the session begins with.

    Returns:
        The server's channel, and the first that it says.

    Raises:
        Refused: where it takes no connection for seconds.
    """
    limit = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            return await _begin(backend.socket, startup)
        except (OSError, Ended, _NotNow) as error:
            if time.monotonic() > limit:
                text = f"the compute of {endpoint} takes no connection ({str(error) or 'it hung up'}): try again"
                raise Refused(CANNOT_CONNECT_NOW, text) from error
        await asyncio.sleep(_RETRY_SECONDS)
        backend = await wake()


async def _begin(socket: Path, startup: bytes) -> tuple[Channel, bytes]:
    server = await connect(socket)
    try:
        await server.write(startup)
        said = await server.read_some(_CHUNK)
        if said[:1] == b"E" and f"\0C{CANNOT_CONNECT_NOW}\0".encode() in said:
            raise _NotNow("it is starting or stopping")  # noqa: TRY301 - the channel is closed in one place
    except BaseException:
        server.close()
        raise
    return server, said


async def greeting(server: Channel, client: Channel, said: bytes) -> bytes | None:
    """Pass on what a server says until it is ready, or refuses.

    Args:
        server: its channel.
        client: the client's.
        said: what the server has said already.

    Returns:
        The body of the message that names the session's key; None where there was none.
    """
    await client.write(said)
    while True:
        for message in messages.whole(said):
            if message.kind == b"K":
                return message.body
            if message.kind in {b"Z", b"E"}:
                return None
        some = await server.read_some(_CHUNK)
        await client.write(some)
        said += some


async def cancel(socket: Path, packet: bytes) -> None:
    """Hand a wish to cancel to a server, and wait until it has been heard; a server that is gone has nothing to cancel.

    Args:
        socket: the server's.
        packet: the client's packet, as it is.
    """
    with suppress(OSError, Ended):
        async with asyncio.timeout(_CANCEL_SECONDS):
            server = await connect(socket)
            try:
                await server.write(packet)
                await server.read_some(1)
            finally:
                server.close()
