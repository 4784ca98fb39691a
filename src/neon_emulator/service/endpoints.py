"""Endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neon_emulator.errors import Busy, LimitExceeded, NotAllowed
from neon_emulator.service import actions, endpoint_rows, find, views, worker
from neon_emulator.service.limits import MOST_ACTIVE
from neon_emulator.service.specs import spec_of
from neon_emulator.service.views import EndpointView
from neon_emulator.service.worker import Step
from neon_emulator.state.models import READ_WRITE, Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from neon_emulator.service.claims import Claim
    from neon_emulator.service.core import Core
    from neon_emulator.service.wishes import EndpointWish
    from neon_emulator.state.models import Branch, Operation

TRANSITIVE = "endpoint is in some transitive state, could not suspend"


class Endpoints:
    """What can be done with endpoints.

    Args:
        core: the service's parts.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def all(self, project_id: str, branch_id: str | None = None) -> list[EndpointView]:
        """The endpoints of a project, or of one of its branches.

        Raises:
            NotFound: where there is no such project or branch.
        """
        with self._core.store.session() as session:
            find.project(session, project_id)
            if branch_id is not None:
                find.branch(session, project_id, branch_id)
            rows = find.endpoints(session, project_id, branch_id)
        return self._views(rows)

    def get(self, project_id: str, endpoint_id: str) -> EndpointView:
        """An endpoint.

        Raises:
            NotFound: where there is none.
        """
        with self._core.store.session() as session:
            row = find.endpoint(session, project_id, endpoint_id)
        return self._views([row])[0]

    def create(self, project_id: str, wish: EndpointWish) -> tuple[EndpointView, Sequence[Operation]]:
        """Make an endpoint for a branch.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        core = self._core
        endpoint_rows.check_all(core.limits, [wish])
        with core.claims.claim() as claim:
            row, branch = self._new(claim, project_id, wish)
            row.port = core.engine.open_endpoint(spec_of(row, find.cluster(branch)))
            try:
                with core.store.session() as session:
                    core.claims.check_current(claim)
                    session.add(row)
                    steps = [] if row.disabled else [Step(actions.START, branch.id, row.id)]
                    operations = worker.add(session, core.clock, project_id, steps)
            except BaseException:
                core.engine.close_endpoint(row.id)
                raise
        view = EndpointView(row, "init")
        core.worker.begin(operations)
        return view, operations

    def update(
        self, project_id: str, endpoint_id: str, changes: Mapping[str, Any]
    ) -> tuple[EndpointView, Sequence[Operation]]:
        """Change an endpoint's settings, or move it to another branch.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        core = self._core
        endpoint_rows.check(core.limits, changes)
        with core.claims.claim() as claim, core.store.session() as session:
            row = find.endpoint(session, project_id, endpoint_id)
            core.take(session, claim, find.branch(session, project_id, row.branch_id))
            branch = find.branch(session, project_id, changes.get("branch_id", row.branch_id))
            if branch.id != row.branch_id:
                core.take(session, claim, branch)
                _check_free(session, branch.id, row.type)
            for name, value in changes.items():
                setattr(row, name, value)
            row.settings = row.settings or {"pg_settings": {}}
            endpoint_rows.check_sizes(row)
            row.updated_at = core.clock.now()
            operations = worker.add(session, core.clock, project_id, [Step(actions.APPLY, branch.id, row.id)])
        view = self._views([row])[0]
        core.worker.begin(operations)
        return view, operations

    def delete(self, project_id: str, endpoint_id: str) -> tuple[EndpointView, Sequence[Operation]] | None:
        """Delete an endpoint; None where there is none, as when it was deleted before.

        Raises:
            Busy: where its branch has an operation that has not ended.
            NotFound: where there is no such project.
        """
        core = self._core
        with core.claims.claim() as claim, core.store.session() as session:
            row = find.endpoint_or_none(session, project_id, endpoint_id)
            if row is None:
                return None
            core.take(session, claim, find.branch(session, project_id, row.branch_id))
            session.delete(row)
            steps = [Step(actions.SUSPEND, row.branch_id, row.id)]
            operations = worker.add(session, core.clock, project_id, steps)
        view = self._views([row])[0]
        core.worker.begin(operations)
        return view, operations

    def start(self, project_id: str, endpoint_id: str) -> tuple[EndpointView, Sequence[Operation]]:
        """Wake an endpoint.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        return self._act(project_id, endpoint_id, [actions.START], "active")

    def suspend(self, project_id: str, endpoint_id: str) -> tuple[EndpointView, Sequence[Operation]]:
        """End an endpoint's sessions and let it sleep.

        Raises:
            Busy: where it is just starting or stopping, or its branch is being changed.
            NotFound: where there is none.
        """
        try:
            return self._act(project_id, endpoint_id, [actions.SUSPEND], "idle")
        except Busy as error:
            raise Busy(TRANSITIVE) from error

    def restart(self, project_id: str, endpoint_id: str) -> tuple[EndpointView, Sequence[Operation]]:
        """End an endpoint's sessions and start it anew.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        return self._act(project_id, endpoint_id, [actions.SUSPEND, actions.START], "active")

    def _act(
        self, project_id: str, endpoint_id: str, kinds: Sequence[str], towards: str
    ) -> tuple[EndpointView, Sequence[Operation]]:
        core = self._core
        statuses = core.engine.endpoints()
        with core.claims.claim() as claim, core.store.session() as session:
            row = find.endpoint(session, project_id, endpoint_id)
            branch = find.branch(session, project_id, row.branch_id)
            core.share(session, claim, branch)
            if actions.START in kinds:
                active = {one for one, status in statuses.items() if status.state == "active"}
                _check_startable(session, branch, row, active)
            row.pending_state = towards
            row.updated_at = core.clock.now()
            steps = [Step(kind, branch.id, row.id) for kind in kinds]
            operations = worker.add(session, core.clock, project_id, steps)
        view = self._views([row])[0]
        core.worker.begin(operations)
        return view, operations

    def _new(self, claim: Claim, project_id: str, wish: EndpointWish) -> tuple[Endpoint, Branch]:
        core = self._core
        with core.store.session() as session:
            project = find.project(session, project_id)
            branch = find.branch(session, project_id, wish.branch_id or "")
            core.take(session, claim, branch)
            _check_free(session, branch.id, wish.type)
            return endpoint_rows.new(project, branch.id, wish, core.clock.now()), branch

    def _views(self, rows: Sequence[Endpoint]) -> list[EndpointView]:
        statuses = self._core.engine.endpoints() if rows else {}
        told = self._core.clock.from_machine
        result = []
        for row in rows:
            status = statuses.get(row.id)
            times = (status.last_active, status.started_at, status.suspended_at) if status else (None, None, None)
            result.append(EndpointView(row, views.state_of(row, status), *(time and told(time) for time in times)))
        return result


def _check_free(session: Session, branch_id: str, kind: str) -> None:
    if kind == READ_WRITE and find.read_write(session, branch_id) is not None:
        raise endpoint_rows.second_read_write()


def _check_startable(session: Session, branch: Branch, row: Endpoint, active: set[str]) -> None:
    if row.disabled:
        raise NotAllowed(f"endpoint {row.id} is disabled: enable it first")
    if branch.is_default or row.id in active:
        return
    default = find.default_branch(session, branch.project_id).id
    others = [one for one in find.endpoints(session, branch.project_id) if one.branch_id != default]
    if sum(one.id in active for one in others) >= MOST_ACTIVE:
        raise LimitExceeded("active endpoints limit exceeded", "ACTIVE_ENDPOINTS_LIMIT_EXCEEDED")
