"""One side of a connection: a socket that does not block, with TLS or without.

Before a session, whole packets are read and written with `await`. What is read is never more than what was asked for:
the rest stays with the kernel, so that nothing said before TLS can pass for something said in it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from neon_emulator.front.messages import PROTOCOL_VIOLATION, Message, Refused, number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What a socket says where it would have to wait.
AGAIN = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_HEADER_BYTES = 5
_CHUNK = 64 * 1024
_RETRY_SECONDS = 0.005

_T = TypeVar("_T")


class Ended(Exception):
    """The other side is gone."""


class Channel:
    """A connected socket of a client's or of a server's."""

    def __init__(self, connected: socket.socket) -> None:
        """Take the socket over."""
        connected.settimeout(0)
        self.socket = connected
        self._loop = asyncio.get_running_loop()

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The socket as one with TLS, where it is one."""
        return self.socket if isinstance(self.socket, ssl.SSLSocket) else None

    def fileno(self) -> int:
        """The file descriptor."""
        return self.socket.fileno()

    async def begins_with(self, byte: bytes) -> bool:
        """Whether the first byte that comes is this one; it is not taken away."""
        return await self._ready(lambda: self.socket.recv(1, socket.MSG_PEEK)) == byte

    async def encrypt(self, context: ssl.SSLContext) -> None:
        """Become the server's side of TLS.

        Raises:
            OSError: where the client does not agree, as `ssl.SSLError`, or is gone.
        """
        secured = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.socket = secured
        await self._ready(secured.do_handshake)

    async def read(self, size: int) -> bytes:
        """Read so many bytes.

        Raises:
            Ended: where the other side closes before.
        """
        data = b""
        while len(data) < size:
            data += await self.read_some(size - len(data))
        return data

    async def read_some(self, size: int) -> bytes:
        """Read what there is, at least one byte and at most so many.

        Raises:
            Ended: where the other side closes.
        """
        data = await self._ready(lambda: self.socket.recv(size))
        if not data:
            raise Ended
        return data

    async def read_message(self, limit: int) -> Message:
        """Read a typed message of at most so many bytes.

        Raises:
            Ended: where the other side closes before its end.
            Refused: for a longer one, or an impossible length.
        """
        header = await self.read(_HEADER_BYTES)
        size = number(header, 1) - 4
        if not 0 <= size <= limit:
            raise Refused(PROTOCOL_VIOLATION, f"invalid message length {size + 4}: at most {limit + 4} here")
        return Message(header[:1], await self.read(size))

    async def write(self, data: bytes) -> None:
        """Write all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[await self._ready(partial(self.socket.send, rest), writing=True) :]

    def finish(self) -> None:
        """Say that nothing more will come; what was said before still arrives. A second time is without effect."""
        # Whether the other side wants to know is its own affair: it may be gone.
        with suppress(OSError, ValueError):
            if self.tls is not None:
                self.tls.unwrap()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    async def drain(self, seconds: float) -> None:
        """Read and forget until the other side closes: closed on unread bytes, a socket takes back what was said."""
        with suppress(OSError, Ended):
            async with asyncio.timeout(seconds):
                while True:
                    await self.read_some(_CHUNK)

    def close(self) -> None:
        """Close the socket; a second time is without effect."""
        self.socket.close()

    async def _ready(self, attempt: Callable[[], _T], *, writing: bool = False) -> _T:
        while True:
            try:
                return attempt()
            except ssl.SSLWantReadError:
                await self._until(writing=False)
            except ssl.SSLWantWriteError:
                await self._until(writing=True)
            except (BlockingIOError, InterruptedError):
                await self._until(writing=writing)

    async def _until(self, *, writing: bool) -> None:
        ready = asyncio.Event()
        add = self._loop.add_writer if writing else self._loop.add_reader
        remove = self._loop.remove_writer if writing else self._loop.remove_reader
        add(self.socket, ready.set)
        try:
            await ready.wait()
        finally:
            remove(self.socket)


async def connect(path: Path) -> Channel:
    """Connect to a server's Unix socket.

    Raises:
        OSError: where no server listens there.
    """
    channel = Channel(socket.socket(socket.AF_UNIX))
    try:
        # asyncio's own way takes a queue that is full, which needs another try, for a connection that is on its way.
        while not _is_connected(channel.socket, path):  # noqa: ASYNC110 - nothing tells when there is room again
            await asyncio.sleep(_RETRY_SECONDS)
    except BaseException:
        channel.close()
        raise
    return channel


def _is_connected(unconnected: socket.socket, path: Path) -> bool:
    try:
        unconnected.connect(str(path))
    except BlockingIOError:
        return False
    return True
