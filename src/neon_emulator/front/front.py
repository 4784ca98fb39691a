"""The endpoints' front: it listens for each, proves passwords, wakes the server, and passes on what both sides say."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, NamedTuple

from neon_emulator.front import ports
from neon_emulator.front.channel import Channel
from neon_emulator.front.computes import Backend, Computes
from neon_emulator.front.messages import Refused
from neon_emulator.front.ports import PortTaken
from neon_emulator.front.session import Door, House, Session

if TYPE_CHECKING:
    from neon_emulator.front.certificate import Certificate

__all__ = ["Backend", "Computes", "Front", "PortTaken", "Refused"]

_LOG = logging.getLogger(__name__)
_PATIENCE = 60.0
_ACCEPTED_AT_ONCE = 100
_PAUSE_SECONDS = 0.5
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Open(NamedTuple):
    door: Door
    listener: socket.socket


class Front:
    """All endpoints' listening ports, and the sessions behind them.

    Args:
        computes: who knows the servers.
        certificate: what clients are shown.
        patience: seconds that a client has until the server greets it, without those in which that is woken.
    """

    def __init__(self, computes: Computes, certificate: Certificate, *, patience: float = _PATIENCE) -> None:
        """Listen nowhere yet."""
        self._house = House(computes, certificate, patience)
        self._open: dict[str, _Open] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, endpoint: str, port: int | None) -> int:
        """Listen for an endpoint, on 127.0.0.1.

        Args:
            endpoint: its id.
            port: the one to listen on; None for a free one below 32768.

        Returns:
            The port.

        Raises:
            PortTaken: where it is not free.
            ValueError: for an endpoint that is open.
        """
        if endpoint in self._open:
            raise ValueError(f"The endpoint {endpoint} is open already: close it first.")
        opened = _Open(Door(endpoint), ports.listen(port))
        self._open[endpoint] = opened
        self._resume(opened)
        return int(opened.listener.getsockname()[1])

    async def close(self, endpoint: str) -> None:
        """Stop listening, and end the endpoint's sessions with 57P01; without effect where it is not open."""
        opened = self._open.pop(endpoint, None)
        if opened is not None:
            asyncio.get_running_loop().remove_reader(opened.listener)
            opened.listener.close()
            await _end(opened.door.sessions)

    async def drop(self, endpoint: str) -> None:
        """End the endpoint's sessions with 57P01, and keep listening; without effect where it is not open.

        Clients that wait for the server to wake are no sessions yet: they go on waiting, and it is woken for them.
        """
        if endpoint in self._open:
            door = self._open[endpoint].door
            door.drops += 1
            await _end({session for session in door.sessions if session.is_placed})

    def last_byte(self, endpoint: str) -> float:
        """When the endpoint was last used, as `time.monotonic` has it: a byte in a session, or a session's begin.

        Raises:
            KeyError: for an endpoint that is not open.
        """
        return self._open[endpoint].door.use.last

    def sessions(self, endpoint: str) -> int:
        """How many clients are connected now.

        Raises:
            KeyError: for an endpoint that is not open.
        """
        return len(self._open[endpoint].door.sessions)

    def _resume(self, opened: _Open) -> None:
        if self._open.get(opened.door.endpoint) is opened:
            asyncio.get_running_loop().add_reader(opened.listener, self._accept, opened)

    def _accept(self, opened: _Open) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, _ = opened.listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause(opened, error)
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(Session(Channel(client), opened.door, self._house).run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _pause(self, opened: _Open, error: OSError) -> None:
        """Let connections end, and leave new ones in the queue for a moment, rather than ask for them without end."""
        _LOG.warning("No connection to %s can be taken now: %s", opened.door.endpoint, error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(opened.listener)
        loop.call_later(_PAUSE_SECONDS, self._resume, opened)


async def _end(sessions: set[Session]) -> None:
    await asyncio.gather(*(session.end() for session in sessions))
