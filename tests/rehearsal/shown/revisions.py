"""Revisions as rehearsals might see them, out of which the reports of these tests are made."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_branches.rehearsal.observed import (
    Blocking,
    Growth,
    Index,
    Lock,
    Probe,
    Rewrite,
    Rows,
    Span,
    Statement,
    Transaction,
    Undo,
    Validation,
    Wal,
)
from flask_branches.rehearsal.report import Limits, Report, Revision

MB = 2**20
NOTE = "public.note"


def statement(text: str, began: float, ended: float, transaction: int | None = 1, **others: object) -> Statement:
    took = ended - began
    known: dict[str, object] = {"took": took, "longest": took, "times": 1, "rows": None, **others}
    return Statement(text=text, began=began, ended=ended, transaction=transaction, **known)  # type: ignore[arg-type] # whatever a test says


def lock(table: str, mode: str, blocks: str, *spans: Span, **others: object) -> Lock:
    known: dict[str, object] = {"kind": "table", "object": table, "existed": True, "sampled": False, **others}
    held = sum(each.length for each in spans)
    return Lock(table=table, mode=mode, blocks=blocks, spans=spans, held=held, **known)  # type: ignore[arg-type] # whatever a test says


def exclusive(table: str, *spans: Span) -> Lock:
    return lock(table, "ACCESS EXCLUSIVE", "reads and writes", *spans)


def made(*revisions: Revision, **others: object) -> Report:
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


def add_column(began: float = 4) -> Revision:
    held = Span(began + 1, began + 7.4)
    return Revision(
        id="2b3c4d5e6f70",
        down=("1a2b3c4d5e6f",),
        title="stars of a note.",
        database=None,
        span=Span(began, began + 9),
        transactions=(1,),
        statements=(
            statement("ALTER TABLE note ADD COLUMN stars INTEGER", began + 1, began + 4),
            statement("UPDATE alembic_version SET version_num=%(v)s", began + 6, began + 6.4, rows=1),
        ),
        locks=(exclusive(NOTE, held),),
        blocking=(Blocking(NOTE, (held,), (held,)),),
        wal=Wal(8_192, of_server=False),
        undo=Undo("same"),
    )


def _retyping(sent: Span, indexes: Span, tag: Span) -> tuple[Statement, ...]:
    return (
        statement(
            "ALTER TABLE note ALTER COLUMN price TYPE NUMERIC(12, 2)",
            sent.began,
            sent.ended,
            2,
            effects=("rewrites public.note",),
        ),
        statement("CREATE UNIQUE INDEX ix_note_slug ON note (slug)", indexes.began, indexes.ended, 2),
        statement(
            "ALTER TABLE tag ADD CONSTRAINT fk_tag_note FOREIGN KEY(note_id) REFERENCES note (id)",
            tag.began,
            tag.ended,
            2,
            effects=("reads 240,000 rows of public.tag",),
        ),
    )


def retype() -> Revision:
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
        statements=_retyping(sent, indexes, tag),
        locks=(
            exclusive(NOTE, Span(22, 16_305)),
            lock(NOTE, "SHARE", "writes", Span(12_440, 16_305), object="public.ix_note_slug", kind="index"),
            lock("public.tag", "SHARE ROW EXCLUSIVE", "writes", Span(15_910, 16_305)),
            lock("public.author", "ROW SHARE", "schema changes", Span(22, 16_305)),
            lock("public.price_new", "ACCESS EXCLUSIVE", "reads and writes", Span(30, 16_305), existed=False),
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


def fill() -> Revision:
    spans = tuple(Span(16_330 + each * 2.4, 16_331.6 + each * 2.4) for each in range(100))
    return Revision(
        id="4d5e6f708192",
        down=("3c4d5e6f7081",),
        title="stars filled in batches",
        database=None,
        span=Span(16_320, 23_540),
        transactions=(3,),
        statements=(
            statement("SELECT min(id), max(id) FROM note", 16_322, 16_328, 3, rows=1),
            statement(
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
        locks=(lock(NOTE, "ROW EXCLUSIVE", "schema changes", *spans),),
        wal=Wal(212 * MB, of_server=True),
        rows=(Rows("public.draft", 1_200, None, exact=True), Rows("public.log", 90_000, 61_000, exact=False)),
        undo=Undo("missing"),
    )
