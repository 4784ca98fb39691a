"""What a test has seen of a branch while its migrations ran."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask_branches import migrating, schema, urls
from flask_branches.databases import connected
from flask_branches.rehearsal import rows
from flask_branches.rehearsal.migrations import Migrations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.script import Script
    from sqlalchemy.engine import Connection
    from tests.branches.worlds import World

    from flask_branches import Branch


@contextmanager
def at_work(world: World) -> Iterator[tuple[Branch, Migrations]]:
    """Let an application be on a branch of its database, for a block."""
    with world.branches.temporary() as branch, migrating.at_work(world.app, branch):
        yield branch, Migrations(world.app)


class Seen:
    """Watches a run: which revisions there are, the schemas after each of them, and what tables held before it."""

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self.revisions: list[Script] = []
        self.schemas = [self.look()]
        self.contents: dict[str, dict[str | None, dict[str, rows.Content | None]]] = {}

    @contextmanager
    def connect(self, key: str | None) -> Iterator[Connection]:
        """A connection to one of the branch's databases."""
        url = self.branch.url if key is None else self.branch.binds[key]
        with connected(urls.parsed(url), {}) as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def look(self) -> dict[str | None, str]:
        """The schemas that the branch has now."""
        found = {}
        for key in (None, *self.branch.binds):
            with self.connect(key) as connection:
                found[key] = schema.dump(connection)
        return found

    def hold(self) -> dict[str | None, dict[str, rows.Content | None]]:
        """What its tables hold now."""
        found = {}
        for key in (None, *self.branch.binds):
            with self.connect(key) as connection:
                found[key] = rows.digest(connection, rows.columns(connection))
        return found

    def before(self, step: Any, _context: Any) -> None:
        if step.revision not in self.revisions:
            self.revisions.append(step.revision)
            self.contents[step.revision.revision] = self.hold()
            self.schemas.append({})

    def after(self, _step: Any, _context: Any) -> None:
        self.schemas[-1] = self.look()
