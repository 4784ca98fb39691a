"""Columns added, changed and dropped."""

from __future__ import annotations

from tests.rehearsal.corpus.case import Case, Source, Truth
from tests.rehearsal.corpus.effects import ALL, BIG, EXCLUSIVELY, FILES, REWRITTEN, STRICT, STRICTEST

_UNWRITTEN = Source(
    "sql-altertable.html",
    "If no column constraints are specified, NULL is used as the DEFAULT. In neither case is a rewrite of the table"
    " required.",
)
_AT_ONCE = Source(
    "sql-altertable.html",
    "When a column is added with ADD COLUMN and a non-volatile DEFAULT is specified, the default value is evaluated"
    " at the time of the statement and the result stored in the table's metadata",
)
_VOLATILE = Source(
    "sql-altertable.html",
    "Adding a column with a volatile DEFAULT (e.g., clock_timestamp()), a stored generated column, an identity column,"
    " or a column with a domain data type that has constraints will cause the entire table and its indexes to be"
    " rewritten.",
)
_CHANGED = Source(
    "sql-altertable.html",
    "Changing the type of an existing column will normally cause the entire table and its indexes to be rewritten.",
)
_COERCIBLE = Source(
    "sql-altertable.html",
    "if the USING clause does not change the column contents and the old type is either binary coercible to the new"
    " type or an unconstrained domain over the new type, a table rewrite is not needed",
)
_REBUILT = Source(
    "sql-altertable.html",
    "However, indexes will still be rebuilt unless the system can verify that the new index would be logically"
    " equivalent to the existing one.",
)
_LONGER = Source(
    "https://www.postgresql.org/docs/9.2/release-9-2.html",
    "Increasing the length limit for a varchar or varbit column, or removing the limit altogether, no longer requires a"
    " table rewrite.",
)
_IN_UTC = Source(
    "https://www.postgresql.org/docs/12/release-12.html",
    "Allow ALTER TABLE ... SET DATA TYPE changing between timestamp and timestamptz to avoid a table rewrite when the"
    " session time zone is UTC",
)

