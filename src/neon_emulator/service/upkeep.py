"""What time brings: branches that expire or grow, and a past that is too old to be kept."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from neon_emulator.engine import EngineError, EngineGone
from neon_emulator.errors import Refusal
from neon_emulator.service import find
from neon_emulator.state.models import Branch, Endpoint, Project

if TYPE_CHECKING:
    from collections.abc import Callable

    from neon_emulator.service.branches import Branches
    from neon_emulator.service.core import Core

_INTERVAL_SECONDS = 1.0
_RECORDS_KEPT = timedelta(days=7)

_log = logging.getLogger(__name__)


class Upkeep:
    """What is done again and again.

    Args:
        core: the service's parts.
        branches: who deletes branches.
    """

    def __init__(self, core: Core, branches: Branches) -> None:
        self._core = core
        self._branches = branches
        self._awake: set[str] = set()

    def sweep(self) -> None:
        """Delete the branches that have expired; one that is busy stays until the next time."""
        now = self._core.clock.now()
        with self._core.store.session() as session:
            query = sa.select(Branch).where(Branch.deleted_at.is_(None), Branch.expires_at <= now)
            expired = session.scalars(query).all()
            session.execute(sa.delete(Branch).where(Branch.deleted_at < now - _RECORDS_KEPT))
        for branch in expired:
            try:
                self._branches.delete(branch.project_id, branch.id, expired_by=now)
            except Refusal as error:
                _log.info("%s has expired, and is not deleted yet: %s", branch.id, error)

    def prune(self) -> None:
        """Let go of the past of root branches that is older than their project keeps it."""
        core = self._core
        now = core.clock.now()
        with core.store.session() as session:
            query = sa.select(Branch, Project).join(Project, Project.id == Branch.project_id)
            query = query.where(Branch.deleted_at.is_(None), Branch.parent_id.is_(None))
            roots = [
                (find.cluster(row.Branch), row.Project.history_retention_seconds) for row in session.execute(query)
            ]
        for cluster, seconds in roots:
            try:
                core.engine.prune_history(cluster, core.clock.to_machine(now - timedelta(seconds=seconds)))
            except EngineGone:
                raise
            except EngineError as error:  # deleted meanwhile, or in trouble, which is not the others' affair
                _log.warning("the past of %s is not pruned: %s", cluster, error)

    def measure(self) -> None:
        """Note the size of the branches that are in use, and of those that were the last time."""
        core = self._core
        active = [one for one, status in core.engine.endpoints().items() if status.state == "active"]
        with core.store.session() as session:
            query = sa.select(Branch).join(Endpoint, Endpoint.branch_id == Branch.id).where(Endpoint.id.in_(active))
            awake = {find.cluster(branch) for branch in session.scalars(query)}
        # What was written after the last look at a branch that sleeps by now would never be counted else.
        for cluster in sorted(awake | self._awake):
            self._measure(cluster)
        self._awake = awake

    def _measure(self, cluster: str) -> None:
        try:
            size = self._core.engine.catalog(cluster).size
        except EngineGone:
            raise
        except EngineError as error:
            _log.info("%s was not measured: %s", cluster, error)
            return
        with self._core.store.session() as session:
            session.execute(sa.update(Branch).where(Branch.cluster == cluster).values(logical_size=size))


class Heartbeat:
    """A thread that calls a function every second.

    Args:
        beat: the function.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_INTERVAL_SECONDS):
            try:
                self._beat()
            except EngineError as error:  # a supervisor that is just starting anew; the next beat does it
                _log.warning("upkeep: %s", error)
            except Exception:  # noqa: BLE001 - without this thread nothing would ever expire
                _log.exception("upkeep")
