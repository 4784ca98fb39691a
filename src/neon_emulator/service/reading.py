"""What is only looked at: schemas and their differences, connection URIs, operations."""

from __future__ import annotations

import difflib
from datetime import datetime
from io import StringIO
from typing import TYPE_CHECKING

import sqlalchemy as sa

from neon_emulator.errors import InvalidRequest, NotFound
from neon_emulator.service import databases, find, pages, points
from neon_emulator.service.views import Connection
from neon_emulator.state.models import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from neon_emulator.service.core import Core
    from neon_emulator.service.roles import Roles
    from neon_emulator.service.wishes import Moment
    from neon_emulator.state.models import Branch, Endpoint


class Reading:
    """What can be looked at.

    Args:
        core: the service's parts.
        branch_roles: who tells passwords.
    """

    def __init__(self, core: Core, branch_roles: Roles) -> None:
        self._core = core
        self._roles = branch_roles

    def schema(self, project_id: str, branch_id: str, database: str, at: Moment) -> str:
        """The schema of a database, as pg_dump writes it.

        Args:
            project_id: the project.
            branch_id: the branch.
            database: the database's name.
            at: as of when; only root branches have a past.

        Raises:
            Refusal: where there is no such thing or point; see `neon_emulator.errors`.
        """
        core = self._core
        with core.claims.claim() as claim:
            with core.store.session() as session:
                project = find.project(session, project_id)
                branch = find.branch(session, project_id, branch_id)
                core.claims.share(claim, branch.id)
            point = points.resolve(core, project, branch, at)
            if point is None:
                return self._dump(find.cluster(branch), database)
            with points.refusals(core.clock):
                made = core.engine.branch_cluster(find.cluster(branch), at=point)
            try:
                return self._dump(made.cluster, database)
            finally:
                core.engine.delete_cluster(made.cluster)

    def compare(
        self, project_id: str, branch_id: str, database: str, *, at: Moment, base_id: str | None, base_at: Moment
    ) -> str:
        """How the schema of a database differs from another branch's, as git would show it.

        Args:
            project_id: the project.
            branch_id: the branch.
            database: the database's name.
            at: as of when.
            base_id: what the branch is compared with; None for its parent.
            base_at: as of when that.

        Raises:
            Refusal: where there is no such thing or point; see `neon_emulator.errors`.
        """
        if base_id is None:
            with self._core.store.session() as session:
                base_id = find.branch(session, project_id, branch_id).parent_id
        if base_id is None:
            raise InvalidRequest(f"branch {branch_id} has no parent: base_branch_id is required")
        base = self.schema(project_id, base_id, database, base_at)
        own = self.schema(project_id, branch_id, database, at)
        # Other than `splitlines`, which ends a line at a form feed inside of a function too.
        lines = difflib.unified_diff(list(StringIO(base)), list(StringIO(own)), f"a/{database}", f"b/{database}")
        return "".join(lines)

    def connection(
        self, project_id: str, *, branch_id: str | None, endpoint_id: str | None, role: str, database: str
    ) -> Connection:
        """Where a database is to be found, as a role of it.

        Args:
            project_id: the project.
            branch_id: the branch; None for the endpoint's, or the default one.
            endpoint_id: the endpoint; None for the one that the branch is written through.
            role: the role's name.
            database: the database's name.

        Raises:
            NotFound: where there is no such thing, or the password is not known.
            PreconditionFailed: where the project does not store passwords.
        """
        with self._core.store.session() as session:
            branch, endpoint = _place(session, project_id, branch_id, endpoint_id)
        _, catalog = self._core.catalog(project_id, branch.id)
        if not any(one.name == database for one in catalog.databases):
            raise databases.missing(database)
        password = self._roles.reveal(project_id, branch.id, role)
        return Connection(endpoint.port, role, password, database)

    def operations(
        self, project_id: str, *, limit: int | None, cursor: str | None
    ) -> tuple[Sequence[Operation], str | None]:
        """A project's operations, the newest first, and the cursor of the next page.

        Raises:
            InvalidRequest: for a cursor of another list.
            NotFound: where there is no such project.
        """
        query = sa.select(Operation).where(Operation.project_id == project_id).order_by(Operation.created_at.desc())
        if cursor is not None:
            query = query.where(Operation.created_at < _time(cursor))
        with self._core.store.session() as session:
            find.project(session, project_id)
            page = session.scalars(query.limit(limit)).all()
        return page, _cursor(page[-1].created_at) if page else cursor

    def operation(self, project_id: str, operation_id: str) -> Operation:
        """An operation.

        Raises:
            NotFound: where there is none.
        """
        with self._core.store.session() as session:
            find.project(session, project_id)
            query = sa.select(Operation).where(Operation.project_id == project_id, Operation.id == operation_id)
            found = session.scalars(query).one_or_none()
        if found is None:
            raise NotFound(f'operation not found; operation_id:"{operation_id}"')
        return found

    def _dump(self, cluster: str, database: str) -> str:
        if not any(one.name == database for one in self._core.engine.catalog(cluster).databases):
            raise databases.missing(database)
        return self._core.engine.dump_schema(cluster, database)


def _place(
    session: Session, project_id: str, branch_id: str | None, endpoint_id: str | None
) -> tuple[Branch, Endpoint]:
    find.project(session, project_id)
    if endpoint_id is not None:
        endpoint = find.endpoint(session, project_id, endpoint_id)
        if branch_id not in {None, endpoint.branch_id}:
            raise NotFound(f'endpoint not found; endpoint_id:"{endpoint_id}"; branch_id:"{branch_id}"')
        return find.branch(session, project_id, endpoint.branch_id), endpoint
    if branch_id is None:
        branch = find.default_branch(session, project_id)
    else:
        branch = find.branch(session, project_id, branch_id)
    found = find.read_write(session, branch.id)
    if found is None:
        raise NotFound(f"branch {branch.id} has no read_write endpoint: create one, or name another endpoint_id")
    return branch, found


def _cursor(time: datetime) -> str:
    # Not every client escapes a plus sign.
    return time.isoformat().replace("+00:00", "Z")


def _time(cursor: str) -> datetime:
    try:
        time = datetime.fromisoformat(cursor)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise pages.foreign(cursor)
    return time
