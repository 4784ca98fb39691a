"""A front with one real server behind it, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from neon_emulator.supervisor.front import Backend, Front, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from local_postgres import Address
    from neon_emulator.supervisor.certificate import Certificate

ENDPOINT = "ep-still-water-12345678"
SECONDS = 30.0


class Computer:
    """The one server that every endpoint leads to.

    `gate` is shut while waking must wait; `refusal` is raised by waking; `woken` counts how often it was asked for.
    """

    def __init__(self, address: Address, options: str = "") -> None:
        self.backend = Backend(Path(address.host, f".s.PGSQL.{address.port}"), options)
        self.conninfo = address.conninfo()
        self.gate = asyncio.Event()
        self.gate.set()
        self.asleep = False
        self.refusal: Exception | None = None
        self.woken = 0

    async def wake(self, endpoint: str) -> Backend:
        self.woken += 1
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        self.asleep = False
        return self.backend

    def awake(self, endpoint: str) -> Path | None:
        return None if self.asleep else self.backend.socket

    async def verifier(self, endpoint: str, role: str) -> str | None:
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

    def conninfo(self, **others: object) -> str:
        words = {"user": "app", "password": "secret", "dbname": "postgres", "sslmode": "require", **others}
        return psycopg.conninfo.make_conninfo(host="127.0.0.1", port=self.port, connect_timeout=int(SECONDS), **words)

    def connect(self, **others: object) -> psycopg.Connection[Any]:
        return psycopg.connect(self.conninfo(**others), autocommit=True)

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)


@contextmanager
def running(address: Address, certificate: Certificate, *, options: str = "", **settings: Any) -> Iterator[House]:
    """Run a front in a loop of its own, with one endpoint; in the end its sessions are over."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
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


__all__ = ["ENDPOINT", "SECONDS", "Computer", "House", "Refused", "running"]
