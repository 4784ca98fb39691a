"""Databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from neon_emulator.errors import AlreadyExists, LimitExceeded, NotFound
from neon_emulator.service import actions, find, identifiers, roles, sql, views, worker
from neon_emulator.service.limits import MOST_DATABASES
from neon_emulator.service.worker import Step
from neon_emulator.state.models import Branch, Database

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from neon_emulator.engine import Catalog, CatalogDatabase
    from neon_emulator.service.claims import Claim
    from neon_emulator.service.core import Core
    from neon_emulator.service.views import DatabaseView
    from neon_emulator.state.models import Operation


class Databases:
    """What can be done with databases: Postgres has them, the state knows when they were made.

    Args:
        core: the service's parts.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def all(self, project_id: str, branch_id: str) -> list[DatabaseView]:
        """A branch's databases, those that SQL has made too.

        Raises:
            NotFound: where there is no such branch.
        """
        branch, catalog = self._core.catalog(project_id, branch_id)
        with self._core.store.session() as session:
            rows = _rows(session, branch_id)
        return views.databases(branch, catalog.databases, rows)

    def get(self, project_id: str, branch_id: str, name: str) -> DatabaseView:
        """A database.

        Raises:
            NotFound: where there is none.
        """
        found = self._found(project_id, branch_id, name)
        if found is None:
            raise missing(name)
        return found

    def create(
        self, project_id: str, branch_id: str, name: str, owner: str
    ) -> tuple[DatabaseView, Sequence[Operation]]:
        """Make a database.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        core = self._core
        identifiers.check_database(name)
        with core.claims.claim() as claim:
            branch = self._taken(claim, project_id, branch_id)
            catalog = core.engine.catalog(find.cluster(branch))
            _check_owner(catalog, owner)
            if any(one.name == name for one in catalog.databases):
                raise _taken_name(name)
            if len(catalog.databases) >= MOST_DATABASES:
                raise LimitExceeded("databases limit exceeded", "DATABASES_LIMIT_EXCEEDED")
            with sql.refusals(), core.engine.session(find.cluster(branch)) as connection:
                sql.create_database(connection, name, owner)
            return self._noted(branch, name)

    def update(
        self, project_id: str, branch_id: str, name: str, changes: Mapping[str, Any]
    ) -> tuple[DatabaseView, Sequence[Operation]]:
        """Give a database another name, which ends the sessions in it, or another owner.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        core = self._core
        new = changes.get("name", name)
        identifiers.check_database(new)
        with core.claims.claim() as claim:
            branch = self._taken(claim, project_id, branch_id)
            self.get(project_id, branch_id, name)
            catalog = core.engine.catalog(find.cluster(branch))
            if new != name and any(one.name == new for one in catalog.databases):
                raise _taken_name(new)
            owner = changes.get("owner_name")
            if owner is not None:
                _check_owner(catalog, owner)
            with sql.refusals(), core.engine.session(find.cluster(branch)) as connection:
                if owner is not None:
                    sql.give_database(connection, name, owner)
                if new != name:
                    sql.rename_database(connection, name, new)
            return self._noted(branch, new, former=name)

    def delete(self, project_id: str, branch_id: str, name: str) -> tuple[DatabaseView, Sequence[Operation]] | None:
        """Delete a database; None where there is none, as when it was deleted before.

        Raises:
            Busy: where the branch has an operation that has not ended.
            NotFound: where there is no such branch.
        """
        core = self._core
        with core.claims.claim() as claim:
            branch = self._taken(claim, project_id, branch_id)
            found = self._found(project_id, branch_id, name)
            if found is None:
                return None
            with sql.refusals(), core.engine.session(find.cluster(branch)) as connection:
                sql.drop_database(connection, name)
            with core.store.session() as session:
                session.execute(sa.delete(Database).where(Database.branch_id == branch.id, Database.name == name))
                operations = self._apply(session, branch)
        core.worker.begin(operations)
        return found, operations

    def _found(self, project_id: str, branch_id: str, name: str) -> DatabaseView | None:
        return next((one for one in self.all(project_id, branch_id) if one.name == name), None)

    def _taken(self, claim: Claim, project_id: str, branch_id: str) -> Branch:
        with self._core.store.session() as session:
            branch = find.branch(session, project_id, branch_id)
            self._core.take(session, claim, branch)
            return branch

    def _noted(self, branch: Branch, name: str, former: str | None = None) -> tuple[DatabaseView, Sequence[Operation]]:
        """Write down that a database was made or changed, and tell it as Postgres has it now."""
        core = self._core
        with core.store.session() as session:
            now = core.clock.now()
            row = session.get(Database, (branch.id, former or name))
            created = row.created_at if row else branch.created_at if former else now
            if row is not None:
                session.delete(row)
                session.flush()
            row = Database(branch_id=branch.id, name=name, created_at=created, updated_at=now)
            session.add(row)
            operations = self._apply(session, branch)
        core.worker.begin(operations)
        return views.database(branch, self._there(branch, name), row), operations

    def _there(self, branch: Branch, name: str) -> CatalogDatabase:
        catalog = self._core.engine.catalog(find.cluster(branch))
        found = next((one for one in catalog.databases if one.name == name), None)
        if found is None:
            raise missing(name)
        return found

    def _apply(self, session: Session, branch: Branch) -> list[Operation]:
        endpoint = find.read_write(session, branch.id)
        step = Step(actions.APPLY, branch.id, endpoint.id if endpoint else None)
        return worker.add(session, self._core.clock, branch.project_id, [step])


def _rows(session: Session, branch_id: str) -> dict[str, Database]:
    query = sa.select(Database).where(Database.branch_id == branch_id)
    return {row.name: row for row in session.scalars(query)}


def _check_owner(catalog: Catalog, owner: str) -> None:
    if not any(role.name == owner for role in catalog.roles):
        raise roles.missing(owner)


def _taken_name(name: str) -> AlreadyExists:
    return AlreadyExists(f'database already exists; database_name:"{name}"')


def missing(name: str) -> NotFound:
    """What is said about a database that is not there."""
    return NotFound(f'database not found; database_name:"{name}"')
