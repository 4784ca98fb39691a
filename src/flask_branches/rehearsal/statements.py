"""The statements of a migration, folded: repeats are one, whatever numbers and texts they have in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from flask_branches.rehearsal.report import Statement

_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
_SPACE = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_OF_ROWS = re.compile(
    rf"{_SPACE}\(?{_SPACE}(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|COPY|SHOW|EXPLAIN|SAVEPOINT|RELEASE|SET)\b",
    re.IGNORECASE | re.DOTALL,
)
_SEVERAL = re.compile(r";\s*\S")
_REMEMBERED = 10_000
_LONGEST = 20_000
"""How many characters of a statement are kept: a migration may carry a whole table of data."""


@dataclass
class Tally:
    """A statement and its repeats, while they are being counted."""

    text: str
    began: float
    transaction: int | None
    own_connection: bool
    ended: float = 0
    took: float = 0
    longest: float = 0
    times: int = 0
    rows: int | None = None
    effects: dict[str, None] = field(default_factory=dict)

    def add(self, began: float, ended: float, rows: int) -> None:
        """Count one of them; a driver says -1 where it knows nothing of rows."""
        took = ended - began
        self.ended = ended
        self.took += took
        self.longest = max(self.longest, took)
        self.times += 1
        if rows >= 0:
            self.rows = (self.rows or 0) + rows

    def told(self) -> Statement:
        """What there is to say of them."""
        return Statement(
            self.text,
            self.began,
            self.ended,
            self.took,
            self.longest,
            self.times,
            self.rows,
            self.transaction,
            tuple(self.effects),
            self.own_connection,
        )


class Reader:
    """Tells what kind of statement a text is; each text is read once, since a backfill sends thousands."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, bool]] = {}

    def read(self, text: str) -> tuple[str, bool]:
        """What a statement's repeats have in common, and whether it may change more than rows."""
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            several = _SEVERAL.search(_LITERAL.sub("", text)) is not None
            found = self._known[text] = (_LITERAL.sub("?", text), several or _OF_ROWS.match(text) is None)
        return found


def shortened(text: str) -> str:
    """A statement as it is shown."""
    text = text.strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"
