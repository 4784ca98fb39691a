"""A branch's data replaced by another's, or by its own of the past; its id and its endpoints' addresses stay.

The new data is a new cluster; one commit swaps the branch's pointer, so that there is either the old or the new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from neon_emulator import names
from neon_emulator.errors import NotAllowed
from neon_emulator.service import actions, expiry_rules, find, limits, making, passwords, points, worker
from neon_emulator.service.claims import Reserved
from neon_emulator.service.worker import Step
from neon_emulator.state.models import Branch, Database, Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from neon_emulator.engine import Made
    from neon_emulator.service.claims import Claim
    from neon_emulator.service.core import Core
    from neon_emulator.service.passwords import Secrets
    from neon_emulator.service.wishes import RestoreWish
    from neon_emulator.state.models import Operation, Project


@dataclass(frozen=True)
class _Plan:
    project: Project
    target: Branch
    source: Branch
    target_roles: dict[str, Role]
    source_roles: dict[str, Role]
    preserved: Reserved | None

    @property
    def of_itself(self) -> bool:
        return self.target.id == self.source.id


def restore(core: Core, project_id: str, branch_id: str, wish: RestoreWish) -> tuple[Branch, Sequence[Operation]]:
    """Replace a branch's data.

    Args:
        core: the service's parts.
        project_id: the project.
        branch_id: the branch.
        wish: from which branch, as of when, and under which name the present data is kept.

    Raises:
        Refusal: where a rule is against it; see `neon_emulator.errors`.
    """
    points.check_form(wish.at)
    with core.claims.claim() as claim:
        plan = _plan(core, claim, project_id, branch_id, wish)
        secrets = _secrets(core, plan)
        made = _copy(core, plan, wish, secrets)
        with making.undone_unless_kept(core, made) as undo:
            if plan.source.protected and not plan.of_itself:
                secrets = passwords.renew_rest(core.engine, made, secrets)
            branch, operations = _commit(core, claim, plan, wish=wish, made=made, secrets=secrets)
            undo.pop_all()
    core.worker.begin(operations)
    return branch, operations


def _plan(core: Core, claim: Claim, project_id: str, branch_id: str, wish: RestoreWish) -> _Plan:
    with core.store.session() as session:
        project = find.project(session, project_id)
        target = find.branch(session, project_id, branch_id)
        source = find.branch(session, project_id, wish.source_branch_id)
        core.take(session, claim, target)
        _check(session, target, source, wish)
        if source.id != target.id:
            core.claims.share(claim, source.id)
        preserved = None
        if wish.preserve_under_name is not None:
            # Of itself: the old and the new data are both roots then.
            root = source.id == target.id
            preserved = Reserved(names.branch_id(), project_id, wish.preserve_under_name, root=root)
            limits.check_new_branch(session, core.limits, core.claims, preserved)
            core.claims.reserve(claim, preserved)
        roles = find.roles(session, target.id), find.roles(session, source.id)
        return _Plan(project, target, source, *roles, preserved)


def _check(session: Session, target: Branch, source: Branch, wish: RestoreWish) -> None:
    if target.protected:
        raise NotAllowed("cannot reset protected branch")
    find.check_ready(target)
    find.check_ready(source)
    if find.children(session, target.id) and wish.preserve_under_name is None:
        raise NotAllowed("Branch has children, preserve_under_name is required")
    if source.id == target.id:
        _check_of_itself(target, wish)
    elif source.expires_at is not None:
        raise NotAllowed(f"branch {source.id} expires, and cannot have children: take its expires_at away first")


def _check_of_itself(target: Branch, wish: RestoreWish) -> None:
    if not wish.at:
        raise NotAllowed("a branch is restored from itself as of a time: source_timestamp or source_lsn is required")
    if wish.preserve_under_name is None:
        raise NotAllowed("preserve_under_name is required where a branch is restored from itself")
    if target.parent_id is not None:
        raise NotAllowed(
            "the emulator keeps the history of root branches only: a branch with a parent can be reset to that, "
            "and not be restored from itself"
        )


def _secrets(core: Core, plan: _Plan) -> Secrets:
    """The passwords of the new data: those that clients of the branch know, then those of the source."""
    own = passwords.known(plan.target_roles.values())
    if plan.source.protected and not plan.of_itself:
        return {**passwords.fresh(core.engine.catalog(find.cluster(plan.source)).roles), **own}
    return {**passwords.known(plan.source_roles.values()), **own}


def _copy(core: Core, plan: _Plan, wish: RestoreWish, secrets: Secrets) -> Made:
    point = points.resolve(core, plan.project, plan.source, wish.at)
    forced = passwords.verifiers(secrets)
    if point is None:
        there = {name: role.verifier for name, role in plan.source_roles.items()}
        forced = {name: verifier for name, verifier in forced.items() if there.get(name) != verifier}
    with points.refusals(core.clock):
        return core.engine.branch_cluster(
            find.cluster(plan.source), at=point, verifiers=forced or None, history=plan.of_itself
        )


def _commit(
    core: Core, claim: Claim, plan: _Plan, *, wish: RestoreWish, made: Made, secrets: Secrets
) -> tuple[Branch, list[Operation]]:
    with core.store.session() as session:
        core.claims.check_current(claim)
        target = find.branch(session, plan.project.id, plan.target.id)
        now = core.clock.now()
        old = target.cluster
        kept = None if plan.preserved is None else _kept(target, plan.preserved, now)
        _swap(core, target, wish, made, now)
        session.flush()  # the cluster is only then free for the branch that keeps it
        if kept is not None:
            _preserve(session, target, kept, now)
        for table in (Role, Database):
            session.execute(sa.delete(table).where(table.branch_id == target.id))
        store = plan.project.store_passwords
        session.add_all(passwords.rows(target.id, made.catalog.roles, secrets, now, store=store))
        steps = _steps(session, target, None if plan.preserved else old)
        return target, worker.add(session, core.clock, plan.project.id, steps)


def _swap(core: Core, target: Branch, wish: RestoreWish, made: Made, now: datetime) -> None:
    target.cluster = made.cluster
    if wish.source_branch_id != target.id:
        target.parent_id = wish.source_branch_id
        target.parent_lsn = made.lsn
        target.parent_timestamp = wish.at.timestamp or core.clock.from_machine(made.time)
    target.init_source = "parent-data"
    target.current_state, target.pending_state = "resetting", find.READY
    target.state_changed_at = target.updated_at = target.last_reset_at = now
    target.logical_size = made.catalog.size
    if target.ttl_interval_seconds is not None:
        target.expires_at = expiry_rules.after(now, target.ttl_interval_seconds)


def _kept(old: Branch, preserved: Reserved, now: datetime) -> Branch:
    """A branch that has what another had until now."""
    return Branch(
        id=preserved.id,
        project_id=old.project_id,
        name=preserved.name,
        cluster=old.cluster,
        parent_id=old.parent_id,
        parent_lsn=old.parent_lsn,
        parent_timestamp=old.parent_timestamp,
        init_source=old.init_source,
        is_default=False,
        protected=False,
        current_state=find.READY,
        state_changed_at=now,
        logical_size=old.logical_size,
        annotation={},
        created_at=now,
        updated_at=now,
    )


def _preserve(session: Session, old: Branch, kept: Branch, now: datetime) -> None:
    """Move to the branch that keeps the old data what belongs to that: its children, roles and databases."""
    session.add(kept)
    session.flush()
    for child in find.children(session, old.id):
        child.parent_id = kept.id
        child.updated_at = now
    for table in (Role, Database):
        session.execute(sa.update(table).where(table.branch_id == old.id).values(branch_id=kept.id))


def _steps(session: Session, target: Branch, old: str | None) -> list[Step]:
    endpoints = find.endpoints(session, target.project_id, target.id)
    steps = [Step(actions.SUSPEND, target.id, row.id) for row in endpoints]
    steps.append(Step(actions.CREATE_BRANCH, target.id))
    if old is not None:
        steps.append(Step(actions.DELETE_TIMELINE, target.id, subject=old))
    return steps + [Step(actions.START, target.id, row.id) for row in endpoints if not row.disabled]
