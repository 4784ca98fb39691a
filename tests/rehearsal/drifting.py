"""Models held against a schema as a test has made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.rehearsal.seen import at_work

from flask_branches.rehearsal.drift import Drift, drift
from flask_branches.rehearsal.grounds import Grounds

if TYPE_CHECKING:
    from tests.branches.worlds import World

Drifted = Callable[..., Drift]


def looked(world: World) -> Drift:
    """Compare an application's models with a branch of its database."""
    with at_work(world) as (branch, migrations), Grounds(world.branches.databases, branch) as grounds:
        return drift(migrations, grounds)


def differences(seen: Drift) -> list[tuple[str, str]]:
    """The differences, each with what has it."""
    assert seen.differences is not None
    return [(each.where, each.text) for each in seen.differences]
