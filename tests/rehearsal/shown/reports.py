"""Reports as rehearsals might make them: one for each thing that a reader has to be told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from flask_branches.rehearsal.report import (
    Advice,
    Blocking,
    Difference,
    Failure,
    Growth,
    Index,
    Limits,
    Lock,
    OldTests,
    Probe,
    Report,
    Revision,
    Rewrite,
    Rows,
    Span,
    Statement,
    Transaction,
    Undo,
    Validation,
    Wal,
)

MB = 2**20
NOTE = "public.note"
HOSTILE = 'a<script>alert(1)</script>|`b`** @all "#1\x1b[31m\u202e\x00\ud800'


def _statement(text: str, began: float, ended: float, transaction: int | None = 1, **others: object) -> Statement:
    took = ended - began
    known: dict[str, object] = {"took": took, "longest": took, "times": 1, "rows": None, **others}
    return Statement(text=text, began=began, ended=ended, transaction=transaction, **known)  # type: ignore[arg-type] # whatever a test says


def _lock(table: str, mode: str, blocks: str, *spans: Span, **others: object) -> Lock:
    known: dict[str, object] = {"kind": "table", "object": table, "existed": True, "sampled": False, **others}
    held = sum(each.length for each in spans)
    return Lock(table=table, mode=mode, blocks=blocks, spans=spans, held=held, **known)  # type: ignore[arg-type] # whatever a test says


def _exclusive(table: str, *spans: Span) -> Lock:
    return _lock(table, "ACCESS EXCLUSIVE", "reads and writes", *spans)


def _report(*revisions: Revision, **others: object) -> Report:
    known: dict[str, object] = {
        "application": "shop",
        "backend": "postgres",
        "server": "PostgreSQL 18.6",
        "parent": "main",
        "branch": "rehearsal-3f9a",
        "kept": False,
        "started_at": datetime(2026, 10, 5, 9, 30, tzinfo=UTC),
        "took": max((each.span.ended for each in revisions), default=0),
        "current": ("1a2b3c4d5e6f",),
        "target": tuple(each.id for each in revisions[-1:]),
        "limits": Limits(),
        "verdict": "safe",
        "reasons": (),
        "revisions": revisions,
        "transactions": tuple(
            Transaction(number, each.span, (each.id,), committed=not each.failed, statements=len(each.statements))
            for number, each in enumerate(revisions, 1)
        ),
        "not_shown": (
            "How long the migration itself waits behind production's long transactions: set a lock_timeout.",
            "What cold caches cost: the branch may have warmer ones, or colder.",
        ),
        **others,
    }
    return Report(**known)  # type: ignore[arg-type] # whatever a test says


def _add_column(began: float = 4) -> Revision:
    held = Span(began + 1, began + 7.4)
    return Revision(
        id="2b3c4d5e6f70",
        down=("1a2b3c4d5e6f",),
        title="stars of a note.",
        database=None,
        span=Span(began, began + 9),
        transactions=(1,),
        statements=(
            _statement("ALTER TABLE note ADD COLUMN stars INTEGER", began + 1, began + 4),
            _statement("UPDATE alembic_version SET version_num=%(v)s", began + 6, began + 6.4, rows=1),
        ),
        locks=(_exclusive(NOTE, held),),
        blocking=(Blocking(NOTE, (held,), (held,)),),
        wal=Wal(8_192, of_server=False),
        undo=Undo("same"),
    )


def safe() -> Report:
    """One revision that nobody notices."""
    revision = _add_column()
    return _report(revision, blocking=revision.blocking, differences=())


def _dangerous_second() -> Revision:
    began = 20.0
    held, sent = Span(22, 12_446), Span(22, 12_440)
    indexes = Span(12_440, 15_900)
    tag = Span(15_910, 16_301)
    return Revision(
        id="3c4d5e6f7081",
        down=("2b3c4d5e6f70",),
        title="notes have a price, and their tags are unique",
        database=None,
        span=Span(began, 16_310),
        transactions=(2,),
        statements=(
            _statement(
                "ALTER TABLE note ALTER COLUMN price TYPE NUMERIC(12, 2)",
                sent.began,
                sent.ended,
                2,
                effects=("rewrites public.note",),
            ),
            _statement("CREATE UNIQUE INDEX ix_note_slug ON note (slug)", indexes.began, indexes.ended, 2),
            _statement(
                "ALTER TABLE tag ADD CONSTRAINT fk_tag_note FOREIGN KEY(note_id) REFERENCES note (id)",
                tag.began,
                tag.ended,
                2,
                effects=("reads 240,000 rows of public.tag",),
            ),
        ),
        locks=(
            _exclusive(NOTE, Span(22, 16_305)),
            _lock(NOTE, "SHARE", "writes", Span(12_440, 16_305), object="public.ix_note_slug", kind="index"),
            _lock("public.tag", "SHARE ROW EXCLUSIVE", "writes", Span(15_910, 16_305)),
            _lock("public.author", "ROW SHARE", "schema changes", Span(22, 16_305)),
            _lock("public.price_new", "ACCESS EXCLUSIVE", "reads and writes", Span(30, 16_305), existed=False),
        ),
        blocking=(
            Blocking(NOTE, (held,), (Span(22, 16_305),), (Probe(NOTE, "reads", 12_431, 12_424),)),
            Blocking("public.tag", (), (Span(15_910, 16_305),)),
        ),
        rewrites=(
            Rewrite(NOTE, "table", NOTE, truncated=False, before=412 * MB, after=436 * MB),
            Rewrite("public.note_pkey", "index", NOTE, truncated=False, before=21 * MB, after=21 * MB),
        ),
        indexes=(Index("public.ix_note_slug", NOTE, unique=True, valid=True, concurrently=False, size=38 * MB),),
        validations=(
            Validation("public.tag", "fk_tag_note FOREIGN KEY (note_id) REFERENCES note(id)", 240_000),
            Validation(NOTE, "price NOT NULL", 0),
        ),
        wal=Wal(498 * MB, of_server=True),
        growth=(
            Growth(NOTE, "table", 412 * MB, 436 * MB),
            Growth("public.ix_note_slug", "index", None, 38 * MB),
            Growth("public.ix_old", "index", 12 * MB, None),
        ),
        rows=(Rows(NOTE, 1_000_000, 1_000_000, exact=True, columns_lost=("price_text",)),),
        undo=Undo(
            "differs",
            "a default is missing",
            "--- before\n+++ after the round trip\n@@ -1,3 +1,3 @@\n TABLE public.note\n"
            "-price numeric(10,2) NOT NULL DEFAULT 0\n+price numeric(10,2) NOT NULL\n",
            ("public.note.price: 1,000,000 values",),
        ),
    )


def _dangerous_third() -> Revision:
    spans = tuple(Span(16_330 + each * 2.4, 16_331.6 + each * 2.4) for each in range(100))
    return Revision(
        id="4d5e6f708192",
        down=("3c4d5e6f7081",),
        title="stars filled in batches",
        database=None,
        span=Span(16_320, 23_540),
        transactions=(3,),
        statements=(
            _statement("SELECT min(id), max(id) FROM note", 16_322, 16_328, 3, rows=1),
            _statement(
                "UPDATE note SET stars = %(stars)s WHERE id BETWEEN %(low)s AND %(high)s",
                16_330,
                23_530,
                3,
                took=6_900,
                longest=41,
                times=3_000,
                rows=1_000_000,
            ),
        ),
        locks=(_lock(NOTE, "ROW EXCLUSIVE", "schema changes", *spans),),
        wal=Wal(212 * MB, of_server=True),
        rows=(Rows("public.draft", 1_200, None, exact=True), Rows("public.log", 90_000, 61_000, exact=False)),
        undo=Undo("missing"),
    )


def dangerous() -> Report:
    """Three revisions over several tables, one of which must not be deployed like that."""
    revisions = (_add_column(), _dangerous_second(), _dangerous_third())
    blocking = (Blocking(NOTE, (Span(5, 11.4), Span(22, 12_446)), (Span(5, 11.4), Span(22, 16_305))),)
    return _report(
        *revisions,
        blocking=(*blocking, *revisions[1].blocking[1:]),
        verdict="unsafe",
        reasons=(
            "public.note is blocked for reads and writes for 12 s, longer than the limit of 1.0 s.",
            "public.note is rewritten: 412 MB, more than the limit of 100 MB.",
            "public.log loses 29,000 rows.",
        ),
        differences=(
            Difference("public.note.stars is NOT NULL", "models"),
            Difference("the index public.ix_note_slug", "database"),
        ),
        old_tests=OldTests("pytest -q tests", 1, 48_200, "E   UndefinedColumn: price_text\n1 failed, 212 passed"),
        advice=(
            Advice(
                "danger",
                "3c4d5e6f7081",
                "ALTER COLUMN price TYPE rewrote public.note while nobody could read it.",
                "Add a column of the new type, fill it in batches, and swap the two in a later revision.",
                "https://www.postgresql.org/docs/current/sql-altertable.html",
            ),
            Advice(
                "warning",
                "3c4d5e6f7081",
                "CREATE INDEX kept the writers of public.note waiting for 3.5 s.",
                "Create it CONCURRENTLY, in a revision with an autocommit block.",
                "https://www.postgresql.org/docs/current/sql-createindex.html",
            ),
            Advice(
                "note",
                None,
                "No lock_timeout is set.",
                "SET lock_timeout, and try again where it passes.",
                "https://www.postgresql.org/docs/current/runtime-config-client.html",
            ),
        ),
        warnings=("The revision 4d5e6f708192 has no downgrade.",),
    )


def failed() -> Report:
    """The second revision meets rows that its constraint refuses."""
    second = replace(
        _dangerous_second(),
        failed=True,
        undo=Undo("not tried"),
        rewrites=(),
        indexes=(),
        validations=(),
        growth=(),
        rows=(),
        wal=None,
    )
    return _report(
        _add_column(),
        second,
        verdict="failed",
        kept=True,
        blocking=second.blocking,
        failure=Failure(
            'UniqueViolation: could not create unique index "ix_note_slug"',
            second.id,
            "CREATE UNIQUE INDEX ix_note_slug ON note (slug)",
            ("2b3c4d5e6f70",),
        ),
    )


def never_begun() -> Report:
    """It ended before any revision ran."""
    error = "the branch 'rehearsal-3f9a' disappeared"
    return _report(verdict="failed", reasons=(error,), failure=Failure(error), not_shown=())


def sqlite() -> Report:
    """No locks are seen there; time, counts, drift and the round trip are."""
    revision = replace(
        _add_column(0),
        locks=(),
        blocking=(),
        wal=None,
        rows=(Rows("note", 12, 12, exact=True), Rows("tag", None, 0, exact=True)),
    )
    return _report(
        revision,
        backend="sqlite",
        server="SQLite 3.50.4",
        differences=(),
        not_shown=("Locks, rewrites and validations: SQLite has one lock for the whole file.",),
    )


def shared() -> Report:
    """One transaction ran three revisions, and a short one's lock is held until the end."""
    first = replace(_add_column(), transactions=(1,))
    whole = Span(5, 61_000)
    second, third = (
        Revision(
            id=name,
            down=(down,),
            title=title,
            database=None,
            span=span,
            transactions=(1,),
            statements=(_statement(f"VACUUM FULL {title}", span.began, span.ended, rows=1_000),),
            locks=(_lock(f"public.{title}", "ROW EXCLUSIVE", "schema changes", span),),
            undo=Undo("failed", "NotImplementedError"),
        )
        for name, down, title, span in (
            ("aa11", "2b3c4d5e6f70", "author", Span(13, 42_000)),
            ("bb22", "aa11", "tag", Span(42_000, 61_000)),
        )
    )
    return _report(
        first,
        second,
        third,
        transactions=(Transaction(1, Span(1, 61_000), (first.id, "aa11", "bb22"), committed=True, statements=4),),
        blocking=(Blocking(NOTE, (whole,), (whole,)),),
        shared_transaction=True,
        verdict="unsafe",
        reasons=("public.note is blocked for reads and writes for 1 min 1 s, longer than the limit of 1.0 s.",),
        advice=(
            Advice(
                "danger",
                None,
                "One transaction ran 3 revisions, and kept every lock until the last of them.",
                "Set transaction_per_migration=True in env.py.",
                "https://alembic.sqlalchemy.org/en/latest/api/runtime.html",
            ),
        ),
    )


