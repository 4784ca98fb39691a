"""What each kind of operation does to the clusters and the endpoints, and to the state when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neon_emulator.service import find, sql
from neon_emulator.service.specs import spec_of
from neon_emulator.service.worker import Action
from neon_emulator.state.models import Branch, Endpoint, Operation, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from neon_emulator.clock import Clock
    from neon_emulator.engine import Engine
    from neon_emulator.state.store import Store

CREATE_TIMELINE = "create_timeline"
CREATE_BRANCH = "create_branch"
START = "start_compute"
SUSPEND = "suspend_compute"
APPLY = "apply_config"
DELETE_TIMELINE = "delete_timeline"


class Actions:
    """The operations' work.

    Args:
        store: the state.
        clock: what changes are dated by.
        engine: who has the clusters.
    """

    def __init__(self, store: Store, clock: Clock, engine: Engine) -> None:
        self._store = store
        self._clock = clock
        self._engine = engine

    def table(self) -> Mapping[str, Action]:
        """How each kind is done."""
        return {
            CREATE_TIMELINE: Action(_nothing, self._branch_ready),
            CREATE_BRANCH: Action(_nothing, self._branch_ready, needs_others=False),
            START: Action(self._start, self._endpoint_ready),
            SUSPEND: Action(self._suspend, self._endpoint_ready),
            APPLY: Action(self._apply, self._endpoint_ready),
            # The state has forgotten the cluster already, whatever became of its endpoints.
            DELETE_TIMELINE: Action(self._delete, _unchanged, needs_others=False),
        }

    def _start(self, operation: Operation) -> None:
        self._engine.start_endpoint(_endpoint_id(operation))

    def _suspend(self, operation: Operation) -> None:
        with self._store.session() as session:
            endpoint = session.get(Endpoint, _endpoint_id(operation))
            branch = session.get(Branch, endpoint.branch_id) if endpoint else None
        if endpoint is None or branch is None:
            self._engine.close_endpoint(_endpoint_id(operation))
        elif branch.current_state == "resetting":
            self._engine.update_endpoint(spec_of(endpoint, find.cluster(branch)))
        else:
            self._engine.suspend_endpoint(endpoint.id)

    def _apply(self, operation: Operation) -> None:
        """Change an endpoint, or set the password that an earlier emulator may have promised and not set."""
        with self._store.session() as session:
            branch = session.get(Branch, operation.branch_id)
            endpoint = session.get(Endpoint, operation.endpoint_id) if operation.endpoint_id else None
            role = session.get(Role, (operation.branch_id, operation.subject)) if operation.subject else None
        if branch is None or branch.cluster is None:
            return
        if role and role.verifier:
            with self._engine.session(branch.cluster) as connection:
                sql.set_passwords(connection, {role.name: role.verifier})
        elif endpoint:
            self._engine.update_endpoint(spec_of(endpoint, branch.cluster))

    def _delete(self, operation: Operation) -> None:
        if operation.subject:
            self._engine.delete_cluster(operation.subject)

    def _branch_ready(self, session: Session, operation: Operation) -> None:
        branch = session.get(Branch, operation.branch_id)
        if branch is not None and branch.deleted_at is None:
            branch.current_state = find.READY
            branch.pending_state = None
            branch.state_changed_at = self._clock.now()

    def _endpoint_ready(self, session: Session, operation: Operation) -> None:
        endpoint = operation.endpoint_id and session.get(Endpoint, operation.endpoint_id)
        if endpoint:
            endpoint.ready = True
            endpoint.pending_state = None


def _endpoint_id(operation: Operation) -> str:
    if operation.endpoint_id is None:
        raise AssertionError(f"{operation.action} is about an endpoint, and names none.")
    return operation.endpoint_id


def _nothing(_: Operation) -> None:
    """The copy was made before the request was answered."""


def _unchanged(_: Session, __: Operation) -> None:
    """The state was changed before the request was answered."""
