"""Rows written, and revisions that are more than one statement in one transaction."""

from __future__ import annotations

from tests.rehearsal.corpus.case import Case, Source, Truth
from tests.rehearsal.corpus.effects import ALL, BIG, STRICT, STRICTEST, WRITTEN

_MODIFIES = Source(
    "explicit-locking.html",
    "The commands UPDATE, DELETE, INSERT, and MERGE acquire this lock mode on the target table (in addition to ACCESS"
    " SHARE locks on any other referenced tables).",
)
_UNTIL_THE_END = Source(
    "explicit-locking.html", "Once acquired, a lock is normally held until the end of the transaction."
)

CASES = (
    Case(
        "backfill in batches",
        """
        connection = op.get_bind()
        last = connection.scalar(sa.text("SELECT max(id) FROM big"))
        for first in range(1, last + 1, 1000):
            connection.execute(
                sa.text("UPDATE big SET stars = stars + 1 WHERE id BETWEEN :first AND :last"),
                {"first": first, "last": first + 999},
            )
        """,
        """op.execute("UPDATE big SET stars = stars - 1")""",
        Truth(WRITTEN),
        (_MODIFIES,),
    ),
    Case(
        "update every row",
        """op.execute("UPDATE big SET stars = stars + 1")""",
        """op.execute("UPDATE big SET stars = stars - 1")""",
        Truth(WRITTEN),
        (_MODIFIES,),
    ),
    Case(
        "delete rows",
        """op.execute("DELETE FROM big WHERE id % 4 = 0")""",
        "pass",
        Truth(WRITTEN, rows={BIG: (1000, 750)}),
        (_MODIFIES,),
    ),
    Case(
        "insert rows",
        """
        op.execute("INSERT INTO big (id, author_id, title, stars, asked_at)"
                   " SELECT -id, author_id, title || '!', stars, asked_at FROM big WHERE id % 4 = 0")
        """,
        'op.execute("DELETE FROM big WHERE id < 0")',
        Truth(WRITTEN, rows={BIG: (1000, 1250)}),
        (_MODIFIES,),
    ),
    Case(
        "several statements in one execute",
        """
        op.execute("ALTER TABLE big ADD COLUMN extra integer; UPDATE big SET extra = 1 WHERE id % 4 = 0;"
                   " CREATE INDEX big_extra ON big (extra)")
        """,
        'op.drop_column("big", "extra")',
        Truth(
            WRITTEN | STRICT,
            reads=ALL,
            writes=ALL,
            builds={"public.big_extra": False},
        ),
        (STRICTEST, _MODIFIES, _UNTIL_THE_END),
    ),
    Case(
        "a lock that is held while rows are written",
        """
        op.add_column("big", sa.Column("extra", sa.Integer))
        op.execute("UPDATE big SET extra = 1 WHERE id % 4 = 0")
        """,
        'op.drop_column("big", "extra")',
        Truth(WRITTEN | STRICT, reads=ALL, writes=ALL),
        (STRICTEST, _UNTIL_THE_END),
    ),
    Case(
        "add a value to an enum",
        """op.execute("ALTER TYPE mood ADD VALUE 'bored'")""",
        "pass",
        Truth(),
        (
            Source(
                "sql-altertype.html",
                "If ALTER TYPE ... ADD VALUE (the form that adds a new value to an enum type) is executed inside a"
                " transaction block, the new value cannot be used until after the transaction has been committed.",
            ),
        ),
        setup="CREATE TYPE mood AS ENUM ('happy', 'sad'); ALTER TABLE big ADD COLUMN mood mood DEFAULT 'happy'",
    ),
    Case(
        "a revision that needs autocommit",
        """
        with op.get_context().autocommit_block():
            op.execute("ALTER TYPE mood ADD VALUE 'bored'")
            op.execute("UPDATE big SET mood = 'bored' WHERE id % 4 = 0")
            op.execute("ANALYZE big")
        """,
        "pass",
        Truth(WRITTEN | {BIG: "SHARE UPDATE EXCLUSIVE"}),
        (
            _MODIFIES,
            Source(
                "explicit-locking.html",
                "SHARE UPDATE EXCLUSIVE (ShareUpdateExclusiveLock) ... Acquired by VACUUM (without FULL), ANALYZE",
            ),
        ),
        setup="CREATE TYPE mood AS ENUM ('happy', 'sad'); ALTER TABLE big ADD COLUMN mood mood DEFAULT 'happy'",
    ),
    Case(
        "a revision that commits by itself",
        """
        op.add_column("big", sa.Column("extra", sa.Integer))
        op.execute("COMMIT")
        op.execute("UPDATE big SET extra = 1 WHERE id % 4 = 0")
        """,
        'op.drop_column("big", "extra")',
        Truth(WRITTEN | STRICT, reads=ALL, writes=ALL),
        (STRICTEST, _MODIFIES),
    ),
)
