"""The service as a whole: its parts joined, its start and its end."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import sqlalchemy as sa

from neon_emulator.clock import Clock
from neon_emulator.engine import KnownCluster
from neon_emulator.service import find
from neon_emulator.service.actions import Actions
from neon_emulator.service.branches import Branches
from neon_emulator.service.claims import Claims
from neon_emulator.service.core import Core
from neon_emulator.service.databases import Databases
from neon_emulator.service.endpoints import Endpoints
from neon_emulator.service.projects import Projects
from neon_emulator.service.reading import Reading
from neon_emulator.service.roles import Roles
from neon_emulator.service.specs import spec_of
from neon_emulator.service.upkeep import Heartbeat, Upkeep
from neon_emulator.service.worker import Worker
from neon_emulator.state.models import Branch, Endpoint
from neon_emulator.state.store import Store

if TYPE_CHECKING:
    from neon_emulator.engine import Engine
    from neon_emulator.settings import Settings

_BEATS_TO_TIDY = 10


class Service:
    """Neon's rules, by what they are about."""

    def __init__(self, core: Core) -> None:
        self.projects = Projects(core)
        self.branches = Branches(core)
        self.endpoints = Endpoints(core)
        self.roles = Roles(core)
        self.databases = Databases(core)
        self.reading = Reading(core, self.roles)
        self.upkeep = Upkeep(core, self.branches)


class Emulation:
    """An emulator at work, for as long as it is not closed.

    Args:
        settings: its choices.
        engine: who has the clusters.

    Attributes:
        settings: its choices.
        clock: the API's clock.
        engine: who has the clusters.
        service: Neon's rules.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.engine = engine
        self._store = Store(settings.home / "state.db")
        self.clock = Clock(self._store)
        actions = Actions(self._store, self.clock, engine)
        self._worker = Worker(self._store, self.clock, settings.branch_delay, actions.table())
        self._claims = Claims()
        core = Core(settings, self._store, self.clock, engine, self._worker, self._claims)
        self.service = Service(core)
        self._ticking = threading.Lock()
        self.adopt()
        self._worker.resume()
        self._beats = itertools.count()
        self._heartbeat = Heartbeat(self._beat)

    def adopt(self) -> None:
        """Hand everything that is on record over to the engine, when it is new."""
        with self._store.session() as session:
            self._claims.renew()
            branches = session.scalars(sa.select(Branch).where(Branch.deleted_at.is_(None))).all()
            endpoints = session.scalars(sa.select(Endpoint)).all()
        clusters = {branch.id: KnownCluster(find.cluster(branch), branch.parent_id is None) for branch in branches}
        specs = [spec_of(endpoint, clusters[endpoint.branch_id].id) for endpoint in endpoints]
        self.engine.adopt(list(clusters.values()), specs)
        self.engine.set_clock(self.clock.offset)

    def tick(self) -> None:
        """Do what is due: put endpoints to sleep, delete what has expired, let go of the old past, note sizes."""
        # One at a time: who has moved the clock on is answered when all is done, not when another has begun with it.
        with self._ticking:
            self.engine.set_clock(self.clock.offset)
            self._sweep(thoroughly=True)

    def _beat(self) -> None:
        with self._ticking:
            # A time that is too old is refused whether its data is there or not, so that pruning has no haste.
            self._sweep(thoroughly=next(self._beats) % _BEATS_TO_TIDY == 0)

    def _sweep(self, *, thoroughly: bool) -> None:
        upkeep = self.service.upkeep
        upkeep.sweep()
        if thoroughly:
            self._worker.resume_left()
            upkeep.prune()
            upkeep.measure()

    def reset(self) -> None:
        """Delete all projects, and go back to the machine's time."""
        with self._ticking:  # which could else tell the engine of a move of the clock that is taken back by then
            self._claims.renew()
            self.service.projects.clear()
            self.clock.reset()
            self.engine.set_clock(0.0)

    def close(self) -> None:
        """Stop what runs in the background."""
        self._heartbeat.close()
        self._worker.close()
        self._store.close()
