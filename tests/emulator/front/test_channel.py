"""A side of a connection, by itself."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from neon_emulator.front.channel import Channel

if TYPE_CHECKING:
    from neon_emulator.front.certificate import Certificate


def test_a_client_that_resets_before_tls_leaves_no_socket(certified: Certificate) -> None:
    """A connection that is no more cannot be encrypted, but its socket can still be closed."""

    async def encrypt(server: socket.socket) -> None:
        channel = Channel(server)
        try:
            await channel.encrypt(certified.context)
        finally:
            channel.close()

    with pytest.raises(OSError, match=r"Connection reset|Broken pipe"):
        asyncio.run(encrypt(_reset()))


def _reset() -> socket.socket:
    """The server's side of a connection that its client has reset."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert select.select([server], [], [], 30)[0]
    return server
