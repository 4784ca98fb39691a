"""The last steps of making a branch: its endpoints, the one commit, and what is answered."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neon_emulator.service import actions, endpoint_rows, find, passwords, views, worker
from neon_emulator.service.specs import spec_of
from neon_emulator.service.views import BranchMade, Connection, EndpointView
from neon_emulator.service.worker import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from neon_emulator.engine import Made
    from neon_emulator.service.claims import Claim
    from neon_emulator.service.core import Core
    from neon_emulator.service.passwords import Secrets
    from neon_emulator.service.wishes import EndpointWish
    from neon_emulator.state.models import Branch, Endpoint, Operation, Project


@dataclass(frozen=True)
class New:
    """A branch that is complete but for its being written down."""

    project: Project
    branch: Branch
    endpoints: Sequence[Endpoint]
    made: Made
    secrets: Secrets


@contextmanager
def undone_unless_kept(core: Core, made: Made) -> Iterator[ExitStack]:
    """Delete a new cluster, and whatever else is put on the stack, unless the block empties the stack."""
    with ExitStack() as undo:
        undo.callback(core.engine.delete_cluster, made.cluster)
        yield undo


def open_endpoints(
    core: Core, undo: ExitStack, project: Project, branch: Branch, wishes: Sequence[EndpointWish]
) -> list[Endpoint]:
    """Open a new branch's endpoints, so that their ports are known."""
    rows = []
    for wish in wishes:
        row = endpoint_rows.new(project, branch.id, wish, branch.created_at)
        row.port = core.engine.open_endpoint(spec_of(row, find.cluster(branch)))
        undo.callback(core.engine.close_endpoint, row.id)
        rows.append(row)
    return rows


def commit(core: Core, claim: Claim, new: New, first: str, *, new_project: bool = False) -> list[Operation]:
    """Write a new branch and all that belongs to it down, in one commit.

    Args:
        core: the service's parts.
        claim: the request's.
        new: the branch.
        first: the action of the first operation.
        new_project: whether the project is to be written down too.

    Raises:
        EngineGone: where the engine that has made it is gone, and its cluster with it.
        NotFound: where the project has been deleted meanwhile.
    """
    branch, project = new.branch, new.project
    steps = [Step(first, branch.id)]
    steps += [Step(actions.START, branch.id, row.id) for row in new.endpoints if not row.disabled]
    with core.store.session() as session:
        core.claims.check_current(claim)
        if new_project:
            session.add(project)
            session.flush()
        find.project(session, project.id)
        session.add(branch)
        session.flush()
        session.add_all(new.endpoints)
        session.add_all(
            passwords.rows(
                branch.id, new.made.catalog.roles, new.secrets, branch.created_at, store=project.store_passwords
            )
        )
        return worker.add(session, core.clock, project.id, steps)


def begin(core: Core, new: New, operations: Sequence[Operation]) -> BranchMade:
    """Set the operations of a new branch going, and tell what is to be told: the state before they began."""
    told = _told(new, operations)
    core.worker.begin(operations)
    return told


def _told(new: New, operations: Sequence[Operation]) -> BranchMade:
    catalog, branch = new.made.catalog, new.branch
    known = {name: secret.password for name, secret in new.secrets.items() if secret.password}
    return BranchMade(
        project=new.project,
        branch=branch,
        endpoints=[EndpointView(row, "init") for row in new.endpoints],
        operations=operations,
        roles=[views.role(branch, name, None, known.get(name)) for name in sorted(role.name for role in catalog.roles)],
        databases=views.databases(branch, catalog.databases, {}),
        connections=_connections(new, known),
    )


def _connections(new: New, known: Mapping[str, str]) -> list[Connection]:
    """Neon leaves them out where there is more than one role or database to choose from."""
    roles, databases = new.made.catalog.roles, new.made.catalog.databases
    if len(roles) != 1 or len(databases) != 1 or roles[0].name not in known:
        return []
    role, database = roles[0].name, databases[0].name
    return [Connection(row.port, role, known[role], database) for row in new.endpoints]
