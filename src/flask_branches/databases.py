"""All the databases of one application, its default one and its binds, branched together."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches import ours, preparing, schema, urls
from flask_branches.backends import postgres_errors, sqlite_files
from flask_branches.branch import MAIN, Branch
from flask_branches.errors import BranchNotFound
from flask_branches.masks import Masking
from flask_branches.record import EMPTIED, PLACE, RUN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from flask_branches.backends import Backend, Prepare
    from flask_branches.branch import Data, PointInTime
    from flask_branches.neon_settings import NeonSettings
    from flask_branches.record import Record


def lock_of_run(run: str) -> str:
    """The lock that a test run holds while it lives."""
    return f"run {run}"


@dataclass(frozen=True)
class Database:
    """One database, the bind keys that lead to it, and how it is branched."""

    keys: tuple[str | None, ...]
    backend: Backend
    connect_args: Mapping[str, Any]
    engines: tuple[sa.Engine, ...] = ()
    """The application's own, one for each key."""
    own: Mapping[str | None, sa.URL] = field(default_factory=dict)
    """By key, the URLs that are not main's: a bind may go to the same database as another role."""

    def url(self, key: str | None, branch: Branch) -> str:
        """Where a branch of it is for one of its keys; empty where the branch has no compute."""
        own = self.own.get(key)
        return branch.url if own is None or not branch.url else urls.plain(self.backend.located(branch, own))

    @property
    def is_missing(self) -> bool:
        """Whether it is a SQLite file that is not there."""
        main = self.backend.main
        return self.backend.name == "sqlite" and not urls.is_memory(main) and not urls.sqlite_file(main).exists()

    def let_go(self) -> None:
        """Close the application's idle connections: a Postgres database that has any cannot be copied or replaced.

        Not by ``Engine.dispose``, which tells listeners that the engine will not be used for now.
        """
        for engine in self.engines:
            if engine.dialect.name == "postgresql":
                engine.pool.dispose()
                engine.pool = engine.pool.recreate()