def crowded() -> Report:
    """Twenty-five revisions on two databases, thirty tables, and 4,000 short locks on one of them."""
    comb = tuple(Span(10 + each * 20.0, 12 + each * 20.0 + each % 7) for each in range(4_000))
    revisions = tuple(
        Revision(
            id=f"{number:012x}",
            down=(f"{number - 1:012x}",),
            title=f"step {number}",
            database="archive" if number > 20 else None,
            span=Span(number * 3_200.0, number * 3_200.0 + (3_190 if number % 5 == 0 else 6)),
            transactions=(number + 1,),
            statements=tuple(
                _statement(
                    f"TRUNCATE table_{number}_{each}",
                    number * 3_200 + each * 4,
                    number * 3_200 + each * 4 + 3,
                )
                for each in range(700 if number == 5 else 2)
            ),
            blocking=(Blocking(f"public.table_{number}", (), (Span(number * 3_200, number * 3_200 + 2),)),),
            undo=Undo("same"),
        )
        for number in range(25)
    )
    tables = tuple(each.blocking[0] for each in revisions)
    return _report(*revisions, blocking=(Blocking(NOTE, comb[::10], comb), *tables))


def hostile() -> Report:
    """Every text that comes from others tries to be more than a text."""
    text = HOSTILE
    span = Span(0, 2_000)
    probe = Probe(text, "writes", 1_990, 2_000)
    blocking = Blocking(text, (span,), (span,), (probe,))
    revision = Revision(
        id=text,
        down=(text,),
        title=f"{text}\n\n- [x](javascript:alert(1))",
        database=text,
        span=span,
        transactions=(1,),
        statements=(_statement(f"{text}\n```\n</pre></details>", 0, 2_000, effects=(text,), own_connection=True),),
        locks=(_lock(text, "ACCESS EXCLUSIVE", "reads and writes", span, object=text, kind=text, sampled=True),),
        blocking=(blocking,),
        rewrites=(
            Rewrite(text, "table", text, truncated=False, before=5, after=6),
            Rewrite(f"{text}!", text, f"{text}?", truncated=False, before=5, after=6),
        ),
        indexes=(Index(text, text, unique=False, valid=False, concurrently=True, size=9),),
        validations=(Validation(text, text, 3),),
        growth=(Growth(text, text, 1, 2),),
        rows=(Rows(text, 3, 1, exact=True, columns_lost=(text,)),),
        undo=Undo("differs", text, f"-{text}\n+{text}\n```", (text,)),
    )
    return replace(
        _report(revision),
        application=text,
        server=text,
        parent=text,
        branch=text,
        current=(text,),
        target=(text,),
        verdict="failed",
        reasons=(text,),
        blocking=(blocking,),
        differences=(Difference(text, "models"),),
        old_tests=OldTests(text, 1, 1, f"{text}\n```\n</pre>"),
        advice=(Advice("danger", text, text, text, 'javascript:alert("1")'),),
        warnings=(text,),
        not_shown=(text,),
        failure=Failure(f"{text}\n```", text, f"{text}\n```", (text,)),
    )


def huge() -> Report:
    """More text than a comment can hold: 80 revisions of long statements."""
    revision = _dangerous_second()
    return _report(
        *(
            replace(
                revision,
                id=f"{number:012x}",
                title="wide " * 40,
                statements=tuple(
                    _statement("INSERT INTO note VALUES " + "(%(a)s), " * 1_500, 22, 30) for _each in range(3)
                ),
                undo=Undo("differs", "much", "+line\n" * 900),
            )
            for number in range(80)
        ),
        verdict="unsafe",
        reasons=tuple(f"public.table_{number} is blocked. {'Long. ' * 200}" for number in range(80)),
        warnings=tuple("w" * 900 for _each in range(90)),
        old_tests=OldTests("pytest", 1, 1, "o" * 90_000),
        failure=None,
    )


REPORTS = {
    each.__name__: each() for each in (safe, dangerous, failed, never_begun, sqlite, shared, crowded, hostile, huge)
}
