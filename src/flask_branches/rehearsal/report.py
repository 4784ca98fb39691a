"""What a rehearsal has found. Moments and spans are milliseconds; moments count from when the migrations began."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from flask_branches.branch import written

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Blocks = Literal["nothing", "schema changes", "writes", "reads and writes"]
"""What others cannot do to an object while a lock on it is held."""
Severity = Literal["danger", "warning", "note"]
Verdict = Literal["safe", "unsafe", "failed"]
UndoState = Literal["same", "differs", "missing", "failed", "not tried"]

STATUS: dict[Verdict, int] = {"safe": 0, "unsafe": 1, "failed": 2}


@dataclass(frozen=True)
class Limits:
    """What a deployment may cost; beyond, the verdict is ``unsafe``."""

    max_lock: float = 1_000
    """For how long readers or writers of a table may be kept waiting, in ms."""
    max_rewrite: int = 100 * 2**20
    """How large a table may be that is rewritten, in bytes."""


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
    """``table``, ``index``, ``sequence``, ``view``, ``materialized view``, ``foreign table``, ``toast table``."""
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
    """How many rows the statement read of the table; 0 where none had to be."""


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


@dataclass(frozen=True)
class Revision:
    """One pending revision, run on one of the application's databases."""

    id: str
    down: tuple[str, ...]
    title: str
    database: str | None
    """The bind key; None for the default database."""
    span: Span
    transactions: tuple[int, ...]
    statements: tuple[Statement, ...] = ()
    locks: tuple[Lock, ...] = ()
    blocking: tuple[Blocking, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    indexes: tuple[Index, ...] = ()
    validations: tuple[Validation, ...] = ()
    wal: Wal | None = None
    growth: tuple[Growth, ...] = ()
    """Of what has changed its size."""
    rows: tuple[Rows, ...] = ()
    """Of the tables whose number of rows, or columns, has changed."""
    undo: Undo = field(default_factory=lambda: Undo("not tried"))
    failed: bool = False


@dataclass(frozen=True)
class Difference:
    """Something in which the models and the migrated schema differ."""

    text: str
    where: Literal["models", "database"]
    """Which of the two has it."""


@dataclass(frozen=True)
class OldTests:
    """The previous release's tests, run on the migrated branch."""

    command: str
    status: int
    took: float
    output: str
    """The end of what they said, without passwords."""


@dataclass(frozen=True)
class Advice:
    """Something dangerous that was seen, and what would avoid it."""

    severity: Severity
    revision: str | None
    seen: str
    """What was observed."""
    remedy: str
    source: str
    """Where that rule is documented: a URL."""


@dataclass(frozen=True)
class Failure:
    """Why it could not be rehearsed to its end."""

    error: str
    revision: str | None = None
    statement: str | None = None
    done: tuple[str, ...] = ()
    """The revisions that were committed before."""


@dataclass(frozen=True)
class Report:
    """What the pending migrations did to a branch."""

    application: str
    backend: str
    server: str
    """``PostgreSQL 18.6``."""
    parent: str
    branch: str
    kept: bool
    """Whether the branch is still there."""
    started_at: datetime
    took: float
    """The migrations alone."""
    current: tuple[str, ...]
    """The revisions that the parent is at."""
    target: tuple[str, ...]
    limits: Limits
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why it is not safe; empty where it is."""
    revisions: tuple[Revision, ...] = ()
    transactions: tuple[Transaction, ...] = ()
    blocking: tuple[Blocking, ...] = ()
    """By table, of all revisions together: a lock is held until its transaction ends, whosever it is."""
    shared_transaction: bool = False
    """Whether one transaction ran several revisions."""
    differences: tuple[Difference, ...] | None = None
    """Drift; None where that was not looked for."""
    old_tests: OldTests | None = None
    advice: tuple[Advice, ...] = ()
    warnings: tuple[str, ...] = ()
    """What keeps nobody from deploying, and should be known."""
    not_shown: tuple[str, ...] = ()
    """What this rehearsal cannot tell."""
    failure: Failure | None = None

    @property
    def status(self) -> int:
        """The exit status: 0 safe, 1 unsafe, 2 could not be rehearsed."""
        return STATUS[self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """All of it, with the figures that follow from others, for JSON."""
        return {"version": 1, **_fields(self)}


def _fields(part: DataclassInstance) -> dict[str, Any]:
    computed = [name for name, each in vars(type(part)).items() if isinstance(each, property)]
    return {name: _plain(getattr(part, name)) for name in (*(each.name for each in fields(part)), *computed)}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return written(value)
    return _fields(value) if is_dataclass(value) and not isinstance(value, type) else value
