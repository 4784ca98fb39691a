"""Branches made of other branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neon_emulator import names
from neon_emulator.errors import NotAllowed
from neon_emulator.service import actions, endpoint_rows, expiry_rules, find, limits, making, passwords, points
from neon_emulator.service.claims import Reserved
from neon_emulator.service.passwords import known, verifiers
from neon_emulator.state.models import Branch, Project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neon_emulator.engine import Made
    from neon_emulator.service.claims import Claim
    from neon_emulator.service.core import Core
    from neon_emulator.service.passwords import Secrets
    from neon_emulator.service.views import BranchMade
    from neon_emulator.service.wishes import BranchWish
    from neon_emulator.state.models import Role

SCHEMA_ONLY = "schema-only"
PARENT_DATA = "parent-data"


@dataclass(frozen=True)
class _Plan:
    project: Project
    parent: Branch
    roles: Sequence[Role]
    branch_id: str
    name: str


def create(core: Core, project_id: str, wish: BranchWish) -> BranchMade:
    """Make a branch: the copy first, then one commit, then the answer.

    Args:
        core: the service's parts.
        project_id: the project.
        wish: what was asked for.

    Raises:
        Refusal: where a rule is against it; see `neon_emulator.errors`.
    """
    _check_wish(core, wish)
    with core.claims.claim() as claim:
        plan = _plan(core, claim, project_id, wish)
        secrets = _secrets(core, plan)
        made = _copy(core, plan, wish, secrets)
        with making.undone_unless_kept(core, made) as undo:
            secrets = _settle_passwords(core, plan, wish, made, secrets)
            branch = _row(core, plan, wish, made)
            endpoints = making.open_endpoints(core, undo, plan.project, branch, wish.endpoints)
            new = making.New(plan.project, branch, endpoints, made, secrets)
            operations = making.commit(core, claim, new, actions.CREATE_BRANCH)
            undo.pop_all()
    return making.begin(core, new, operations)


def _check_wish(core: Core, wish: BranchWish) -> None:
    points.check_form(wish.at)
    endpoint_rows.check_all(core.limits, wish.endpoints)
    if wish.expires_at is not None:
        expiry_rules.check_time(core.clock.now(), wish.expires_at)
        if wish.protected:
            raise NotAllowed("a protected branch cannot expire: leave expires_at out, or protected")


def _plan(core: Core, claim: Claim, project_id: str, wish: BranchWish) -> _Plan:
    with core.store.session() as session:
        project = find.project(session, project_id)
        if wish.parent_id is None:
            parent = find.default_branch(session, project_id)
        else:
            parent = find.branch(session, project_id, wish.parent_id)
        find.check_ready(parent)
        root = wish.init_source == SCHEMA_ONLY
        if parent.expires_at is not None and not root:
            raise NotAllowed(
                f"branch {parent.id} expires, and cannot have children: take its expires_at away or name another parent"
            )
        new = names.branch_id()
        reserved = Reserved(new, project_id, wish.name or new, root=root, protected=wish.protected)
        limits.check_new_branch(session, core.limits, core.claims, reserved)
        core.claims.share(claim, parent.id)
        core.claims.reserve(claim, reserved)
        return _Plan(project, parent, list(find.roles(session, parent.id).values()), new, reserved.name)


def _secrets(core: Core, plan: _Plan) -> Secrets:
    """The parent's passwords of today, or new ones where it is protected."""
    if plan.parent.protected:
        return passwords.fresh(core.engine.catalog(find.cluster(plan.parent)).roles)
    return known(plan.roles)


def _copy(core: Core, plan: _Plan, wish: BranchWish, secrets: Secrets) -> Made:
    source = find.cluster(plan.parent)
    point = points.resolve(core, plan.project, plan.parent, wish.at)
    with points.refusals(core.clock):
        if wish.init_source == SCHEMA_ONLY:
            return core.engine.schema_cluster(source, at=point)
        # The past has the passwords of the past, which nobody knows any more.
        forced = verifiers(secrets) if plan.parent.protected or point else None
        return core.engine.branch_cluster(source, at=point, verifiers=forced)


def _settle_passwords(core: Core, plan: _Plan, wish: BranchWish, made: Made, secrets: Secrets) -> Secrets:
    there = {role.name for role in made.catalog.roles}
    secrets = {name: secret for name, secret in secrets.items() if name in there}
    if wish.init_source == SCHEMA_ONLY and (plan.parent.protected or wish.at):
        passwords.apply(core.engine, made.cluster, secrets)
    return passwords.renew_rest(core.engine, made, secrets) if plan.parent.protected else secrets


def _row(core: Core, plan: _Plan, wish: BranchWish, made: Made) -> Branch:
    root = wish.init_source == SCHEMA_ONLY
    now = core.clock.now()
    expires_at = wish.expires_at and wish.expires_at.replace(microsecond=0)
    return Branch(
        id=plan.branch_id,
        project_id=plan.project.id,
        name=plan.name,
        cluster=made.cluster,
        parent_id=None if root else plan.parent.id,
        parent_lsn=None if root else made.lsn,
        parent_timestamp=None if root else wish.at.timestamp or core.clock.from_machine(made.time),
        init_source=wish.init_source,
        is_default=False,
        protected=wish.protected,
        current_state="init",
        pending_state=find.READY,
        state_changed_at=now,
        expires_at=expires_at,
        ttl_interval_seconds=expiry_rules.interval(now, expires_at),
        logical_size=made.catalog.size,
        annotation=wish.annotation,
        created_at=now,
        updated_at=now,
    )
