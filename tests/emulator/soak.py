"""What is known of an emulator's branches while several clients change them and processes are killed: the model.

Every branch has the table `accounts`, whose sum never changes, and `seen`, into which numbers go that nobody else
uses. A number was either answered for, and has to be there; or its answer was lost, and it may be there.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

TOTAL = 2000
MAKING = """
CREATE TABLE accounts (id integer PRIMARY KEY, amount integer NOT NULL);
INSERT INTO accounts VALUES (1, 1000), (2, 1000);
CREATE TABLE seen (n integer PRIMARY KEY);
"""


@dataclass(frozen=True)
class Known:
    """What was known of a branch's numbers at a moment, and how often a reset of it had been asked for by then."""

    resets: int
    certain: set[int]
    tried: set[int]


@dataclass
class Branch:
    """A branch, and the numbers in it; whoever changes or deletes it holds its lock."""

    id: str
    name: str
    parent: str | None
    certain: set[int] = field(default_factory=set)
    tried: set[int] = field(default_factory=set)
    resets: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def known(self) -> Known:
        """What is known now, also to somebody who does not hold its lock."""
        resets = self.resets  # first: a reset that begins meanwhile is one that has come since
        return Known(resets, set(self.certain), set(self.tried))

    def doubt(self, parent: Branch) -> None:
        """Take down that its numbers may from now on be its parent's."""
        self.certain &= parent.certain
        self.tried |= parent.tried
        self.resets += 1  # last: who has seen this has seen the doubt

    def check(self, connection: psycopg.Connection[Any]) -> set[int]:
        """Compare what is there with what must and may be there, and return the numbers."""
        must = set(self.certain)
        with connection.transaction():
            (total,) = connection.execute("SELECT sum(amount) FROM accounts").fetchone() or (None,)
            found = {n for (n,) in connection.execute("SELECT n FROM seen")}
        assert total == TOTAL, f"{self.name}: the sum is {total}"
        assert must <= found, f"{self.name} has lost {sorted(must - found)[:5]} of {len(must)}"
        assert found <= self.tried, f"{self.name} has {sorted(found - self.tried)[:5]}, which nobody wrote"
        return found


class Model:
    """All branches that are known to exist."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        self._branches: dict[str, Branch] = {}
        self._numbers = itertools.count(1)
        self._deleting: Counter[str] = Counter()

    def number(self) -> int:
        """A number that nobody else uses."""
        return next(self._numbers)

    def all_numbers(self) -> set[int]:
        """The numbers that anybody has used."""
        return set(range(1, self.number()))

    def copied(self, parent: Branch, before: Known) -> tuple[set[int], set[int]]:
        """The numbers that a copy must have and those that it may have, which was made at some time since a moment."""
        if parent.resets != before.resets:  # the copy is of one side of a reset, or of the other
            return set(), self.all_numbers()
        return before.certain, before.tried | parent.tried

    def add(self, branch: Branch) -> None:
        """Take down a branch that was answered for."""
        with self._lock:
            self._branches[branch.id] = branch

    def remove(self, branch: Branch) -> None:
        """Forget a branch that was deleted."""
        with self._lock:
            self._branches.pop(branch.id, None)

    def begin_deletion(self, branch: Branch) -> None:
        """Take down that a branch may be gone from now on."""
        with self._lock:
            self._deleting[branch.id] += 1

    def take_back_deletion(self, branch: Branch) -> None:
        """Take down that this deletion was refused; an earlier one may have been done nevertheless."""
        with self._lock:
            self._deleting[branch.id] -= 1

    def may_be_gone(self, branch: str) -> bool:
        """Whether somebody has asked for a branch to be deleted, and was not refused."""
        with self._lock:
            return self._deleting[branch] > 0

    def all(self) -> list[Branch]:
        """The branches, the oldest first."""
        with self._lock:
            return list(self._branches.values())

    def leaves(self) -> list[Branch]:
        """Those without children, and not the first one."""
        branches = self.all()
        parents = {branch.parent for branch in branches}
        return [branch for branch in branches[1:] if branch.id not in parents]

    @contextmanager
    def held(self, branch: Branch) -> Iterator[bool]:
        """Hold a branch alone if nobody else does; tell whether it is held, and still there."""
        if not branch.lock.acquire(blocking=False):
            yield False
            return
        try:
            with self._lock:
                there = branch.id in self._branches
            yield there
        finally:
            branch.lock.release()
