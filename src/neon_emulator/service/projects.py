"""Projects."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from neon_emulator import names
from neon_emulator.engine import EngineError, EngineGone
from neon_emulator.errors import Busy, NotAllowed
from neon_emulator.service import actions, endpoint_rows, find, identifiers, limits, making, pages
from neon_emulator.service.endpoint_rows import PROVISIONER
from neon_emulator.service.passwords import Secret
from neon_emulator.service.wishes import EndpointWish
from neon_emulator.state.models import READ_WRITE, Branch, Endpoint, Project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neon_emulator.engine import Made
    from neon_emulator.service.core import Core
    from neon_emulator.service.views import BranchMade
    from neon_emulator.service.wishes import ProjectWish

REGION = "aws-us-east-2"


class Projects:
    """What can be done with projects.

    Args:
        core: the service's parts.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def page(self, *, search: str = "", limit: int, cursor: str | None = None) -> tuple[Sequence[Project], str | None]:
        """Projects, the newest first, and the cursor of the next page; None for it where the first page is empty.

        Args:
            search: part of a name or an id.
            limit: how many at most.
            cursor: where the last page ended.
        """
        with self._core.store.session() as session:
            found = session.scalars(sa.select(Project)).all()
        wanted = search.casefold()
        kept = [one for one in found if wanted in one.name.casefold() or wanted in one.id]
        kept.sort(key=_place, reverse=True)
        if cursor is not None:
            place = pages.decode(cursor, "created_at", "project_id")
            kept = [one for one in kept if _place(one) < (place["created_at"], place["project_id"])]
        page = kept[:limit]
        return page, pages.encode(
            dict(zip(("created_at", "project_id"), _place(page[-1]), strict=True))
        ) if page else cursor

    def get(self, project_id: str) -> Project:
        """A project.

        Raises:
            NotFound: where there is none.
        """
        with self._core.store.session() as session:
            return find.project(session, project_id)

    def create(self, wish: ProjectWish) -> BranchMade:
        """Make a project with its first branch, role, database and endpoint.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        core = self._core
        self._check(wish)
        secret = Secret.new()
        project = self._project(wish)
        endpoint_rows.new(project, "", _FIRST_ENDPOINT, project.created_at)  # refuses before anything is made
        with core.claims.claim() as claim:
            made = core.engine.new_cluster(owner=wish.role_name, verifier=secret.verifier, database=wish.database_name)
            with making.undone_unless_kept(core, made) as undo:
                branch = self._branch(project, wish, made)
                endpoints = making.open_endpoints(core, undo, project, branch, [_FIRST_ENDPOINT])
                new = making.New(project, branch, endpoints, made, {wish.role_name: secret})
                operations = making.commit(core, claim, new, actions.CREATE_TIMELINE, new_project=True)
                undo.pop_all()
        return making.begin(core, new, operations)

    def update(self, project_id: str, changes: Mapping[str, Any]) -> Project:
        """Change a project's name, its settings or its window of the past.

        Raises:
            Refusal: where a rule is against it; see `neon_emulator.errors`.
        """
        defaults = changes.get("default_endpoint_settings", {})
        limits.check_suspend(self._core.limits, defaults.get("suspend_timeout_seconds"))
        with self._core.store.session() as session:
            project = find.project(session, project_id)
            if "history_retention_seconds" in changes:
                limits.check_retention(self._core.limits, changes["history_retention_seconds"])
                project.history_retention_seconds = changes["history_retention_seconds"]
            project.name = changes.get("name", project.name)
            project.settings = {**project.settings, **changes.get("settings", {})}
            project.default_endpoint_settings = {**project.default_endpoint_settings, **defaults}
            project.updated_at = self._core.clock.now()
            return project

    def delete(self, project_id: str) -> Project:
        """Delete a project with everything in it.

        Raises:
            Busy: where an operation in it has not ended.
            NotFound: where there is none.
        """
        core = self._core
        with core.claims.claim() as claim:
            with core.store.session() as session:
                project = find.project(session, project_id)
                if find.unfinished(session, project_id):  # of branches that are being deleted, too
                    raise Busy
                branches = find.branches(session, project_id)
                endpoints = find.endpoints(session, project_id)
                for branch in branches:
                    core.take(session, claim, branch)
                session.execute(sa.delete(Project).where(Project.id == project_id))
            self._discard([one.id for one in endpoints], _clusters(branches))
        return project

    def clear(self) -> None:
        """Delete every project, whatever is under way in it."""
        with self._core.store.session() as session:
            endpoints = session.scalars(sa.select(Endpoint)).all()
            branches = session.scalars(sa.select(Branch)).all()
            left = find.unfinished(session)
            session.execute(sa.delete(Project))
        # Those that operations were to close and delete, which nobody does any more.
        closed = [one.endpoint_id for one in left if one.action == actions.SUSPEND and one.endpoint_id is not None]
        deleted = [one.subject for one in left if one.action == actions.DELETE_TIMELINE and one.subject is not None]
        self._discard([*(one.id for one in endpoints), *closed], [*_clusters(branches), *deleted])

    def _discard(self, endpoints: Sequence[str], clusters: Sequence[str]) -> None:
        """Close endpoints and delete clusters after the state has forgotten them: all, though one may fail."""
        engine, failed = self._core.engine, None
        calls = [partial(engine.close_endpoint, one) for one in endpoints]
        for call in [*calls, *(partial(engine.delete_cluster, one) for one in clusters)]:
            try:
                call()
            except EngineGone:  # the next supervisor deletes what is not on record
                raise
            except EngineError as error:
                failed = error
        if failed is not None:
            raise failed

    def _check(self, wish: ProjectWish) -> None:
        settings = self._core.settings
        if wish.pg_version not in {None, settings.pg_version}:
            raise NotAllowed(
                f"pg_version is {wish.pg_version}, and the emulator runs on Postgres {settings.pg_version}: ask for "
                "that, leave it out, or start the emulator with POSTGRES_BIN set to the other version's bin folder"
            )
        if wish.history_retention_seconds is not None:
            limits.check_retention(self._core.limits, wish.history_retention_seconds)
        limits.check_suspend(self._core.limits, wish.default_endpoint_settings.get("suspend_timeout_seconds"))
        identifiers.check_role(wish.role_name)
        identifiers.check_database(wish.database_name)

    def _project(self, wish: ProjectWish) -> Project:
        core = self._core
        now = core.clock.now()
        project_id = names.project_id()
        retention = wish.history_retention_seconds
        return Project(
            id=project_id,
            name=wish.name or project_id,
            region_id=wish.region_id or REGION,
            provisioner=wish.provisioner or PROVISIONER,
            pg_version=core.settings.pg_version,
            store_passwords=wish.store_passwords,
            history_retention_seconds=limits.default_retention(core.limits) if retention is None else retention,
            settings=wish.settings,
            default_endpoint_settings=wish.default_endpoint_settings,
            created_at=now,
            updated_at=now,
        )

    def _branch(self, project: Project, wish: ProjectWish, made: Made) -> Branch:
        return Branch(
            id=names.branch_id(),
            project_id=project.id,
            name=wish.branch_name,
            cluster=made.cluster,
            init_source="parent-data",
            is_default=True,
            protected=False,
            current_state="init",
            pending_state=find.READY,
            state_changed_at=project.created_at,
            logical_size=made.catalog.size,
            annotation=wish.annotation,
            created_at=project.created_at,
            updated_at=project.created_at,
        )


_FIRST_ENDPOINT = EndpointWish(READ_WRITE)


def _place(project: Project) -> tuple[str, str]:
    # Of one length and in UTC, so that the texts sort as the times do.
    return project.created_at.isoformat(timespec="microseconds"), project.id


def _clusters(branches: Sequence[Branch]) -> list[str]:
    return [branch.cluster for branch in branches if branch.cluster is not None]
