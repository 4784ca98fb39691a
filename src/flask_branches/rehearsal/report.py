"""What a rehearsal has found. Moments and spans are milliseconds; moments count from when the migrations began."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from flask_branches.branch import written
from flask_branches.errors import InvalidValue
from flask_branches.rehearsal.observed import Undo

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from flask_branches.rehearsal.observed import (
        Blocking,
        Growth,
        Index,
        Lock,
        Rewrite,
        Rows,
        Span,
        Statement,
        Transaction,
        Validation,
        Wal,
    )

Severity = Literal["danger", "warning", "note"]
Verdict = Literal["safe", "unsafe", "failed"]

STATUS: dict[Verdict, int] = {"safe": 0, "unsafe": 1, "failed": 2}


@dataclass(frozen=True)
class Limits:
    """What a deployment may cost; beyond, the verdict is ``unsafe``.

    Raises:
        InvalidValue: for what is no number, negative or without end.
    """

    max_lock: float = 1_000
    """For how long readers or writers of a table may be kept waiting, in ms."""
    max_rewrite: int = 100 * 2**20
    """How large a table may be that is rewritten, in bytes."""

    def __post_init__(self) -> None:
        """Refuse what nothing can be held against, before any work is done."""
        for name, unit in (("max_lock", "milliseconds"), ("max_rewrite", "bytes")):
            value: object = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
                raise InvalidValue(f"{name} {value!r} is no limit: give a number of {unit}, 0 or more.")


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
