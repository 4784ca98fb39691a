"""What a run on Neon has to know before it makes anything: its parent, and how many branches there is room for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flask_branches import configured, urls
from flask_branches.backends.neon import Neon
from flask_branches.backends.neon import project as projects
from flask_branches.branch import EMPTY, MAIN, written
from flask_branches.errors import ConfigurationError, NeonError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from flask_branches.databases import Databases
    from flask_branches.neon_client import BranchInfo
    from pytest_branches.plan import Plan


def databases(plan: Plan) -> Databases:
    """The databases of a run on Neon; nothing is asked."""
    with plan.app.app_context():
        masks = plan.app.extensions["branches"].config.masks
    if plan.main is not None:
        return configured.on_neon(plan.app, plan.main, plan.require_neon(), masks)
    return configured.of_app(plan.app, None, masks, plan.neon)


def neon_of(there: Databases) -> Neon:
    """The backend of a run's default database.

    Raises:
        ConfigurationError: where it is another one than Neon's.
    """
    if not isinstance(there.default, Neon):
        raise ConfigurationError("BRANCHES_BACKEND keeps the application's database from being Neon's: leave it out.")
    return there.default


def surveyed(plan: Plan) -> tuple[Plan, Databases]:
    """Look at the project, and decide whether each worker gets a branch.

    Raises:
        BranchesError: where Neon cannot be asked, or there is no parent, or no room.
    """
    if plan.looks_up_main:
        plan = replace(plan, main=_looked_up(plan))
    there = databases(plan)
    try:
        return _decided(plan, there), there
    except BaseException:
        there.close()
        raise


def _decided(plan: Plan, there: Databases) -> Plan:
    backend = neon_of(there)
    limit = backend.client.project().branches_limit
    found = projects.look(backend.client)
    main_id = backend.main_id(found)
    _require_parent(plan, found.branches, main_id)
    room = None if limit is None else limit - len(found.branches)
    if room is None or room >= plan.workers:
        return plan
    if room < 1:
        over = sum(there.is_over(each) for each in there.branches())
        hint = f"{over} of them are left of test runs: flask branches prune --yes" if over else "delete some"
        raise NeonError(
            f"The Neon project has {len(found.branches)} branches, as many as its plan allows ({limit}), and the run "
            f"needs one more: {hint}."
        )
    return replace(plan, shared=f"the plan allows {limit} branches, and there are {len(found.branches)}")


def _looked_up(plan: Plan) -> sa.URL:
    from flask_branches.neon_lookup import database_url

    return urls.parsed(database_url(plan.require_neon()))


def _require_parent(plan: Plan, branches: tuple[BranchInfo, ...], main_id: str) -> None:
    """Refuse a parent that there is not, or of which Neon makes no branch."""
    if plan.parent == EMPTY:
        return
    parent = projects.named(branches, main_id if plan.parent == MAIN else plan.parent)
    if parent.expires_at is not None:
        raise ConfigurationError(
            f"The parent {parent.name!r} expires ({written(parent.expires_at)}), and Neon makes no branch of one that "
            "does: name another, or test on it as it is, by BRANCHES_URL."
        )