CASES = (
    Case(
        "add a column without a default",
        'op.add_column("big", sa.Column("extra", sa.Integer))',
        'op.drop_column("big", "extra")',
        EXCLUSIVELY,
        (STRICTEST, _UNWRITTEN),
    ),
    Case(
        "add a column with a constant default",
        'op.add_column("big", sa.Column("extra", sa.Integer, server_default="7"))',
        'op.drop_column("big", "extra")',
        EXCLUSIVELY,
        (STRICTEST, _AT_ONCE, _UNWRITTEN),
    ),
    Case(
        "add a column with a constant default, not null",
        'op.add_column("big", sa.Column("extra", sa.Integer, nullable=False, server_default="7"))',
        'op.drop_column("big", "extra")',
        EXCLUSIVELY,
        (STRICTEST, _AT_ONCE),
        remark=(
            "'Adding a CHECK or NOT NULL constraint requires scanning the table', its documentation says of all"
            " constraints; with the column itself and its constant no row is read."
        ),
    ),
    Case(
        "add a column with now() as its default",
        'op.add_column("big", sa.Column("extra", sa.DateTime(timezone=True), server_default=sa.text("now()")))',
        'op.drop_column("big", "extra")',
        EXCLUSIVELY,
        (STRICTEST, _AT_ONCE),
        remark="now() is stable, not volatile: whoever counts it among those that rewrite is wrong.",
    ),
    Case(
        "add a column with a volatile default",
        'op.add_column("big", sa.Column("extra", sa.DateTime, server_default=sa.text("clock_timestamp()")))',
        'op.drop_column("big", "extra")',
        REWRITTEN,
        (STRICTEST, _VOLATILE),
    ),
    Case(
        "add an identity column",
        'op.add_column("big", sa.Column("extra", sa.Integer, sa.Identity()))',
        'op.drop_column("big", "extra")',
        REWRITTEN,
        (STRICTEST, _VOLATILE),
    ),
    Case(
        "add a stored generated column",
        'op.add_column("big", sa.Column("extra", sa.Integer, sa.Computed("stars * 2", persisted=True)))',
        'op.drop_column("big", "extra")',
        REWRITTEN,
        (STRICTEST, _VOLATILE),
    ),
    Case(
        "add a virtual generated column",
        'op.add_column("big", sa.Column("extra", sa.Integer, sa.Computed("stars * 2", persisted=False)))',
        'op.drop_column("big", "extra")',
        EXCLUSIVELY,
        (STRICTEST, Source("sql-altertable.html", "Adding a virtual generated column never requires a rewrite.")),
        since=18,
    ),
    Case(
        "widen a varchar",
        'op.alter_column("big", "title", type_=sa.String(100))',
        'op.alter_column("big", "title", type_=sa.String(50))',
        EXCLUSIVELY,
        (STRICTEST, _LONGER),
    ),
    Case(
        "widen a varchar, indexed",
        'op.alter_column("big", "title", type_=sa.String(100))',
        'op.alter_column("big", "title", type_=sa.String(50))',
        Truth(STRICT | {"public.big_title": "ACCESS EXCLUSIVE"}, reads=ALL, writes=ALL),
        (STRICTEST, _LONGER, _REBUILT),
        setup="CREATE INDEX big_title ON big (title)",
        remark="The index is another object afterwards, with the old one's file: nothing was built.",
    ),
    Case(
        "narrow a varchar",
        'op.alter_column("big", "title", type_=sa.String(40))',
        'op.alter_column("big", "title", type_=sa.String(50))',
        REWRITTEN,
        (STRICTEST, _CHANGED),
    ),
    Case(
        "varchar to text",
        'op.alter_column("big", "title", type_=sa.Text)',
        'op.alter_column("big", "title", type_=sa.String(50))',
        EXCLUSIVELY,
        (STRICTEST, _COERCIBLE, _LONGER),
    ),
    Case(
        "integer to bigint",
        'op.alter_column("big", "stars", type_=sa.BigInteger)',
        'op.alter_column("big", "stars", type_=sa.Integer)',
        REWRITTEN,
        (STRICTEST, _CHANGED),
    ),
    Case(
        "integer to bigint, indexed",
        'op.alter_column("big", "stars", type_=sa.BigInteger)',
        'op.alter_column("big", "stars", type_=sa.Integer)',
        Truth(
            FILES | {"public.big_stars": "ACCESS EXCLUSIVE"},
            reads=ALL,
            writes=ALL,
            rewrites=ALL,
            builds={"public.big_stars": False},
        ),
        (STRICTEST, _CHANGED),
        setup="CREATE INDEX big_stars ON big (stars)",
        remark="An index on the column itself is made again, under its old name.",
    ),
    Case(
        "change a type with USING",
        """op.alter_column("big", "stars", type_=sa.Text, postgresql_using="repeat('*', stars)")""",
        'op.alter_column("big", "stars", type_=sa.Integer, postgresql_using="length(stars)")',
        REWRITTEN,
        (STRICTEST, _CHANGED),
    ),
    Case(
        "timestamp to timestamptz in UTC",
        """
        op.execute("SET LOCAL TimeZone = 'UTC'")
        op.alter_column("big", "asked_at", type_=sa.DateTime(timezone=True))
        """,
        """
        op.execute("SET LOCAL TimeZone = 'UTC'")
        op.alter_column("big", "asked_at", type_=sa.DateTime)
        """,
        EXCLUSIVELY,
        (STRICTEST, _IN_UTC),
    ),
    Case(
        "timestamp to timestamptz in UTC, indexed",
        """
        op.execute("SET LOCAL TimeZone = 'UTC'")
        op.alter_column("big", "asked_at", type_=sa.DateTime(timezone=True))
        """,
        """
        op.execute("SET LOCAL TimeZone = 'UTC'")
        op.alter_column("big", "asked_at", type_=sa.DateTime)
        """,
        Truth(
            STRICT | {"public.big_asked_at": "ACCESS EXCLUSIVE"},
            reads=ALL,
            writes=ALL,
            builds={"public.big_asked_at": False},
        ),
        (STRICTEST, _IN_UTC, _REBUILT),
        setup="CREATE INDEX big_asked_at ON big (asked_at)",
    ),
    Case(
        "timestamp to timestamptz elsewhere",
        """
        op.execute("SET LOCAL TimeZone = 'Europe/Vienna'")
        op.alter_column("big", "asked_at", type_=sa.DateTime(timezone=True))
        """,
        """
        op.execute("SET LOCAL TimeZone = 'Europe/Vienna'")
        op.alter_column("big", "asked_at", type_=sa.DateTime)
        """,
        REWRITTEN,
        (STRICTEST, _CHANGED, _IN_UTC),
    ),
    Case(
        "set a default",
        'op.alter_column("big", "stars", server_default="3")',
        'op.alter_column("big", "stars", server_default=None)',
        EXCLUSIVELY,
        (STRICTEST, Source("sql-altertable.html", "it does not cause rows already in the table to change")),
    ),
    Case(
        "set statistics",
        'op.execute("ALTER TABLE big ALTER stars SET STATISTICS 500")',
        'op.execute("ALTER TABLE big ALTER stars SET STATISTICS -1")',
        Truth({BIG: "SHARE UPDATE EXCLUSIVE"}),
        (Source("sql-altertable.html", "SET STATISTICS acquires a SHARE UPDATE EXCLUSIVE lock."),),
    ),
    Case(
        "drop a column",
        'op.drop_column("big", "stars")',
        'op.add_column("big", sa.Column("stars", sa.Integer))',
        EXCLUSIVELY,
        (
            STRICTEST,
            Source(
                "sql-altertable.html",
                "The DROP COLUMN form does not physically remove the column, but simply makes it invisible to SQL"
                " operations.",
            ),
        ),
    ),
    Case(
        "rename a column",
        'op.alter_column("big", "stars", new_column_name="rating")',
        'op.alter_column("big", "rating", new_column_name="stars")',
        EXCLUSIVELY,
        (STRICTEST, Source("sql-altertable.html", "There is no effect on the stored data.")),
    ),
)
