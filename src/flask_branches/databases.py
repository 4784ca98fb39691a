"""All the databases of one application, its default one and its binds, branched together."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches import emptying, masks, urls
from flask_branches.branch import MAIN, Branch
from flask_branches.errors import MaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from flask_branches.backends import Backend, Prepare
    from flask_branches.branch import Data, PointInTime
    from flask_branches.record import Record


RUN = "run"
"""The label of a branch that lives no longer than a test run."""


def lock_of_run(run: str) -> str:
    """The lock that a test run holds while it lives."""
    return f"run {run}"


@dataclass(frozen=True)
class Database:
    """One database, the bind keys that lead to it, and how it is branched."""

    keys: tuple[str | None, ...]
    backend: Backend
    connect_args: Mapping[str, Any]
    engine: sa.Engine | None = None
    """The application's own."""

    def let_go(self) -> None:
        """Close the application's idle connections: a Postgres database that has any cannot be copied.

        Not by ``Engine.dispose``, which tells listeners that the engine will not be used for now.
        """
        if self.engine is not None and self.engine.dialect.name == "postgresql":
            self.engine.pool.dispose()
            self.engine.pool = self.engine.pool.recreate()


class Databases:
    """Branches that hold every database of an application.

    The default database's branch is the branch; those of the binds have its name and go wherever it goes.
    """

    def __init__(self, databases: list[Database], masked: Mapping[str, str]) -> None:
        """Take over the application's databases, the default one first."""
        self.all = databases
        self.default = databases[0].backend
        self._masks = masked

    def create(
        self, record: Record, *, at: PointInTime | None = None, data: Data = "copy", force: bool = False
    ) -> Branch:
        """Make a branch of each, or of none."""
        with ExitStack() as undo:
            masked = _Masked(self._masks)
            made = []
            for database in self.all:
                database.let_go()
                backend = database.backend
                each = record if database is self.all[0] else _for_bind(record, backend)
                prepare = masked.preparing(database, data)
                branch = backend.create(
                    replace(each, main=str(backend.main.database)), at=at, prepare=prepare, force=force
                )
                undo.callback(backend.delete, branch)
                made.append(branch)
            masked.require_all(f"the branch {record.name!r}")
            undo.pop_all()
        return self._joined(made)

    def get(self, name: str) -> Branch:
        """The branch of that name."""
        return self._with_binds(self.default.get(name))

    def branches(self) -> list[Branch]:
        """Every branch, oldest first; one whose binds are gone is listed without them."""
        found = self.default.branches()
        others = [(each, {branch.name: branch for branch in each.backend.branches()}) for each in self.all[1:]]
        return [self._with_binds(branch, others) for branch in found]

    def delete(self, branch: Branch) -> None:
        """Delete it everywhere, the default database last: while that is there, what is left can be found."""
        for database in reversed(self.all):
            for each in database.backend.branches():
                if each.name == branch.name:
                    database.backend.delete(each)

    def reset(self, branch: Branch, *, force: bool = False) -> Branch:
        """Give each its parent's present data."""
        masked = _Masked(self._masks)
        for database in self.all:
            database.let_go()
            each = database.backend.get(branch.name)
            database.backend.reset(each, prepare=masked.preparing(database, "copy"), force=force)
        masked.require_all(f"the branch {branch.name!r}")
        return branch

    def update(self, branch: Branch, expires_at: datetime | None, labels: Mapping[str, str] | None = None) -> Branch:
        """Give each another expiry, and other labels where some are given."""
        for database in self.all:
            backend = database.backend
            updated = backend.update(backend.get(branch.name), expires_at, labels)
        return replace(branch, expires_at=expires_at, labels=updated.labels)

    def state(self, parent: str) -> str:
        """What changes whenever the parent does, in one of its databases or another."""
        return " ".join(each.backend.state(parent) for each in self.all)

    @contextmanager
    def schema_connection(self, name: str) -> Iterator[sa.engine.Connection]:
        """A connection to a branch, or to main, for reading."""
        url = self.default.main if name == MAIN else urls.parsed(self.get(name).url)
        with connected(url, self.all[0].connect_args) as connection:
            yield connection

    @property
    def longest_name(self) -> int:
        """How many bytes a branch's name can have in every one of them."""
        return min(each.backend.longest_name for each in self.all)

    def run_is_dead(self, branch: Branch) -> bool:
        """Whether a branch was made for a test run that does not live any more."""
        run = branch.labels.get(RUN)
        return run is not None and not self.default.is_held(lock_of_run(run))

    @contextmanager
    def run_alive(self, run: str) -> Iterator[None]:
        """Let everybody see, for the time of a block, that a test run lives."""
        with self.default.locked(lock_of_run(run)):
            yield

    def sweep(self, *, dry_run: bool) -> list[str]:
        """What creations that died have left half built."""
        return [name for each in self.all for name in each.backend.sweep(dry_run=dry_run)]

    def close(self) -> None:
        """Close what is kept open."""
        for database in self.all:
            database.backend.close()

    def _with_binds(self, branch: Branch, known: Any = None) -> Branch:  # noqa: ANN401  the pairs that list() makes
        others = (
            known
            if known is not None
            else [(each, {found.name: found for found in each.backend.branches()}) for each in self.all[1:]]
        )
        binds = {key: branch.url for key in self.all[0].keys if key is not None}
        for database, found in others:
            if branch.name in found:
                binds |= {str(key): found[branch.name].url for key in database.keys}
        return replace(branch, binds=binds)

    def _joined(self, made: list[Branch]) -> Branch:
        binds = {
            key: branch.url
            for database, branch in zip(self.all, made, strict=True)
            for key in database.keys
            if key is not None
        }
        return replace(made[0], binds=binds)


class _Masked:
    """The masks of one operation: each has to meet its table in one of the databases."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        self._wanted = wanted
        self._left = set(wanted)
        self._some_table = False

    def preparing(self, database: Database, data: Data) -> Prepare | None:
        if data == "copy" and not self._wanted:
            return None

        def prepare(url: sa.URL) -> None:
            with connected(url, database.connect_args) as connection:
                if data == "empty":
                    emptying.empty(connection)
                self._some_table |= bool(self._wanted) and bool(sa.inspect(connection).get_table_names())
                self._left -= masks.run(connection, self._wanted)
                connection.commit()

        return prepare

    def require_all(self, what: str) -> None:
        """Refuse a mask that no database has a table for, unless there is no table at all: nothing was to be hidden."""
        if self._left and self._some_table:
            raise MaskFailed(
                f"BRANCHES_MASKS names {', '.join(sorted(self._left))}, and no database has such a table; "
                f"{what} was deleted. Correct the name."
            )


@contextmanager
def connected(url: sa.URL, connect_args: Mapping[str, Any]) -> Iterator[sa.engine.Connection]:
    """A connection of one's own, gone without a trace afterwards."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=dict(connect_args), hide_parameters=True)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _for_bind(record: Record, backend: Backend) -> Record:
    """A bind of SQLite whose file is missing is an empty database, as SQLite itself sees it."""
    missing = (
        backend.name == "sqlite" and not urls.is_memory(backend.main) and not urls.sqlite_file(backend.main).exists()
    )
    return replace(record, parent=None) if missing and record.parent == MAIN else record
