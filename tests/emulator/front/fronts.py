"""A front with one real server behind it, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import struct
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg

from neon_emulator.front import computes
from neon_emulator.front.direct import new_event_loop
from neon_emulator.front.front import Backend, Front

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    import pytest
    from psycopg.pq.abc import PGresult

    from local_postgres import Address
    from neon_emulator.front.certificate import Certificate

ENDPOINT = "ep-still-water-12345678"
SECONDS = 60.0
VERSION, SSL, GSS, CANCEL = 196608, 80877103, 80877104, 80877102


class Computer:
    """The one server that every endpoint leads to.

    `gate` is shut while waking must wait; `refusal` is raised by waking; `woken` says for whom.
    """

    def __init__(self, address: Address, options: str = "") -> None:
        self.backend = Backend(Path(address.host, f".s.PGSQL.{address.port}"), options)
        self.conninfo = address.conninfo()
        self.gate = asyncio.Event()
        self.gate.set()
        self.asleep = False
        self.refusal: Exception | None = None
        self.woken: list[str] = []

    async def wake(self, endpoint: str) -> Backend:
        self.woken.append(endpoint)
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        self.asleep = False
        return self.backend

    def awake(self, endpoint: str) -> Path | None:  # noqa: ARG002 - there is but one server
        return None if self.asleep else self.backend.socket

    async def verifier(self, endpoint: str, role: str) -> str | None:  # noqa: ARG002 - there is but one server
        async with await psycopg.AsyncConnection.connect(self.conninfo) as connection:
            found = await connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role,))
            row = await found.fetchone()
        return row[0] if row else None


class House:
    """A front that runs, and an open endpoint."""

    def __init__(self, front: Front, computer: Computer, loop: asyncio.AbstractEventLoop) -> None:
        self.front = front
        self.computer = computer
        self._loop = loop
        self.port = self.call(front.open(ENDPOINT, None))

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    def soon(self, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(what)

    def pass_time(self, seconds: float) -> None:
        """Let the loop's clock jump: what waits for so long has waited."""
        time = self._loop.time
        self._loop.time = lambda: time() + seconds  # type: ignore[method-assign]
        self.soon(lambda: None)  # to look at it

    def conninfo(self, **others: Any) -> str:
        words: dict[str, Any] = {
            "user": "app",
            "password": "secret",
            "dbname": "postgres",
            "sslmode": "require",
            **others,
        }
        return psycopg.conninfo.make_conninfo(host="127.0.0.1", port=self.port, connect_timeout=int(SECONDS), **words)

    def connect(self, **others: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.conninfo(**others), autocommit=True)

    def sessions(self) -> int:
        return self.front.sessions(ENDPOINT)

    def last_byte(self) -> float:
        return self.front.last_byte(ENDPOINT)

    def drop(self) -> None:
        self.call(self.front.drop(ENDPOINT))

    def close(self) -> None:
        self.call(self.front.close(ENDPOINT))

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)

    def secured(self, *, alpn: str | None = None) -> ssl.SSLSocket:
        """A connection that begins with TLS, as it is: without the request for it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        return context.wrap_socket(self.raw())


def packet(code: int, body: bytes = b"") -> bytes:
    """What a client begins with."""
    return struct.pack("!II", len(body) + 8, code) + body


def startup(**parameters: str) -> bytes:
    """The wish for a session."""
    words = "".join(f"{name}\0{value}\0" for name, value in parameters.items())
    return packet(VERSION, words.encode() + b"\0")


def read(client: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer where the other side closes."""
    data = b""
    while len(data) < size and (some := client.recv(size - len(data))):
        data += some
    return data


def message(client: socket.socket) -> tuple[bytes, bytes]:
    """A typed message: its type and its body; both empty where the other side closes."""
    header = read(client, 5)
    return header[:1], read(client, struct.unpack("!I", header[1:])[0] - 4) if header else b""


def error(client: socket.socket) -> dict[str, str]:
    """The fields of an error, after which the other side closes."""
    kind, body = message(client)
    assert kind == b"E", (kind, body)
    assert read(client, 1) == b""
    return {field[:1]: field[1:] for field in body.decode().split("\0") if field}


def sasl(text: bytes, mechanism: str | None = None) -> bytes:
    """A client's message of SCRAM; the first one names the mechanism."""
    body = text if mechanism is None else mechanism.encode() + b"\0" + struct.pack("!I", len(text)) + text
    return b"p" + struct.pack("!I", len(body) + 4) + body


def results(session: psycopg.Connection[Any]) -> Iterator[PGresult]:
    """What comes of a query that was sent; waited for by us, since libpq does so with Python's lock in its hand."""
    pgconn = session.pgconn
    while True:
        while pgconn.is_busy():
            readable, _, _ = select.select([pgconn.socket], [], [], SECONDS)
            assert readable, "no answer came"
            pgconn.consume_input()
        if (result := pgconn.get_result()) is None:
            return
        yield result


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    limit = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < limit, f"{condition} did not come true"
        time.sleep(0.01)


def patient_for(house: House, times: int, patch: pytest.MonkeyPatch) -> None:
    """Let a front's patience with a server be over when that was woken more than so many times, and not before."""

    def now() -> float:
        return time.monotonic() + 3600 * (len(house.computer.woken) > times)

    patch.setattr(computes, "time", SimpleNamespace(monotonic=now))


@contextmanager
def running(address: Address, certificate: Certificate, *, options: str = "", **settings: Any) -> Iterator[House]:
    """Run a front in a loop of its own, with one endpoint; in the end its sessions are over."""
    loop = new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> tuple[Front, Computer]:
        computer = Computer(address, options)
        return Front(computer, certificate, **settings), computer

    front, computer = asyncio.run_coroutine_threadsafe(begin(), loop).result(SECONDS)
    house = House(front, computer, loop)
    try:
        yield house
    finally:
        house.soon(computer.gate.set)
        house.call(front.close(ENDPOINT))
        house.call(_finish())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


async def _finish() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