class Databases:
    """Branches that hold every database of an application.

    The default database's branch is the branch; those of the binds have its name and go wherever it goes.
    """

    def __init__(self, databases: list[Database], masked: Mapping[str, str], neon: NeonSettings | None = None) -> None:
        """Take over the application's databases, the default one first, and how Neon is asked."""
        self.all = databases
        self.neon = neon
        self.default = databases[0].backend
        self._masks = masked

    def create(
        self, record: Record, *, at: PointInTime | None = None, data: Data = "copy", force: bool = False
    ) -> Branch:
        """Make a branch of each, or of none."""
        if data == "empty":
            record = replace(record, labels={**record.labels, EMPTIED: data})
        masking = Masking(self._masks, f"the branch {record.name!r} was deleted")
        with ExitStack() as creations:
            made = []
            for database in self.all:
                database.let_go()
                each = record if database is self.all[0] else _for_bind(record, database)
                creation = database.backend.creating(
                    replace(each, main=str(database.backend.main.database)),
                    at=at,
                    prepare=self._preparing(database, data, masking),
                    force=force,
                )
                made.append(creations.enter_context(creation))
        return self._joined(made)

    def get(self, name: str) -> Branch:
        """The branch of that name."""
        if name == MAIN:
            raise BranchNotFound(
                "'main' is the application's own database and no branch, so it is never changed here: name a branch."
            )
        found = self.default.get(name)
        others = []
        for database in self.all[1:]:
            with suppress(BranchNotFound):
                others.append((database, {found.name: database.backend.get(found.name)}))
        return self._with_binds(found, others)

    def branches(self) -> list[Branch]:
        """Every branch, oldest first; one whose binds are gone is listed without them."""
        found = self.default.branches()
        others = self._of_binds()
        return [self._with_binds(branch, others) for branch in found]

    def delete(self, branch: Branch) -> None:
        """Delete it everywhere, the default database last: while that is there, what is left can be found."""
        for database in reversed(self.all[1:]):
            for each in database.backend.branches():
                if each.name == branch.name:
                    database.backend.delete(each)
        self.default.delete(branch)

    def delete_run(self, run: str, made: Branch | None = None) -> None:
        """Delete every branch that was made for a run; one that is known need not be looked for."""
        if made is not None:
            self.delete(made)
            return
        for each in self.branches():
            if each.labels.get(RUN) == run:
                self.delete(each)

    def reset(self, branch: Branch, *, force: bool = False) -> Branch:
        """Give each its parent's present data."""
        if branch.parent not in {None, MAIN} and branch.parent not in {each.name for each in self.default.branches()}:
            raise BranchNotFound(
                f"The branch {branch.name!r} cannot be reset: its parent {branch.parent!r} is gone. Make another."
            )
        masking = Masking(self._masks, f"the branch {branch.name!r} was not reset")
        data: Data = "empty" if branch.labels.get(EMPTIED) == "empty" else "copy"
        with ExitStack() as exchanges:
            for database in self.all:
                database.let_go()
                each = database.backend.get(branch.name)
                prepare = self._preparing(database, data, masking)
                exchanges.enter_context(database.backend.resetting(each, prepare=prepare, force=force))
        for database in self.all:
            database.let_go()  # what an application on the branch has taken up meanwhile leads to what was replaced
        return branch

    def update(self, branch: Branch, expires_at: datetime | None, labels: Mapping[str, str] | None = None) -> Branch:
        """Give each another expiry, and other labels where some are given."""
        if labels is not None and EMPTIED in branch.labels:
            labels = {**labels, EMPTIED: branch.labels[EMPTIED]}
        # All are found first: to update one may give it another name, on Neon.
        found = [(database.backend, database.backend.get(branch.name)) for database in self.all]
        updated = [backend.update(each, expires_at, labels) for backend, each in found]
        return replace(branch, name=updated[0].name, expires_at=expires_at, labels=updated[0].labels)

    def state(self, parent: str) -> str:
        """What changes whenever the parent does, in one of its databases or another."""
        return " ".join(each.backend.state(parent) for each in self.all)

    def diff(self, name: str, other: str) -> str:
        """What the schemas of a branch have that another's, or main's, have not."""
        found = []
        for database in self.all:
            end = "" if None in database.keys else f" ({database.keys[0]})"
            new, old = _schema(database, name), _schema(database, other)
            found.append(schema.diff(old, new, f"{other}{end}", f"{name}{end}"))
        return "".join(found)

    @property
    def longest_name(self) -> int:
        """How many bytes a branch's name can have in every one of them."""
        return min(each.backend.longest_name for each in self.all)

    @property
    def bind_keys(self) -> list[str]:
        """The keys of the application's other databases."""
        return [key for database in self.all for key in database.keys if key is not None]

    def run_is_dead(self, branch: Branch) -> bool:
        """Whether a branch was made for a test run that does not live any more."""
        run = branch.labels.get(RUN)
        if run is None:
            return False
        if branch.labels.get(PLACE, self.default.place) != self.default.place:
            return branch.has_expired  # another machine's, whose locks cannot be seen from here
        return not self.default.is_held(lock_of_run(run))

    def is_over(self, branch: Branch) -> bool:
        """Whether nobody needs a branch any more: its run has died; or, where it belongs to none, its time is over.

        One without a record is somebody else's.
        """
        if not branch.has_record:
            return False
        return self.run_is_dead(branch) if RUN in branch.labels else branch.has_expired

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

    def _of_binds(self) -> list[tuple[Database, dict[str, Branch]]]:
        """Every other database, with its branches by name."""
        return [(each, {branch.name: branch for branch in each.backend.branches()}) for each in self.all[1:]]

    def _with_binds(self, branch: Branch, others: list[tuple[Database, dict[str, Branch]]]) -> Branch:
        binds = {key: self.all[0].url(key, branch) for key in self.all[0].keys if key is not None}
        for database, found in others:
            if branch.name in found:
                binds |= {str(key): database.url(key, found[branch.name]) for key in database.keys}
        return replace(branch, binds=binds)

    def _joined(self, made: list[Branch]) -> Branch:
        binds = {
            key: database.url(key, branch)
            for database, branch in zip(self.all, made, strict=True)
            for key in database.keys
            if key is not None
        }
        return replace(made[0], binds=binds)

    def _preparing(self, database: Database, data: Data, masking: Masking) -> Prepare | None:
        if data == "copy" and not self._masks:
            return None

        def prepare(url: sa.URL) -> None:
            with connected(url, database.connect_args) as connection:
                preparing.prepare(connection, data, masking, last=database is self.all[-1])

        return prepare


@contextmanager
def connected(url: sa.URL, connect_args: Mapping[str, Any]) -> Iterator[sa.engine.Connection]:
    """A connection of one's own, gone without a trace afterwards.

    Raises:
        DatabaseFailed: where the database is out of reach, or refuses what the block does.
    """
    told = sqlite_files.told if url.get_backend_name() == "sqlite" else postgres_errors.told
    engine = sa.create_engine(
        url,
        poolclass=sa.NullPool,
        connect_args=dict(connect_args),
        hide_parameters=True,
    )
    try:
        with told(url):
            with ours.connecting():
                connection = engine.connect()
            with connection:
                yield connection
    finally:
        engine.dispose()


def _schema(database: Database, name: str) -> str:
    main = database.backend.main
    if name == MAIN and urls.is_memory(main):
        with sqlite_files.lent(database.engines[0]) as lent:
            return schema.dump_memory(lent)
    url = main if name == MAIN else urls.parsed(database.backend.get(name).url)
    if name == MAIN and database.is_missing:
        raise BranchNotFound(f"The database of 'main', {urls.shown(url)}, does not exist: make it first.")
    with connected(url, database.connect_args) as connection:
        return schema.dump(connection)


def _for_bind(record: Record, database: Database) -> Record:
    """A bind of SQLite whose file is missing is an empty database, as SQLite itself sees it."""
    return replace(record, parent=None) if database.is_missing and record.parent == MAIN else record
