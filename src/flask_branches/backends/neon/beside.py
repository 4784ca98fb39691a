"""Another database of an application on the same branch of Neon: it goes wherever the first one goes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask_branches import urls
from flask_branches.backends import ByBlock
from flask_branches.backends.neon import making, waking
from flask_branches.branch import MAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    import sqlalchemy as sa

    from flask_branches.backends import Prepare
    from flask_branches.backends.neon.backend import Neon
    from flask_branches.branch import Branch, PointInTime
    from flask_branches.record import Record


class Beside(ByBlock):
    """Branches of a database beside another one's: Neon branches both at once.

    Args:
        first: the backend of the other database, whose branches these are.
        main: the URL of this one.
        connect_args: what the application passes to its driver beside the URL.
    """

    name = "neon"

    def __init__(self, first: Neon, main: sa.URL, connect_args: Mapping[str, Any]) -> None:
        """Take note; nothing is asked."""
        self._first = first
        self._connect_args = dict(connect_args)
        self.main = main
        first.passwords[main.username] = main.password
        self.longest_name = first.longest_name

    @property
    def place(self) -> str:
        """Where the first one's locks hold."""
        return self._first.place

    @contextmanager
    def creating(
        self, record: Record, *, at: PointInTime | None = None, prepare: Prepare | None = None, force: bool = False
    ) -> Iterator[Branch]:
        """As the first one, which shows the branch, or deletes it, when its own block has ended."""
        branch: Branch = self._first.in_making.branch
        url = self.located(branch, self.main)
        if record.parent is None:
            waking.empty_database(url, self._connect_args)
        elif making.is_without_rows(record):
            parent = self.main if record.parent == MAIN else self.located(self._first.get(record.parent), self.main)
            waking.copy_revision(parent, url, self._connect_args)
        if prepare is not None:
            prepare(url)
        yield replace(branch, url=urls.plain(url))

    def branches(self) -> list[Branch]:
        """Those of the first one, with this one's URLs."""
        return [self._here(each) for each in self._first.branches()]

    def get(self, name: str) -> Branch:
        """The branch of that name."""
        return self._here(self._first.get(name))

    def delete(self, branch: Branch) -> None:
        """It goes with the first one."""

    @contextmanager
    def resetting(self, branch: Branch, *, prepare: Prepare | None = None, force: bool = False) -> Iterator[None]:
        """It is reset with the first one."""
        yield

    def update(self, branch: Branch, expires_at: datetime | None, labels: Mapping[str, str] | None = None) -> Branch:
        """What the first one is told counts for this one."""
        return replace(branch, expires_at=expires_at, labels=dict(labels if labels is not None else branch.labels))

    def vouch(self, url: sa.URL) -> Record | None:
        """What the first one says."""
        return self._first.vouch(url)

    def is_main(self, url: sa.URL) -> bool:
        """What the first one says: they are on one branch."""
        return self._first.is_main(url)

    def adopt(self, url: sa.URL, record: Record) -> None:
        """As the first one."""
        self._first.adopt(url, record)

    def state(self, parent: str) -> str:
        """As the first one."""
        return self._first.state(parent)

    def sweep(self, *, dry_run: bool) -> list[str]:
        """Nothing but what the first one finds."""
        return []

    def locked(self, what: str) -> AbstractContextManager[None]:
        """As the first one."""
        return self._first.locked(what)

    def is_held(self, what: str) -> bool:
        """As the first one."""
        return self._first.is_held(what)

    def located(self, branch: Branch, own: sa.URL) -> sa.URL:
        """As the first one."""
        return self._first.located(branch, own)

    def pooled(self, branch: Branch) -> str:
        """As the first one."""
        return self._first.pooled(branch)

    def close(self) -> None:
        """The first one closes what they share."""

    def _here(self, branch: Branch) -> Branch:
        return replace(branch, url=urls.plain(self.located(branch, self.main)) if branch.url else "")
