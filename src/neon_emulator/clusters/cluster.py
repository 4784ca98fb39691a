"""One cluster: its folder, its server while somebody needs it, and what is known of it while nobody does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from local_postgres import Address
from neon_emulator.clusters import catalog, postgres, server_settings
from neon_emulator.clusters.initdb import SUPERUSER
from neon_emulator.clusters.superuser import Superuser
from neon_emulator.engine import ClusterFailed, ClusterMissing, ServerLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
    from pathlib import Path

    from neon_emulator.clusters.catalog import Rest
    from neon_emulator.clusters.history import History
    from neon_emulator.clusters.postgres import Place, Postgres

_T = TypeVar("_T")

LINGER = 5.0
"""Seconds that a server runs on when nobody needs it any more: the next to need it is often near."""


class Cluster:
    """A cluster in a folder of its own, complete or about to be."""

    def __init__(
        self, place: Place, history: History | None, linger: float, on_exit: Callable[[Cluster], None]
    ) -> None:
        """Take over a folder; nothing is started.

        Args:
            place: where it lies.
            history: its past, where that is kept.
            linger: seconds that its server runs on when nobody needs it any more.
            on_exit: called when the server has ended by itself.
        """
        self.place = place
        self.history = history
        self.linger = linger
        self.tending = asyncio.Lock()
        self._on_exit = on_exit
        self._address = Address(str(place.sockets), place.number, SUPERUSER)
        self.superuser = Superuser(self._address.conninfo())
        self._server: Postgres | None = None
        self._stopping = self._doomed = False
        self._changing = asyncio.Lock()
        self._holds = self._copies = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._stopper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def id(self) -> str:
        """Its name, which is that of its folder."""
        return self.place.folder.name

    @property
    def running(self) -> bool:
        """Whether its server takes connections."""
        return self._server is not None and self._server.alive

    @property
    def is_archiving(self) -> bool:
        """Whether its server puts the write-ahead log aside, and is not about to stop."""
        return self.running and self.history is not None and not self._stopping

    def conninfo(self, database: str = "postgres") -> str:
        """The superuser's connection string."""
        return self._address.conninfo(database)

    def rest(self) -> Rest | None:
        """What is known of it while it does not run; None where it was not stopped in order."""
        return catalog.find(self.place.folder)

    async def look(self) -> Rest:
        """What it holds now; a stopped one is started only where it was not stopped in order."""
        if not self.running and (rest := self.rest()) is not None:
            return rest
        found = await self._unless_killed(self._look_inside(), otherwise=None)
        return found or await self._look_inside()  # in a server that was started anew

    async def _look_inside(self) -> Rest:
        async with self.used():
            return await self.superuser.look()

    async def acquire(self, extra: Mapping[str, str] | None = None) -> Path:
        """Start it where it is stopped, and keep it running until :meth:`release`; return its socket.

        Args:
            extra: settings of this start.

        Raises:
            ClusterFailed: where the server does not start.
            ClusterMissing: where it is deleted meanwhile.
        """
        self._holds += 1
        self._keep_running()
        if self.running and not self._stopping and not self._doomed:
            return self.place.socket
        try:
            async with self._changing:
                await self._start(extra)
        except BaseException:
            self._holds -= 1
            raise
        return self.place.socket

    async def release(self, linger: float) -> None:
        """Give back a hold; the last one gone, the server is stopped after some seconds, at once for 0.

        Where somebody takes a new hold meanwhile, it runs on.
        """
        self._holds -= 1
        try:
            if linger == 0 and self.running and (self._holds or self._copies):
                await self.end_sessions()
        finally:
            stop = None if self._holds else self._stop_later(linger)
        if stop is not None and linger == 0 and not self._copies:
            await asyncio.wait({stop})
            if not stop.cancelled():
                stop.result()

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Keep it running for the time of a block."""
        await self.acquire()
        try:
            yield
        finally:
            await self.release(self.linger)

    @asynccontextmanager
    async def copied(self) -> AsyncIterator[None]:
        """Keep it from starting, stopping and being deleted for the time of a block: as it is, running or stopped.

        A stopped one is at rest: one that was not stopped in order is started first.
        """
        async with self._changing:
            self._check()
            if not self.running and self.rest() is None:
                await self._start(None)
                self._stop_later(self.linger)
            self._copies += 1
            self._calm.clear()
        try:
            yield
        finally:
            self._copies -= 1
            if not self._copies:
                self._calm.set()

    async def verifier(self, role: str) -> str | None:
        """The verifier of a role that may log in; None for any other. Where the server does not run: ServerLost."""
        if not self.running:
            raise ServerLost(f"The server of {self.id} does not run: start it again.")
        return await self.superuser.verifier(role)

    async def busy(self) -> bool:
        """Whether a client is in a transaction."""
        return self.running and await self._unless_killed(self.superuser.sees_work(), otherwise=False)

    async def end_sessions(self, role: str | None = None) -> None:
        """End the clients' sessions, of one role or of all."""
        if self.running:
            await self._unless_killed(self.superuser.end_sessions(role), otherwise=None)

    async def close(self, *, immediate: bool = False, doomed: bool = False) -> None:
        """Stop the server, whoever holds it.

        Args:
            immediate: at once; it recovers at its next start.
            doomed: wait for copies first, and refuse every later start.
        """
        self._doomed = self._doomed or doomed
        self._keep_running()
        await self._surely(self._close(immediate=immediate, doomed=doomed))

    async def settle(self) -> None:
        """Wait until a server that has just been killed is known to be."""
        if self._server is not None:
            await self._server.ends_soon()

    async def _unless_killed(self, answer: Awaitable[_T], *, otherwise: _T) -> _T:
        """What the server answers, or what holds where it ends instead of answering."""
        try:
            return await answer
        except ClusterFailed:
            if self._server is not None and not await self._server.ends_soon():
                raise
        return otherwise

    async def _surely(self, change: Coroutine[Any, Any, None]) -> None:
        """Bring a change to its end, even where who asked for it is cancelled."""
        await asyncio.shield(self._background(change))

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _close(self, *, immediate: bool, doomed: bool) -> None:
        async with self._changing:
            if doomed:
                await self._calm.wait()
            await self._stop(immediate=immediate)

    def _check(self) -> None:
        if self._doomed:
            raise ClusterMissing(f"The cluster {self.id} is being deleted.")

    async def _start(self, extra: Mapping[str, str] | None) -> None:
        """Start the server where it does not run; the caller holds the lock."""
        self._check()
        if self.running:
            return
        await self._calm.wait()
        self._check()
        catalog.forget(self.place.folder)
        place = self.place
        options = server_settings.options(
            place.binaries.version, place.sockets, place.number, archiving=self.history is not None, extra=extra
        )
        self._server = await postgres.Postgres.start(place, options)
        self._background(self._notice_end(self._server))

    async def _stop(self, *, immediate: bool = False) -> None:
        """Stop the server where it runs; the caller holds the lock."""
        server = self._server
        if server is None:
            return
        self._stopping = True
        try:
            rest = None if immediate else await self._last_look()
            server.stopping = True
            await self.superuser.close()
            await server.stop(immediate=immediate)
            if rest is not None and server.ended_well:
                catalog.keep(self.place.folder, rest, self.place.account)
        finally:
            self._server, self._stopping = None, False

    async def _last_look(self) -> Rest | None:
        """What the server holds in the end: with the clients gone, nobody changes any more what is read."""
        try:
            await self.superuser.end_sessions()
            return await self.superuser.look()
        except ClusterFailed:  # killed meanwhile; the next start recovers it
            return None

    async def _stop_unless_held(self) -> None:
        while self._holds == 0 and self.running:
            await self._calm.wait()
            async with self._changing:
                if self._holds == 0 and not self._copies:
                    await self._stop()

    def _stop_later(self, linger: float) -> asyncio.Task[None]:
        self._keep_running()

        async def stop() -> None:
            await asyncio.sleep(linger)
            # From here on nobody cancels: a stop that has begun comes to its end.
            self._stopper = None
            await self._stop_unless_held()

        self._stopper = self._background(stop())
        return self._stopper

    def _keep_running(self) -> None:
        if self._stopper is not None:
            self._stopper.cancel()
            self._stopper = None

    async def _notice_end(self, server: Postgres) -> None:
        await server.wait()
        if server.stopping:
            return
        async with self._changing:
            if self._server is server:
                self._server = None
                # First: a backend of ours that lives on may never answer, and whoever has asked it holds the session.
                with suppress(ClusterFailed):  # the next start says so again
                    await postgres.end_leftovers(self.place)
                await self.superuser.close()
        self._on_exit(self)
