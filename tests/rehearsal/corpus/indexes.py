"""Indexes built, rebuilt, renamed and dropped."""

from __future__ import annotations

from tests.rehearsal.corpus.case import Case, Source, Truth
from tests.rehearsal.corpus.effects import ALL, BIG, KEY, TOAST

_STARS = "public.big_stars"
_INDEX = "CREATE INDEX big_stars ON big (stars)"
_CREATE = 'op.create_index("big_stars", "big", ["stars"])'
_DROP = 'op.drop_index("big_stars", "big")'
_SHARED = Source("explicit-locking.html", "SHARE (ShareLock) ... Acquired by CREATE INDEX (without CONCURRENTLY).")
_CONCURRENT = Source(
    "explicit-locking.html",
    "SHARE UPDATE EXCLUSIVE (ShareUpdateExclusiveLock) ... Acquired by VACUUM (without FULL), ANALYZE, CREATE INDEX"
    " CONCURRENTLY, CREATE STATISTICS, COMMENT ON, REINDEX CONCURRENTLY, and certain ALTER INDEX and ALTER TABLE"
    " variants",
)
_DROPPED = Source(
    "sql-dropindex.html",
    "A normal DROP INDEX acquires an ACCESS EXCLUSIVE lock on the table, blocking other accesses until the index drop"
    " can be completed.",
)

CASES = (
    Case(
        "index",
        _CREATE,
        _DROP,
        Truth({BIG: "SHARE"}, writes=ALL, builds={_STARS: False}),
        (
            _SHARED,
            Source(
                "sql-createindex.html",
                "a standard index build locks out writes (but not reads) on the table until it's done",
            ),
        ),
    ),
    Case(
        "unique index",
        'op.create_index("big_title", "big", ["title"], unique=True)',
        'op.drop_index("big_title", "big")',
        Truth({BIG: "SHARE"}, writes=ALL, builds={"public.big_title": False}),
        (_SHARED,),
    ),
    Case(
        "index, concurrently",
        """
        with op.get_context().autocommit_block():
            op.create_index("big_stars", "big", ["stars"], postgresql_concurrently=True)
        """,
        _DROP,
        Truth({BIG: "SHARE UPDATE EXCLUSIVE"}, builds={_STARS: True}),
        (
            _CONCURRENT,
            Source(
                "sql-createindex.html",
                "PostgreSQL will build the index without taking any locks that prevent concurrent inserts, updates, or"
                " deletes on the table",
            ),
        ),
    ),
    Case(
        "drop an index",
        _DROP,
        _CREATE,
        Truth({BIG: "ACCESS EXCLUSIVE", _STARS: "ACCESS EXCLUSIVE"}, reads=ALL, writes=ALL),
        (_DROPPED,),
        setup=_INDEX,
    ),
    Case(
        "drop an index, concurrently",
        """
        with op.get_context().autocommit_block():
            op.drop_index("big_stars", "big", postgresql_concurrently=True)
        """,
        _CREATE,
        Truth(glimpsed={BIG: "SHARE UPDATE EXCLUSIVE", _STARS: "ACCESS EXCLUSIVE"}),
        (
            Source(
                "sql-dropindex.html",
                "Drop the index without locking out concurrent selects, inserts, updates, and deletes on the index's"
                " table.",
            ),
        ),
        setup=_INDEX,
        remark="The index's ACCESS EXCLUSIVE lock comes when no plan can have it any more: nobody waits for it.",
    ),
    Case(
        "reindex an index",
        'op.execute("REINDEX INDEX big_stars")',
        "pass",
        Truth({BIG: "SHARE", _STARS: "ACCESS EXCLUSIVE"}, reads=ALL, writes=ALL, rewrites=frozenset({_STARS})),
        (
            Source(
                "sql-reindex.html",
                "REINDEX locks out writes but not reads of the index's parent table. It also takes an ACCESS EXCLUSIVE"
                " lock on the specific index being processed, which will block reads that attempt to use that index."
                " In particular, the query planner tries to take an ACCESS SHARE lock on every index of the table,"
                " regardless of the query, and so REINDEX blocks virtually any queries",
            ),
        ),
        setup=_INDEX,
        remark="Table 13.2's 'ACCESS EXCLUSIVE ... Acquired by ... REINDEX' is the index's lock, not the table's.",
    ),
    Case(
        "reindex a table, concurrently",
        """
        with op.get_context().autocommit_block():
            op.execute("REINDEX TABLE CONCURRENTLY big")
        """,
        "pass",
        Truth(
            {BIG: "SHARE UPDATE EXCLUSIVE", KEY: "SHARE UPDATE EXCLUSIVE"},
            glimpsed={TOAST: "SHARE UPDATE EXCLUSIVE", KEY: "ACCESS EXCLUSIVE"},
            builds={KEY: True},
        ),
        (
            _CONCURRENT,
            Source(
                "sql-reindex.html",
                "PostgreSQL will rebuild the index without taking any locks that prevent concurrent inserts, updates,"
                " or deletes on the table",
            ),
        ),
        remark="The new index takes the old one's name; the old one is locked strictly, and unseen, when it goes.",
    ),
    Case(
        "rename an index",
        'op.execute("ALTER INDEX big_pkey RENAME TO big_key")',
        'op.execute("ALTER INDEX big_key RENAME TO big_pkey")',
        Truth({KEY: "SHARE UPDATE EXCLUSIVE"}),
        (Source("sql-alterindex.html", "Renaming an index acquires a SHARE UPDATE EXCLUSIVE lock."),),
    ),
)
