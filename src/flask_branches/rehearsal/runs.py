"""Revisions and transactions, while they go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask_branches.rehearsal.looking import Changes
from flask_branches.rehearsal.observed import Span

if TYPE_CHECKING:
    from flask_branches.rehearsal.statements import Tally


@dataclass
class Run:
    """One revision, while it is run."""

    id: str
    down: tuple[str, ...]
    title: str
    began: float
    ended: float = 0
    statements: dict[tuple[str, bool], Tally] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    transactions: dict[int, None] = field(default_factory=dict)
    at_once: bool = False
    """Whether some of its statements were each committed at once."""
    own: bool = False
    """Whether it has opened a connection of its own."""
    others: bool = False
    """Whether there were sessions meanwhile that nobody here knows of."""
    failed: bool = False

    @property
    def span(self) -> Span:
        """From its first statement to its last."""
        return Span(self.began, max(self.ended, self.began))


@dataclass
class Open:
    """A transaction that has not ended."""

    number: int
    began: float
    revisions: dict[str, None] = field(default_factory=dict)
    statements: int = 0
