"""A session's bytes passed on in both directions, as fast as the slower side takes them.

The event loop calls back for each socket that can be read: no task runs for a round trip. Bytes are read into one
buffer for all sessions and handed on at once; what the other side does not take yet is kept, and no more is read until
it has.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from neon_emulator.front.channel import AGAIN
from neon_emulator.front.direct import watching
from neon_emulator.front.messages import ADMIN_SHUTDOWN, QUERY_CANCELED, Refused, fatal, number

if TYPE_CHECKING:
    from neon_emulator.front.channel import Channel

GOODBYE = fatal(Refused(ADMIN_SHUTDOWN, "terminating connection due to administrator command"))

_READY = b"Z\0\0\0\x05"
_ERROR = re.compile(rb"E(?=\0\0..S)", re.DOTALL)

_BUFFER = memoryview(bytearray(128 * 1024))  # at least a record of TLS, so that none is left half read
_LAST_WORDS = 8 * 1024


@dataclass
class Use:
    """When something was last used, by the monotonic clock."""

    last: float = field(default_factory=time.monotonic)


class Ends(Protocol):
    """Who is told how a direction ends."""

    def exhausted(self, way: Way) -> None:
        """The source has ended, and all of it is passed on."""

    def broken(self, way: Way) -> None:
        """The sink takes nothing any more."""


class Way:
    """One direction.

    Args:
        source: where bytes come from; one that fails counts as one that has ended.
        sink: where they go.
        use: what is told of every byte.
        ends: who is told of the end.
    """

    def __init__(self, source: Channel, sink: Channel, use: Use, ends: Ends) -> None:
        """Read nothing before `begin`."""
        self._watching = watching()
        self._source, self._sink, self._use, self._ends = source, sink, use, ends
        self._receive, self._send = source.socket.recv_into, sink.socket.send
        self._kept = memoryview(b"")
        self._stopped = self._over = False
        self._held: bytes | None = None

    def begin(self) -> None:
        """Read from now on; what TLS has read already is not seen by the event loop."""
        self._watching.add_reader(self._source, self._readable)
        if self._source.tls is not None and self._source.tls.pending():
            self._readable()

    def hold_last_words(self) -> None:
        """Pass on what the source still says, but its last message only after it was made to say why it ends."""
        self._held = b""

    def stop(self) -> None:
        """Read and write nothing any more; a second time is without effect."""
        if not self._stopped:
            self._stopped = True
            self._watching.remove_reader(self._source)
            if self._kept:
                self._watching.remove_writer(self._sink)

    def _readable(self) -> bool:
        """Read once, and tell whether anybody has been told of an end."""
        try:
            size = self._receive(_BUFFER)
        except AGAIN:
            return False
        except OSError:
            size = 0
        if not size:
            self._end()
            return True
        self._use.last = time.monotonic()
        data = _BUFFER[:size]
        self._pass_on(data if self._held is None else self._but_last(data))
        return self._stopped

    def _but_last(self, data: memoryview) -> memoryview:
        held = (self._held or b"") + data
        self._held = held[-_LAST_WORDS:]
        return memoryview(held[:-_LAST_WORDS])

    def _pass_on(self, data: memoryview) -> None:
        sent = self._sent(data)
        if sent < len(data) and not self._stopped:
            self._kept = memoryview(bytes(data[sent:]))
            self._watching.remove_reader(self._source)
            self._watching.add_writer(self._sink, self._writable)

    def _writable(self) -> bool:
        """Write once, and tell whether anybody has been told of an end."""
        self._use.last = time.monotonic()
        self._kept = self._kept[self._sent(self._kept) :]
        if not self._kept and not self._stopped:
            self._watching.remove_writer(self._sink)
            if self._over:
                self._end()
            else:
                self._watching.add_reader(self._source, self._readable)
        return self._stopped

    def _sent(self, data: memoryview) -> int:
        try:
            return self._send(data)
        except AGAIN:
            return 0
        except OSError:
            self.stop()
            self._ends.broken(self)
            return 0

    def _end(self) -> None:
        self._over = True
        self._watching.remove_reader(self._source)
        if self._held is not None:
            held, self._held = self._held, None
            self._pass_on(memoryview(farewell(held)))
        if not self._kept and not self._stopped:
            self.stop()
            self._ends.exhausted(self)


def farewell(said: bytes) -> bytes:
    """The last words of a server whose session an administrator has ended, with the reason.

    That it has cancelled a query is left out: it was told to do so only in order to end the session.
    """
    if f"\0C{ADMIN_SHUTDOWN}\0".encode() in said:
        return said
    for error in _ERROR.finditer(said):
        start = error.start()
        end = start + 1 + number(said, start + 1)
        if f"\0C{QUERY_CANCELED}\0".encode() in said[start:end] and said[end:-1] in {b"", _READY}:
            return said[:start] + GOODBYE
    return said + GOODBYE


class Relay:
    """Both directions of a session.

    Args:
        client: the client's channel.
        server: the server's.
        use: what is told of every byte.
    """

    def __init__(self, client: Channel, server: Channel, use: Use) -> None:
        """Pass nothing on before `run`."""
        self._client, self._server = client, server
        self._up = Way(client, server, use, self)
        self._down = Way(server, client, use, self)
        self._done = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Pass on until the server has ended the session and the client has been told, or the client is gone."""
        try:
            self._down.begin()
            self._up.begin()
            await self._done
        finally:
            self.stop()

    def hang_up(self) -> None:
        """End the session as an administrator does: the server is left, and the client told what it said, and why."""
        self._down.hold_last_words()
        self._up.stop()
        self._server.finish()

    def stop(self) -> None:
        """End the session at once."""
        self._up.stop()
        self._down.stop()
        if not self._done.done():
            self._done.set_result(None)

    def exhausted(self, way: Way) -> None:
        """Tell the other side."""
        if way is self._up:
            self._server.finish()
        else:
            self._client.finish()
            self.stop()

    def broken(self, way: Way) -> None:
        """A server that has gone may have left its last words; a client that has gone reads nothing any more."""
        if way is self._down:
            self.stop()
