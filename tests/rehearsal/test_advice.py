"""What is advised, and what is judged, by what was seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from flask_branches.errors import InvalidValue
from flask_branches.rehearsal.advice import advise
from flask_branches.rehearsal.observed import Index, Lock, Rewrite, Rows, Span, Statement, Transaction, Validation
from flask_branches.rehearsal.report import Difference, Failure, Limits, OldTests, Report, Revision
from flask_branches.rehearsal.telling import blocking
from flask_branches.rehearsal.verdict import judged

if TYPE_CHECKING:
    from flask_branches.rehearsal.observed import Blocks

TABLE = "public.note"


def _statement(text: str, began: float, ended: float, *effects: str, rows: int | None = None) -> Statement:
    return Statement(text, began, ended, ended - began, ended - began, 1, rows, 1, effects)


def _lock(began: float, ended: float, *, reads: bool) -> Lock:
    blocks: Blocks = "reads and writes" if reads else "writes"
    mode, span = "ACCESS EXCLUSIVE" if reads else "SHARE", Span(began, ended)
    return Lock(TABLE, "table", TABLE, mode, blocks, existed=True, spans=(span,), held=span.length, sampled=False)


def _report(**changes: Any) -> Report:
    fields = {name: changes.pop(name) for name in ("differences", "old_tests", "failure", "limits") if name in changes}
    locks: tuple[Lock, ...] = changes.get("locks", ())
    end = max((each.ended for lock in locks for each in lock.spans), default=10)
    revision = Revision("r1", (), "what it does", None, Span(0, end), (1,), blocking=blocking(locks), **changes)
    return Report(
        "app",
        "postgres",
        "PostgreSQL 18.6",
        "main",
        "rehearsal-1",
        kept=False,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        took=end,
        current=(),
        target=("r1",),
        verdict="safe",
        reasons=(),
        revisions=(revision,),
        transactions=(Transaction(1, Span(0, end), ("r1",), committed=True, statements=2),),
        blocking=blocking(locks),
        **{"limits": Limits(), **fields},
    )


def _advice(report: Report, word: str) -> tuple[str, str]:
    (found,) = (each for each in advise(report) if word in each.seen)
    assert found.source.startswith("https://")
    return found.severity, found.remedy


def test_a_lock_that_is_held_for_something_else_is_told() -> None:
    """With the statement that took it, and the one that took the time."""
    report = _report(
        locks=(_lock(1, 5000, reads=True),),
        statements=(
            _statement("ALTER TABLE note ADD COLUMN stars INT", 1, 3),
            _statement("UPDATE note\n SET stars = 5", 3, 4900, rows=20_000),
        ),
    )

    (found,) = (each for each in advise(report) if "locked public.note" in each.seen)

    assert found.severity == "danger"
    assert found.seen == (
        "ALTER TABLE note ADD COLUMN stars INT locked public.note, and the lock was held for 5.0 s: "
        "UPDATE note SET stars = 5 took 4.9 s of them."
    )
    assert "a revision of its own" in found.remedy
    assert "in batches" in _advice(report, "20,000 rows were changed")[1]


@pytest.mark.parametrize(("ended", "severity"), [(200, "warning"), (1500, "danger")])
def test_an_index_could_be_built_while_others_write(ended: float, severity: str) -> None:
    """The longer they wait, the worse; one that was built concurrently is praised by silence."""
    index = Index("public.ix", TABLE, unique=False, valid=True, concurrently=False, size=2**20)
    statement = _statement("CREATE INDEX ix", 0, ended, "builds public.ix on public.note")
    report = _report(locks=(_lock(0, ended, reads=False),), statements=(statement,), indexes=(index,))

    assert _advice(report, "was built")[0] == severity
    assert "concurrently" in _advice(report, "was built")[1]
    silent = _report(indexes=(replace(index, concurrently=True),))
    assert advise(silent) == ()


def test_an_index_that_is_invalid_is_told() -> None:
    """Nobody uses it, and it costs."""
    report = _report(indexes=(Index("public.ix", TABLE, unique=False, valid=False, concurrently=True, size=2**20),))

    assert "DROP INDEX CONCURRENTLY" in _advice(report, "was left invalid")[1]


def test_a_rewrite_could_be_avoided() -> None:
    """A truncation is none."""
    rewrite = Rewrite(TABLE, "table", TABLE, truncated=False, before=2**20, after=2**20)
    statement = _statement("ALTER TABLE note", 0, 2000, "rewrites public.note")
    report = _report(locks=(_lock(0, 2000, reads=True),), statements=(statement,), rewrites=(rewrite,))

    assert _advice(report, "was rewritten in 2.0 s, while readers and writers waited")[0] == "danger"
    assert not advise(_report(rewrites=(replace(rewrite, truncated=True),)))


@pytest.mark.parametrize(
    ("text", "kind", "remedy"),
    [
        ("ALTER TABLE note ALTER COLUMN stars TYPE text", "table", "Add a new nullable column"),
        ('ALTER TABLE note ALTER "cluster" TYPE text', "table", "Add a new nullable column"),
        ("SELECT 1;\ncluster note", "table", "A plain VACUUM"),
        ("ALTER TABLE note SET UNLOGGED", "table", "a revision of its own"),
        ("SELECT mend_notes()", "table", "a revision of its own"),
        ("CLUSTER note USING note_pkey", "table", "A plain VACUUM"),
        ("VACUUM (ANALYZE, FULL) note", "table", "A plain VACUUM"),
        ("VACUUM FULL note", "table", "A plain VACUUM"),
        ("refresh materialized\n view note", "materialized view", "REFRESH MATERIALIZED VIEW CONCURRENTLY"),
        ("REINDEX INDEX note", "index", "REINDEX … CONCURRENTLY"),
        ("ALTER TABLE note ALTER COLUMN title TYPE text COLLATE de", "index", "Add a new nullable column"),
    ],
)
def test_the_advice_on_a_rewrite_is_that_of_its_statement(text: str, kind: str, remedy: str) -> None:
    """What another kind of statement would do better helps nobody."""
    rewrite = Rewrite(TABLE, kind, TABLE, truncated=False, before=2**20, after=2**20)
    statements = (_statement(text, 0, 2000, "rewrites public.note"), _statement("ALTER TABLE x; CLUSTER", 0, 1))

    assert remedy in _advice(_report(statements=statements, rewrites=(rewrite,)), "was rewritten")[1]


def test_a_sequence_is_no_table() -> None:
    """What was locked is called what it is; of a table and its sequence the table is named."""
    table = _lock(0, 100, reads=True)
    sequence = replace(table, object="public.note_id_seq", table="public.note_id_seq", kind="sequence")

    found = _advice(_report(locks=(table, sequence)), "Tables in use were locked: public.note.")[1]
    assert found == _advice(_report(locks=(sequence,)), "Sequences in use were locked: public.note_id_seq.")[1]


def test_a_validation_could_keep_nobody_waiting() -> None:
    """In a transaction after the one that adds the constraint."""
    statement = _statement("ALTER TABLE note", 0, 2000, "reads 5 rows of public.note")
    validation = Validation(TABLE, "starred CHECK (stars > 0)", 5)
    report = _report(locks=(_lock(0, 2000, reads=True),), statements=(statement,), validations=(validation,))

    assert "NOT VALID" in _advice(report, "starred CHECK (stars > 0) holds")[1]


def test_what_is_dropped_is_told() -> None:
    """The code of the previous release may still name it."""
    report = _report(rows=(Rows(TABLE, 5, 5, exact=True, columns_lost=("stars",)),))

    assert "one release" in _advice(report, "public.note: stars was dropped, with 5 rows.")[1]


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ()),
        (
            {"locks": (_lock(0, 1500, reads=True),)},
            ("readers and writers of public.note wait up to 1.5 s (limit 1.0 s)",),
        ),
        ({"locks": (_lock(0, 1500, reads=False),)}, ("writers of public.note wait up to 1.5 s (limit 1.0 s)",)),
        ({"locks": (_lock(0, 1500, reads=True),), "limits": Limits(max_lock=2000)}, ()),
        (
            {"rewrites": (Rewrite(TABLE, "table", TABLE, truncated=False, before=200 * 2**20, after=1),)},
            ("r1 rewrites public.note, 200 MB (limit 100 MB)",),
        ),
        ({"rewrites": (Rewrite(TABLE, "table", TABLE, truncated=True, before=200 * 2**20, after=1),)}, ()),
        ({"rows": (Rows(TABLE, 5, 3, exact=False),)}, ("r1 loses about 2 rows of public.note (of 5)",)),
        ({"rows": (Rows(TABLE, 5, 5, exact=True, columns_lost=("stars",)),)}, ()),
        (
            {"differences": (Difference("x", "models"),)},
            ("the models and the migrated schema differ in 1 place",),
        ),
        (
            {"old_tests": OldTests("tox", 3, 1, "")},
            ("the previous release's tests fail on the migrated schema (exit status 3)",),
        ),
    ],
)
def test_the_verdict_has_its_reasons(changes: dict[str, Any], reasons: tuple[str, ...]) -> None:
    """None where it is safe."""
    assert judged(_report(**changes)) == ("unsafe" if reasons else "safe", reasons)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_lock": float("inf")},
        {"max_lock": float("nan")},
        {"max_lock": -1},
        {"max_lock": "100"},
        {"max_rewrite": -1},
        {"max_rewrite": 10**400},
    ],
)
def test_a_limit_is_a_number(limits: dict[str, Any]) -> None:
    """Refused by its name, before any work is done."""
    ((name, _),) = limits.items()

    with pytest.raises(InvalidValue, match=rf"^{name} .* is no limit: give a number of (milliseconds|bytes), 0 or"):
        Limits(**limits)


def test_what_failed_is_neither_safe_nor_unsafe() -> None:
    """Whatever else was seen."""
    report = _report(failure=Failure("odd"), locks=(_lock(0, 1500, reads=True),))

    assert judged(report) == ("failed", ("odd",))
