"""What was seen of one revision, piece by piece. Moments and spans are milliseconds; see :mod:`.report`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Blocks = Literal["nothing", "schema changes", "writes", "reads and writes"]
"""What others cannot do to an object while a lock on it is held."""
UndoState = Literal["same", "differs", "missing", "failed", "not tried"]


@dataclass(frozen=True)
class Span:
    """A stretch of time."""

    began: float
    ended: float

    @property
    def length(self) -> float:
        """How long it was."""
        return self.ended - self.began


@dataclass(frozen=True)
class Statement:
    """A statement, with all its repeats: what differs in numbers and quoted texts alone is the same statement."""

    text: str
    """As it was sent, with placeholders for its parameters; several in one ``op.execute`` are one."""
    began: float
    """When the first of them was sent."""
    ended: float
    """When the last of them was answered."""
    took: float
    """All repeats together."""
    longest: float
    times: int
    rows: int | None
    """How many rows all of them affected or gave; None where the server does not say."""
    transaction: int | None
    """The number of the transaction that the first was part of; None for one outside of any."""
    effects: tuple[str, ...] = ()
    """What was seen to come of it: ``rewrites public.note``, ``reads 1,000,000 rows of public.note``."""
    own_connection: bool = False
    """Whether the migration opened a connection of its own for it."""


@dataclass(frozen=True)
class Transaction:
    """A transaction of the migrating session."""

    number: int
    span: Span
    revisions: tuple[str, ...]
    committed: bool
    statements: int


@dataclass(frozen=True)
class Lock:
    """A lock that the migrating session was seen to hold."""

    object: str
    """With its schema, quoted where it has to be: ``public.note``."""
    kind: str
    """``table``, ``index``, ``sequence``, ``view``, ``materialized view``, ``foreign table``."""
    table: str
    """The table that it is part of; the same as the object for a table."""
    mode: str
    """As Postgres calls it: ``ACCESS EXCLUSIVE``."""
    blocks: Blocks
    existed: bool
    """Whether the object was there before the rehearsal: what is new has no readers to keep waiting."""
    spans: tuple[Span, ...]
    """When it was held, the longest ones where there are more than 100."""
    held: float
    """All of them together."""
    sampled: bool
    """Whether it was seen by samples alone, and gone when its statement had ended."""
    above: tuple[str, ...] = ()
    """The tables that it is a partition of, or inherits from: who comes to them comes to it."""

    @property
    def longest(self) -> float:
        """The longest time without a pause."""
        return max((each.length for each in self.spans), default=0)


@dataclass(frozen=True)
class Probe:
    """A reader's or writer's lock on a table that was seen blocked, really waited for."""

    table: str
    what: Literal["reads", "writes"]
    waited: float
    derived: float
    """What it should have waited by the locks that were seen."""


@dataclass(frozen=True)
class Blocking:
    """For how long those who use a table would have waited, by the locks."""

    table: str
    reads: tuple[Span, ...]
    writes: tuple[Span, ...]
    """Whatever blocks reads blocks writes too, and is in both."""
    probes: tuple[Probe, ...] = ()

    @property
    def longest_read(self) -> float:
        """The longest that a reader would have waited."""
        return max((each.length for each in self.reads), default=0)

    @property
    def longest_write(self) -> float:
        """The longest that a writer would have waited."""
        return max((each.length for each in self.writes), default=0)


@dataclass(frozen=True)
class Rewrite:
    """A table, or an index that was there before, whose file was replaced."""

    object: str
    kind: str
    table: str
    truncated: bool
    """By TRUNCATE: nothing was copied."""
    before: int
    """Bytes."""
    after: int

    @property
    def size(self) -> int:
        """How large it was, or has become: what was added to it under way was copied too."""
        return max(self.before, self.after)


@dataclass(frozen=True)
class Index:
    """An index that was built on a table that was there before."""

    name: str
    table: str
    unique: bool
    valid: bool
    concurrently: bool
    """Whether writers could go on: seen by the lock that the table had."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Validation:
    """A table that was read to see whether a constraint holds."""

    table: str
    constraint: str
    """Its name and definition, or the columns that became NOT NULL."""
    rows: int
    """How many rows the statement read of the table."""


@dataclass(frozen=True)
class Wal:
    """What the write-ahead log has got: what a replica has to be sent."""

    size: int
    """Bytes."""
    of_server: bool
    """Whether others' part is in it: before version 18 no backend is told its own."""


@dataclass(frozen=True)
class Growth:
    """What a table or an index takes on the disk."""

    object: str
    kind: str
    before: int | None
    """Bytes; None where it was not there."""
    after: int | None


@dataclass(frozen=True)
class Rows:
    """How many rows a table has."""

    table: str
    before: int | None
    """None where it was not there."""
    after: int | None
    exact: bool
    """Counted; else by the planner's estimate, which ANALYZE keeps up to date."""
    columns_lost: tuple[str, ...] = ()
    """Columns that are gone, of a table that had rows."""

    @property
    def lost(self) -> int:
        """How many are gone."""
        return max((self.before or 0) - (self.after or 0), 0)


@dataclass(frozen=True)
class Undo:
    """A revision undone and done again."""

    state: UndoState
    detail: str = ""
    """Why it failed, or what does not come back."""
    diff: str = ""
    """How the schema differs from what it should be, as a unified diff."""
    lost: tuple[str, ...] = ()
    """Data that does not survive: ``public.note.stars: 1,000,000 values``."""
