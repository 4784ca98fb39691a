"""The two directions of a session, with ends of our own."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from tests.emulator.front.fronts import SECONDS

from neon_emulator.front.channel import Channel
from neon_emulator.front.computes import cancel
from neon_emulator.front.direct import new_event_loop
from neon_emulator.front.relay import GOODBYE, Relay, Use, farewell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ERROR = b"E\0\0\0\x1cSERROR\0C%s\0Mstopped\0\0"
_CANCELLED = _ERROR % b"57014"
_READY = b"Z\0\0\0\x05I"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, ...]]:
    """A client, the front's two sockets, and a server."""
    pairs = (*socket.socketpair(), *socket.socketpair())
    for end in (pairs[0], pairs[3]):
        end.settimeout(SECONDS)
    yield pairs
    for end in pairs:
        end.close()


@pytest.fixture
def relayed(ends: tuple[socket.socket, ...]) -> Callable[[], bytes]:
    """Run a relay to its end; gives all that the client has read."""

    async def relay() -> bytes:
        _, front, back, _ = ends
        reading = asyncio.to_thread(_read_all, ends[0])
        task = asyncio.create_task(reading)
        async with asyncio.timeout(SECONDS):
            await Relay(Channel(front), Channel(back), Use()).run()
        front.close()
        return await task

    def run() -> bytes:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(relay())

    return run


def _read_all(client: socket.socket) -> bytes:
    data = b""
    while some := client.recv(65536):
        data += some
    return data


def test_a_server_that_takes_nothing_is_read_to_its_end(
    ends: tuple[socket.socket, ...], relayed: Callable[[], bytes]
) -> None:
    """What a client still says to a server that has closed does not cost it the server's last words."""
    client, _, _, server = ends
    server.settimeout(0)
    words = b""
    while len(words) < 150_000:  # more than is read at a time, and as much as fits
        words += b"x" * server.send(b"x" * 10_000)
    server.close()
    client.sendall(b"SELECT 1")

    assert relayed() == words


def test_a_client_that_is_gone_ends_the_session(ends: tuple[socket.socket, ...], relayed: Callable[[], bytes]) -> None:
    """Nobody is left to pass anything on to."""
    client, _, _, server = ends
    client.shutdown(socket.SHUT_RD)
    server.sendall(b"x" * 1000)

    assert relayed() == b""


def test_a_cancel_is_over_when_it_was_heard(tmp_path: Path) -> None:
    """Its client may ask the next question then, without having that cancelled in the other's place."""

    async def work() -> bytes:
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        closing = asyncio.Event()

        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.set_result(await reader.readexactly(16))
            await closing.wait()
            writer.close()

        async with asyncio.timeout(SECONDS), await asyncio.start_unix_server(hear, tmp_path / "s"):
            cancelling = asyncio.create_task(cancel(tmp_path / "s", b"k" * 16))
            packet = await heard
            assert not (await asyncio.wait({cancelling}, timeout=0.1))[0]
            closing.set()
            await cancelling
        return packet

    assert asyncio.run(work()) == b"k" * 16


def test_a_cancel_for_a_server_that_is_gone_is_over(tmp_path: Path) -> None:
    """There is no query left to cancel."""
    asyncio.run(cancel(tmp_path / "s", b"k" * 16))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", GOODBYE),
        (_READY, _READY + GOODBYE),
        (b"rows" + _CANCELLED + _READY, b"rows" + GOODBYE),
        (b"rowsE\0\0S" + _CANCELLED, b"rowsE\0\0S" + GOODBYE),
        (_CANCELLED + _READY + b"rows", _CANCELLED + _READY + b"rows" + GOODBYE),
        (_ERROR % b"22012" + _READY, _ERROR % b"22012" + _READY + GOODBYE),
        (b"rows" + _ERROR % b"57P01", b"rows" + _ERROR % b"57P01"),
    ],
)
def test_a_servers_last_words_get_a_reason(said: bytes, told: bytes) -> None:
    """That the query was cancelled is ours, and left out; every other word is the server's, and kept."""
    assert farewell(said) == told
