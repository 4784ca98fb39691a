"""The statements of a migration, folded: repeats are one, whatever numbers and texts they have in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from flask_branches.rehearsal import hiding
from flask_branches.rehearsal.observed import Statement

_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
# Atomic: else a text is tried in all the ways in which its spaces and comments could be parted. Not possessive: that is
# wrong for groups until Python 3.11.5, https://github.com/python/cpython/issues/106052
_SPACE = r"(?>(?:\s++|--[^\n]*+\n|/\*(?>.*?\*/))*)"
_OF_ROWS = re.compile(
    rf"{_SPACE}\(?{_SPACE}(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|COPY|SHOW|EXPLAIN|SAVEPOINT|RELEASE|SET)\b",
    re.IGNORECASE | re.DOTALL,
)
_SEVERAL = re.compile(r";\s*\S")
_TO = r"\s+(?:(?:WORK|TRANSACTION)\s+)?TO\b"
BACK_TO = re.compile(rf"{_SPACE}ROLLBACK{_TO}", re.IGNORECASE | re.DOTALL)
"""A statement that goes back to a savepoint."""
ENDS = re.compile(
    rf"(?:^|;){_SPACE}(?P<how>COMMIT|END|ABORT|ROLLBACK(?!{_TO}))\b(?P<chain>[^;]*\bAND\s+CHAIN\b)?",
    re.IGNORECASE | re.DOTALL,
)
"""A statement, or the first of several, that ends the transaction."""
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
    """Tells what kind of statement a text is, in no time: a backfill sends thousands, each a little different."""

    def __init__(self) -> None:
        self._kinds: dict[str, bool] = {}
        self._latest = ("", "", False)

    def read(self, text: str) -> tuple[str, bool]:
        """What a statement's repeats have in common, and whether it may change more than rows."""
        latest, key, of_schema = self._latest
        if latest != text:
            key = _LITERAL.sub("?", text)
            found = self._kinds.get(key)
            if found is None:
                if len(self._kinds) >= _REMEMBERED:
                    self._kinds.clear()
                found = self._kinds[key] = _SEVERAL.search(key) is not None or _OF_ROWS.match(key) is None
            of_schema = found
            self._latest = (text, key, of_schema)
        return key, of_schema


def shortened(text: str) -> str:
    """A statement as it is shown."""
    text = hiding.statement(text.strip())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"
