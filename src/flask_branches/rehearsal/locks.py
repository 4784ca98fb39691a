"""Postgres' locks on relations: what they keep others from, and for how long a session was seen to hold them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_branches.rehearsal.observed import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_branches.rehearsal.observed import Blocks

    Key = tuple[int, str]
    """A relation's number, and the lock's mode as pg_locks calls it."""

# Each mode, and those that it conflicts with: table 13.2 of
# https://www.postgresql.org/docs/current/explicit-locking.html
_CONFLICTS = {
    "AccessShareLock": {"AccessExclusiveLock"},
    "RowShareLock": {"ExclusiveLock", "AccessExclusiveLock"},
    "RowExclusiveLock": {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"},
    "ShareUpdateExclusiveLock": {
        "ShareUpdateExclusiveLock",
        "ShareLock",
        "ShareRowExclusiveLock",
        "ExclusiveLock",
        "AccessExclusiveLock",
    },
    "ShareLock": {
        "RowExclusiveLock",
        "ShareUpdateExclusiveLock",
        "ShareRowExclusiveLock",
        "ExclusiveLock",
        "AccessExclusiveLock",
    },
    "ShareRowExclusiveLock": {
        "RowExclusiveLock",
        "ShareUpdateExclusiveLock",
        "ShareLock",
        "ShareRowExclusiveLock",
        "ExclusiveLock",
        "AccessExclusiveLock",
    },
}
_READER, _WRITER, _CHANGER = "AccessShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock"
_MODES = {
    "AccessShareLock": "ACCESS SHARE",
    "RowShareLock": "ROW SHARE",
    "RowExclusiveLock": "ROW EXCLUSIVE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}


def mode_of(lock: str) -> str:
    """A mode of pg_locks as statements and the documentation write it."""
    return _MODES[lock]


def strength(mode: str) -> int:
    """How much a mode, as the documentation writes it, keeps others from; the more, the larger."""
    return list(_MODES.values()).index(mode)


def blocks(lock: str) -> Blocks:
    """What nobody else can do meanwhile; an ALTER TABLE that waits for a reader alone counts as nothing.

    Readers take ACCESS SHARE, writers ROW EXCLUSIVE, and what changes the least of a schema SHARE UPDATE EXCLUSIVE.
    """
    if lock in _CONFLICTS[_READER]:
        return "reads and writes"
    if lock in _CONFLICTS[_WRITER]:
        return "writes"
    return "schema changes" if lock in _CONFLICTS[_CHANGER] else "nothing"


@dataclass
class _Open:
    began: float
    revision: str | None
    sampled: bool = True


@dataclass(frozen=True)
class Held:
    """A lock, and when it was held."""

    revision: str | None
    relation: int
    lock: str
    spans: tuple[Span, ...]
    sampled: bool


class Tracker:
    """Puts together from glances at a session which locks it held, and when.

    A lock may have been taken at any time since the glance before; where its statement began later, since then: most
    statements take their locks first.
    """

    def __init__(self) -> None:
        self._open: dict[Key, _Open] = {}
        self._closed: dict[tuple[str | None, Key], list[tuple[Span, bool]]] = defaultdict(list)
        self._ignored: set[Key] = set()
        self._glanced = 0.0
        self.empty_since = 0.0
        """When the latest of the locks was seen to be gone."""

    def glance(
        self,
        keys: Iterable[Key],
        *,
        asked: float,
        answered: float,
        since: float,
        revision: str | None,
        settled: bool,
    ) -> None:
        """Take in what a session holds.

        Args:
            keys: its locks.
            asked: when they were asked for.
            answered: when they were told.
            since: when the session's latest statement began.
            revision: the one that is being run.
            settled: whether no statement is running, so that what is held will be held until the transaction ends.
        """
        held = set(keys) - self._ignored
        for key in held - self._open.keys():
            self._open[key] = _Open(max(since, self._glanced), revision)
        gone = self._open.keys() - held
        for key in gone:
            self._close(key, answered)
        if gone and not held:
            self.empty_since = answered
        if settled:
            for each in self._open.values():
                each.sampled = False
        self._glanced = asked

    def ignore(self, keys: Iterable[Key]) -> None:
        """Leave out, until the transaction ends, what the session does not hold for its migration."""
        self._ignored |= set(keys) - self._open.keys()

    def release(self, at: float) -> None:
        """The transaction has ended."""
        for key in list(self._open):
            self._close(key, at)
        self._ignored.clear()
        self._glanced = at

    def seen(self) -> list[Held]:
        """Every lock that has been let go of."""
        return [
            Held(revision, relation, lock, tuple(span for span, _ in spans), all(sampled for _, sampled in spans))
            for (revision, (relation, lock)), spans in self._closed.items()
        ]

    def _close(self, key: Key, at: float) -> None:
        found = self._open.pop(key)
        self._closed[found.revision, key].append((Span(found.began, max(at, found.began)), found.sampled))


def merged(spans: Iterable[Span], gap: float = 0) -> list[Span]:
    """Spans without overlaps, in order; those that are no more than a gap apart become one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda each: each.began):
        if found and span.began <= found[-1].ended + gap:
            found[-1] = Span(found[-1].began, max(found[-1].ended, span.ended))
        else:
            found.append(span)
    return found
