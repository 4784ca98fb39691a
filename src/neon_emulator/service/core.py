"""What every part of the service works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neon_emulator.engine import ClusterMissing
from neon_emulator.service import find
from neon_emulator.service.limits import PLANS, Limits

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from neon_emulator.clock import Clock
    from neon_emulator.engine import Catalog, Engine
    from neon_emulator.service.claims import Claim, Claims
    from neon_emulator.service.worker import Worker
    from neon_emulator.settings import Settings
    from neon_emulator.state.models import Branch
    from neon_emulator.state.store import Store


@dataclass(frozen=True)
class Core:
    """The state, the clock, the engine, and what requests have laid their hands on."""

    settings: Settings
    store: Store
    clock: Clock
    engine: Engine
    worker: Worker
    claims: Claims

    @property
    def limits(self) -> Limits:
        """What the plan allows."""
        return PLANS[self.settings.plan]

    def take(self, session: Session, claim: Claim, branch: Branch) -> None:
        """Claim a branch alone, to change it or what belongs to it.

        Raises:
            Busy: where another request has a hand on it, or an operation of it has not ended.
        """
        find.check_not_busy(session, branch.id)
        self.claims.take(claim, branch.id)

    def share(self, session: Session, claim: Claim, branch: Branch) -> None:
        """Claim a branch together with those who copy it, for what leaves its data alone.

        Raises:
            Busy: where another request is changing it, or an operation of it has not ended.
        """
        find.check_not_busy(session, branch.id)
        self.claims.share(claim, branch.id)

    def catalog(self, project_id: str, branch_id: str) -> tuple[Branch, Catalog]:
        """A branch and what is in it, without a claim: it may be reset or deleted meanwhile.

        Raises:
            NotFound: where there is no such branch, or none any more.
        """
        while True:
            branch = self._branch(project_id, branch_id)
            try:
                return branch, self.engine.catalog(find.cluster(branch))
            except ClusterMissing:
                if self._branch(project_id, branch_id).cluster == branch.cluster:
                    raise

    def _branch(self, project_id: str, branch_id: str) -> Branch:
        with self.store.session() as session:
            return find.branch(session, project_id, branch_id)
