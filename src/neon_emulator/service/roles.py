"""Roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neon_emulator.errors import LimitExceeded, NotFound, PreconditionFailed
from neon_emulator.service import actions, find, identifiers, sql, views, worker
from neon_emulator.service.limits import MOST_ROLES
from neon_emulator.service.passwords import Secret
from neon_emulator.service.worker import Step
from neon_emulator.state.models import Branch, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from neon_emulator.service.claims import Claim
    from neon_emulator.service.core import Core
    from neon_emulator.service.views import RoleView
    from neon_emulator.state.models import Operation, Project


class Roles:
    """What can be done with roles: Postgres has them, the state knows their passwords.

    Args:
        core: the service's parts.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def all(self, project_id: str, branch_id: str) -> list[RoleView]:
        """A branch's roles, those that SQL has made too.

        Raises:
            NotFound: where there is no such branch.
        """
        branch, catalog = self._core.catalog(project_id, branch_id)
        with self._core.store.session() as session:
            rows = find.roles(session, branch_id)
        return views.roles(branch, catalog.roles, rows)

    def get(self, project_id: str, branch_id: str, name: str) -> RoleView:
        """A role.

        Raises:
            NotFound: where there is none.
        """
        found = next((one for one in self.all(project_id, branch_id) if one.name == name), None)
        if found is None:
            raise missing(name)
        return found

    def create(
        self, project_id: str, branch_id: str, name: str, *, no_login: bool = False
    ) -> tuple[RoleView, Sequence[Operation]]:
        """Make a role, which may do what Neon lets its roles do.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        core = self._core
        identifiers.check_role(name)
        secret = None if no_login else Secret.new()
        with core.claims.claim() as claim:
            project, branch = self._taken(claim, project_id, branch_id)
            cluster = find.cluster(branch)
            if len(core.engine.catalog(cluster).roles) >= MOST_ROLES:
                raise LimitExceeded("roles limit exceeded", "ROLES_LIMIT_EXCEEDED")
            with sql.refusals(), core.engine.session(cluster) as connection:
                sql.create_role(connection, name, secret.verifier if secret else None)
            with core.store.session() as session:
                row = self._remember(session, project, branch, name, secret)
                operations = self._apply(session, branch)
        core.worker.begin(operations)
        return views.role(branch, name, row, secret.password if secret else None), operations

    def delete(self, project_id: str, branch_id: str, name: str) -> tuple[RoleView, Sequence[Operation]] | None:
        """Delete a role; None where there is none, as when it was deleted before.

        Raises:
            Busy: where the branch has an operation that has not ended.
            NotAllowed: where the role owns something.
            NotFound: where there is no such branch.
        """
        core = self._core
        with core.claims.claim() as claim:
            _, branch = self._taken(claim, project_id, branch_id)
            found = next((one for one in self.all(project_id, branch_id) if one.name == name), None)
            if found is None:
                return None
            with sql.refusals(), core.engine.session(find.cluster(branch)) as connection:
                sql.drop_role(connection, name)
            with core.store.session() as session:
                if row := session.get(Role, (branch.id, name)):
                    session.delete(row)
                operations = self._apply(session, branch)
        core.worker.begin(operations)
        return found, operations

    def reveal(self, project_id: str, branch_id: str, name: str) -> str:
        """A role's password.

        Raises:
            NotFound: where there is no such role, or its password was never set through the API.
            PreconditionFailed: where the project does not store passwords.
        """
        with self._core.store.session() as session:
            project = find.project(session, project_id)
            row = find.roles(session, find.branch(session, project_id, branch_id).id).get(name)
        self.get(project_id, branch_id, name)
        if not project.store_passwords:
            raise PreconditionFailed("the project does not store passwords: reset the password to learn a new one")
        if row is None or row.password is None:
            raise NotFound(f'password not found; role_name:"{name}": reset the password to learn a new one')
        return row.password

    def reset(self, project_id: str, branch_id: str, name: str) -> tuple[RoleView, Sequence[Operation]]:
        """Give a role a new password, and end its sessions.

        Raises:
            Busy: where the branch has an operation that has not ended, or a client is changing the role.
            NotFound: where there is no such role.
        """
        core = self._core
        secret = Secret.new()
        with core.claims.claim() as claim:
            project, branch = self._taken(claim, project_id, branch_id)
            self.get(project_id, branch_id, name)
            operations: Sequence[Operation] = ()
            try:
                with sql.refusals(), core.engine.session(find.cluster(branch)) as connection:
                    with connection.transaction():
                        sql.set_passwords(connection, {name: secret.verifier})
                        with core.store.session() as session:
                            # Before it counts: should all end here, the operation sets it after the next start.
                            row = self._remember(session, project, branch, name, secret)
                            operations = self._apply(session, branch, name)
                    sql.end_sessions(connection, name)
            finally:
                core.worker.begin(operations)
        return views.role(branch, name, row, secret.password), operations

    def _taken(self, claim: Claim, project_id: str, branch_id: str) -> tuple[Project, Branch]:
        with self._core.store.session() as session:
            branch = find.branch(session, project_id, branch_id)
            self._core.take(session, claim, branch)
            return find.project(session, project_id), branch

    def _remember(self, session: Session, project: Project, branch: Branch, name: str, secret: Secret | None) -> Role:
        now = self._core.clock.now()
        row = session.get(Role, (branch.id, name))
        if row is None:
            row = Role(branch_id=branch.id, name=name, created_at=now)
            session.add(row)
        row.password = secret.password if secret and project.store_passwords else None
        row.verifier = secret.verifier if secret else None
        row.updated_at = now
        return row

    def _apply(self, session: Session, branch: Branch, role: str | None = None) -> list[Operation]:
        endpoint = find.read_write(session, branch.id)
        step = Step(actions.APPLY, branch.id, endpoint.id if endpoint else None, subject=role)
        return worker.add(session, self._core.clock, branch.project_id, [step])


def missing(name: str) -> NotFound:
    """What is said about a role that is not there."""
    return NotFound(f'role not found; role_name:"{name}"')
