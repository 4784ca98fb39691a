"""Reports as rehearsals might make them: one for each thing that a reader has to be told."""

from __future__ import annotations

from dataclasses import replace

from tests.rehearsal.shown.revisions import NOTE, add_column, fill, lock, made, retype, statement

from flask_branches.rehearsal.observed import (
    Blocking,
    Growth,
    Index,
    Probe,
    Rewrite,
    Rows,
    Span,
    Transaction,
    Undo,
    Validation,
)
from flask_branches.rehearsal.report import Advice, Difference, Failure, OldTests, Report, Revision

HOSTILE = 'a<script>alert(1)</script>|`b`** @all "#1\x1b[31m\u202e\x00\ud800'


def safe() -> Report:
    """One revision that nobody notices."""
    revision = add_column()
    return made(revision, blocking=revision.blocking, differences=())


def dangerous() -> Report:
    """Three revisions over several tables, one of which must not be deployed like that."""
    revisions = (add_column(), retype(), fill())
    blocking = (Blocking(NOTE, (Span(5, 11.4), Span(22, 12_446)), (Span(5, 11.4), Span(22, 16_305))),)
    return made(
        *revisions,
        blocking=(*blocking, *revisions[1].blocking[1:]),
        verdict="unsafe",
        reasons=(
            "public.note is blocked for reads and writes for 12 s, longer than the limit of 1.0 s.",
            "public.note is rewritten: 436 MB, more than the limit of 100 MB.",
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
        retype(),
        failed=True,
        undo=Undo("not tried"),
        rewrites=(),
        indexes=(),
        validations=(),
        growth=(),
        rows=(),
        wal=None,
    )
    return made(
        add_column(),
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
    return made(verdict="failed", reasons=(error,), failure=Failure(error), not_shown=())


def sqlite() -> Report:
    """No locks are seen there; time, counts, drift and the round trip are."""
    revision = replace(
        add_column(0),
        locks=(),
        blocking=(),
        wal=None,
        rows=(Rows("note", 12, 12, exact=True), Rows("tag", None, 0, exact=True)),
    )
    return made(
        revision,
        backend="sqlite",
        server="SQLite 3.50.4",
        differences=(),
        not_shown=("Locks, rewrites and validations: SQLite has one lock for the whole file.",),
    )


def shared() -> Report:
    """One transaction ran three revisions, and a short one's lock is held until the end."""
    first = replace(add_column(), transactions=(1,))
    whole = Span(5, 61_000)
    second, third = (
        Revision(
            id=name,
            down=(down,),
            title=title,
            database=None,
            span=span,
            transactions=(1,),
            statements=(statement(f"VACUUM FULL {title}", span.began, span.ended, rows=1_000),),
            locks=(lock(f"public.{title}", "ROW EXCLUSIVE", "schema changes", span),),
            undo=Undo("failed", "NotImplementedError"),
        )
        for name, down, title, span in (
            ("aa11", "2b3c4d5e6f70", "author", Span(13, 42_000)),
            ("bb22", "aa11", "tag", Span(42_000, 61_000)),
        )
    )
    return made(
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
                statement(
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
    return made(*revisions, blocking=(Blocking(NOTE, comb[::10], comb), *tables))


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
        statements=(statement(f"{text}\n```\n</pre></details>", 0, 2_000, effects=(text,), own_connection=True),),
        locks=(lock(text, "ACCESS EXCLUSIVE", "reads and writes", span, object=text, kind=text, sampled=True),),
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
        made(revision),
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
    revision = retype()
    return made(
        *(
            replace(
                revision,
                id=f"{number:012x}",
                title="wide " * 40,
                statements=tuple(
                    statement("INSERT INTO note VALUES " + "(%(a)s), " * 1_500, 22, 30) for _each in range(3)
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
