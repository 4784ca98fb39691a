"""How branches are made: what every backend does, and which one a database needs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa

from flask_branches.errors import BranchNotFound, NotSupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from flask_branches.branch import Branch, PointInTime
    from flask_branches.record import Record

    Prepare = Callable[[sa.URL], None]


class Backend(Protocol):
    """Branches of one database, its main.

    A branch appears when it is complete: what ``prepare`` does to it (masks, emptying) happens before anybody can see
    it, and one that could not be completed is gone. Names were checked by the caller.
    """

    name: str
    main: sa.URL
    """The application's own database; it may not exist yet."""
    longest_name: int
    """How many bytes of UTF-8 a branch's name can have here."""

    @property
    def place(self) -> str | None:
        """Where its locks hold; None where everybody who reaches main sees them."""
        ...

    def create(
        self, record: Record, *, at: PointInTime | None = None, prepare: Prepare | None = None, force: bool = False
    ) -> Branch:
        """Make the branch that a record describes.

        Args:
            record: its name, and its parent: a branch's name, ``"main"``, or None for an empty database.
            at: the point in time whose data it is to hold; None for the parent's present.
            prepare: run on the new branch before it is seen.
            force: end idle sessions that keep a parent from being copied; never those of main.

        Raises:
            BranchExists: where the name is taken.
            BranchNotFound: where the parent is unknown.
            DatabaseFailed: where the server or the file system refuses.
            DatabaseInUse: where sessions keep the parent from being copied.
            NotSupported: for a point in time where the backend has none.
        """
        ...

    def creating(
        self, record: Record, *, at: PointInTime | None = None, prepare: Prepare | None = None, force: bool = False
    ) -> AbstractContextManager[Branch]:
        """The same for an application with several databases: a block in which the others are made.

        Where one branch holds several of them, nobody sees it before the block has ended; if that fails, it is gone.
        """
        ...

    def branches(self) -> list[Branch]:
        """Every branch of main, oldest first."""
        ...

    def get(self, name: str) -> Branch:
        """The branch of that name.

        Raises:
            BranchNotFound: where there is none; the message names those that there are.
        """
        ...

    def delete(self, branch: Branch) -> None:
        """Delete a branch, and end the sessions that it has; without effect where it is gone already."""
        ...

    def resetting(
        self, branch: Branch, *, prepare: Prepare | None = None, force: bool = False
    ) -> AbstractContextManager[None]:
        """Give a branch its parent's present data; the URL stays the same.

        What is new is complete when the block begins, and takes its place when the block has ended: an application's
        databases are reset together, and where one cannot be, none is.

        Raises:
            BranchNotFound: where it, or its parent, is gone.
            DatabaseInUse: where sessions are connected to it: idle ones are ended by ``force`` alone, others never.
        """
        ...

    def update(self, branch: Branch, expires_at: datetime | None, labels: Mapping[str, str] | None = None) -> Branch:
        """Give a branch another expiry, and other labels where some are given."""
        ...

    def vouch(self, url: sa.URL) -> Record | None:
        """The record of whatever database a URL leads to; None where it has none, or another database's."""
        ...

    def is_main(self, url: sa.URL) -> bool:
        """Whether a URL leads to main, however it is written."""
        ...

    def adopt(self, url: sa.URL, record: Record) -> None:
        """Put a record on an existing database that has none."""
        ...

    def state(self, parent: str) -> str:
        """What changes whenever a parent does, and may change when it does not."""
        ...

    def sweep(self, *, dry_run: bool) -> list[str]:
        """What processes that died have left half built: named, and deleted unless it is a dry run."""
        ...

    def locked(self, what: str) -> AbstractContextManager[None]:
        """Keep every other process from the same block, wherever :attr:`place` says."""
        ...

    def is_held(self, what: str) -> bool:
        """Whether some process is in such a block now; it ends with its process, however that ends."""
        ...

    def located(self, branch: Branch, own: sa.URL) -> sa.URL:
        """Where a branch is for another of the application's ways to main: as another role, with other options."""
        ...

    def pooled(self, branch: Branch) -> str:
        """The URL of a branch's connection pooler.

        Raises:
            NotSupported: where the backend has none.
        """
        ...

    def close(self) -> None:
        """Close what is kept open for the next call."""
        ...


class ByName:
    """What is the same for all backends whose branches are told by a database's name alone."""

    place: str | None = None

    @contextmanager
    def creating(
        self: Backend,
        record: Record,
        *,
        at: PointInTime | None = None,
        prepare: Prepare | None = None,
        force: bool = False,
    ) -> Iterator[Branch]:
        """Each database has a branch of its own, which is complete by itself."""
        branch = self.create(record, at=at, prepare=prepare, force=force)
        try:
            yield branch
        except BaseException:
            self.delete(branch)
            raise

    def located(self, branch: Branch, own: sa.URL) -> sa.URL:
        """The same database for another of the application's URLs."""
        return own.set(database=sa.make_url(branch.url).database)

    def pooled(self, branch: Branch) -> str:
        """There is none."""
        raise NotSupported(f"The branch {branch.name!r} has no connection pooler, only those of Neon have one.")


class ByBlock:
    """What is the same for all backends that make a branch in a block."""

    def create(
        self: Backend,
        record: Record,
        *,
        at: PointInTime | None = None,
        prepare: Prepare | None = None,
        force: bool = False,
    ) -> Branch:
        """The block alone; see :meth:`Backend.creating`."""
        with self.creating(record, at=at, prepare=prepare, force=force) as branch:
            return branch


def not_found(name: str, there: list[Branch]) -> BranchNotFound:
    """That there is no branch of a name, with the names that there are."""
    names = ", ".join(repr(each.name) for each in there) or "none"
    return BranchNotFound(f"There is no branch {name!r}; there are: {names}.")


def tree(branches: list[Branch], root: str | None) -> list[tuple[int, Branch]]:
    """Branches in the order of a tree, each with its depth; those whose parent is gone come last, as roots."""
    rows: list[tuple[int, Branch]] = []
    shown: set[str] = set()

    def add(branch: Branch, depth: int) -> None:
        # A name that was given anew can make two branches each other's parents.
        if branch.name not in shown:
            shown.add(branch.name)
            rows.append((depth, branch))
            for child in branches:
                if child.parent == branch.name:
                    add(child, depth + 1)

    names = {branch.name for branch in branches}
    for branch in branches:
        if branch.parent == root:
            add(branch, 1)
    for branch in sorted(branches, key=lambda each: each.parent in names):
        add(branch, 0)
    return rows
