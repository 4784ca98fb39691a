"""Whole tables: made, renamed, dropped, emptied, copied, attached, described."""

from __future__ import annotations

from tests.rehearsal.corpus.case import Case, Source, Truth
from tests.rehearsal.corpus.effects import ALL, BIG, EXCLUSIVELY, FILES, KEY, REWRITTEN, STRICT, STRICTEST, TOAST

_STRICT = Source(
    "explicit-locking.html",
    "ACCESS EXCLUSIVE (AccessExclusiveLock) ... Acquired by the DROP TABLE, TRUNCATE, REINDEX, CLUSTER, VACUUM FULL,"
    " and REFRESH MATERIALIZED VIEW (without CONCURRENTLY) commands.",
)
_SHARED = Source(
    "explicit-locking.html",
    "SHARE UPDATE EXCLUSIVE (ShareUpdateExclusiveLock) ... Acquired by VACUUM (without FULL), ANALYZE, CREATE INDEX"
    " CONCURRENTLY, CREATE STATISTICS, COMMENT ON, REINDEX CONCURRENTLY, and certain ALTER INDEX and ALTER TABLE"
    " variants",
)
_ATTACHED = Source(
    "sql-altertable.html",
    "Attaching a partition acquires a SHARE UPDATE EXCLUSIVE lock on the parent table, in addition to the ACCESS"
    " EXCLUSIVE locks on the table being attached and on the default partition (if any).",
)
_PARENT = "CREATE TABLE whole (LIKE big) PARTITION BY RANGE (id)"
_ATTACH = 'op.execute("ALTER TABLE whole ATTACH PARTITION big FOR VALUES FROM (0) TO (1000000000)")'
_DETACH = 'op.execute("ALTER TABLE whole DETACH PARTITION big")'
_WHOLE = "public.whole"
_REST = "public.rest"
_NEW = """
op.create_table(
    "reply",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("big_id", sa.Integer),
    sa.ForeignKeyConstraint(["big_id"], ["big.id"]),
)
"""

CASES = (
    Case(
        "create a table that references another",
        _NEW,
        'op.drop_table("reply")',
        Truth(
            {BIG: "SHARE ROW EXCLUSIVE"}, glimpsed={KEY: "ACCESS SHARE"}, writes=ALL, rows={"public.reply": (None, 0)}
        ),
        (
            Source(
                "sql-createtable.html",
                "The addition of a foreign key constraint requires a SHARE ROW EXCLUSIVE lock on the referenced table.",
            ),
        ),
    ),
    Case(
        "drop a table that references another",
        'op.drop_table("reply")',
        _NEW,
        Truth(
            {"public.reply": "ACCESS EXCLUSIVE", "public.reply_pkey": "ACCESS EXCLUSIVE", BIG: "ACCESS EXCLUSIVE"},
            reads=frozenset({BIG, "public.reply"}),
            writes=frozenset({BIG, "public.reply"}),
            rows={"public.reply": (1, None)},
        ),
        (_STRICT,),
        setup=(
            "CREATE TABLE reply (id integer PRIMARY KEY, big_id integer REFERENCES big);"
            " INSERT INTO reply SELECT id, id FROM big WHERE id % 1000 = 0"
        ),
        remark="The table that was referenced is locked as well, and as strictly; DROP TABLE does not say so.",
    ),
    Case(
        "drop a table",
        'op.drop_table("big")',
        'op.create_table("big", sa.Column("id", sa.Integer, primary_key=True))',
        Truth(FILES, reads=ALL, writes=ALL, rows={BIG: (1000, None)}),
        (_STRICT,),
    ),
    Case(
        "rename a table",
        'op.rename_table("big", "large")',
        'op.rename_table("large", "big")',
        EXCLUSIVELY,
        (STRICTEST, Source("sql-altertable.html", "There is no effect on the stored data.")),
    ),
    Case(
        "truncate",
        'op.execute("TRUNCATE big")',
        "pass",
        Truth(
            FILES,
            reads=ALL,
            writes=ALL,
            rewrites=ALL,
            truncates=True,
            rows={BIG: (1000, 0)},
        ),
        (
            Source("sql-truncate.html", "TRUNCATE acquires an ACCESS EXCLUSIVE lock on each table it operates on"),
            Source("sql-truncate.html", "since it does not actually scan the tables it is faster"),
        ),
    ),
    Case(
        "cluster",
        'op.execute("CLUSTER big USING big_pkey")',
        "pass",
        REWRITTEN,
        (
            _STRICT,
            Source("sql-cluster.html", "When a table is being clustered, an ACCESS EXCLUSIVE lock is acquired on it."),
        ),
    ),
    Case(
        "vacuum full",
        """
        with op.get_context().autocommit_block():
            op.execute("VACUUM FULL big")
        """,
        "pass",
        REWRITTEN,
        (
            _STRICT,
            Source(
                "sql-vacuum.html",
                "VACUUM FULL rewrites the entire contents of the table into a new disk file with no extra space",
            ),
        ),
    ),
    Case(
        "vacuum",
        """
        with op.get_context().autocommit_block():
            op.execute("VACUUM big")
        """,
        "pass",
        Truth({BIG: "SHARE UPDATE EXCLUSIVE", KEY: "ROW EXCLUSIVE"}, glimpsed={TOAST: "SHARE UPDATE EXCLUSIVE"}),
        (
            _SHARED,
            Source(
                "sql-vacuum.html",
                "This form of the command can operate in parallel with normal reading and writing of the table, as an"
                " exclusive lock is not obtained.",
            ),
        ),
        setup="DELETE FROM big WHERE id % 2 = 0",
    ),
    Case(
        "set unlogged",
        'op.execute("ALTER TABLE big SET UNLOGGED")',
        'op.execute("ALTER TABLE big SET LOGGED")',
        REWRITTEN,
        (STRICTEST,),
        remark="That SET LOGGED and SET UNLOGGED copy the table is not said under either, nor in the notes.",
    ),
    Case(
        "set logged",
        'op.execute("ALTER TABLE big SET LOGGED")',
        'op.execute("ALTER TABLE big SET UNLOGGED")',
        REWRITTEN,
        (STRICTEST,),
        setup="ALTER TABLE big SET UNLOGGED",
    ),
    Case(
        "set the fillfactor",
        'op.execute("ALTER TABLE big SET (fillfactor = 80)")',
        'op.execute("ALTER TABLE big RESET (fillfactor)")',
        Truth({BIG: "SHARE UPDATE EXCLUSIVE", TOAST: "SHARE UPDATE EXCLUSIVE"}),
        (
            Source(
                "sql-altertable.html",
                "SHARE UPDATE EXCLUSIVE lock will be taken for fillfactor, toast and autovacuum storage parameters, as"
                " well as the planner parameter parallel_workers.",
            ),
            Source(
                "sql-altertable.html", "Note that the table contents will not be modified immediately by this command"
            ),
        ),
    ),
    Case(
        "attach a partition",
        _ATTACH,
        _DETACH,
        Truth(
            STRICT | {_WHOLE: "SHARE UPDATE EXCLUSIVE"},
            reads=ALL,
            writes=ALL,
            validates={BIG: True},
            rows={_WHOLE: (0, 1000)},
        ),
        (
            _ATTACHED,
            Source(
                "sql-altertable.html",
                "If the new partition is a regular table, a full table scan is performed to check that existing rows in"
                " the table do not violate the partition constraint.",
            ),
        ),
        setup=_PARENT,
    ),
    Case(
        "attach a partition with a matching check",
        _ATTACH,
        _DETACH,
        Truth(
            STRICT | {_WHOLE: "SHARE UPDATE EXCLUSIVE"},
            reads=ALL,
            writes=ALL,
            validates={BIG: False},
            rows={_WHOLE: (0, 1000)},
        ),
        (
            _ATTACHED,
            Source(
                "sql-altertable.html",
                "It is possible to avoid this scan by adding a valid CHECK constraint to the table that allows only"
                " rows satisfying the desired partition constraint before running this command.",
            ),
        ),
        setup=f"{_PARENT}; ALTER TABLE big ADD CHECK (id IS NOT NULL AND id >= 0 AND id < 1000000000)",
    ),
    Case(
        "attach a partition beside a default one",
        _ATTACH,
        _DETACH,
        Truth(
            STRICT | {_WHOLE: "SHARE UPDATE EXCLUSIVE", _REST: "ACCESS EXCLUSIVE"},
            reads=ALL | {_REST, _WHOLE},
            writes=ALL | {_REST, _WHOLE},
            validates={BIG: True, _REST: True},
            rows={_WHOLE: (100, 1100)},
        ),
        (
            _ATTACHED,
            Source(
                "sql-altertable.html",
                "The default partition can't contain any rows that would need to be moved to the new partition, and"
                " will be scanned to verify that none are present.",
            ),
        ),
        setup=(
            f"{_PARENT}; CREATE TABLE rest PARTITION OF whole DEFAULT;"  # noqa: S608  the corpus's own words
            " INSERT INTO rest SELECT -id, author_id, title, note, stars, asked_at FROM big WHERE id % 10 = 0"
        ),
        remark="Who reads or writes the partitioned table comes to the default partition too, and waits there.",
    ),
    Case(
        "refresh a materialized view",
        'op.execute("REFRESH MATERIALIZED VIEW best")',
        "pass",
        Truth(
            {"public.best": "ACCESS EXCLUSIVE", BIG: "ACCESS SHARE", KEY: "ACCESS SHARE"},
            reads=frozenset({"public.best"}),
            writes=frozenset({"public.best"}),
            rewrites=frozenset({"public.best"}),
        ),
        (_STRICT,),
        setup="CREATE MATERIALIZED VIEW best AS SELECT id, stars FROM big WHERE stars = 5",
    ),
    Case(
        "create a trigger",
        'op.execute("CREATE TRIGGER same BEFORE UPDATE ON big FOR EACH ROW EXECUTE FUNCTION'
        ' suppress_redundant_updates_trigger()")',
        'op.execute("DROP TRIGGER same ON big")',
        Truth({BIG: "SHARE ROW EXCLUSIVE"}, writes=ALL),
        (
            Source(
                "explicit-locking.html",
                "SHARE ROW EXCLUSIVE (ShareRowExclusiveLock) ... Acquired by CREATE TRIGGER and some forms of ALTER"
                " TABLE.",
            ),
        ),
    ),
    Case(
        "comment",
        """op.create_table_comment("big", "Many rows.")""",
        'op.drop_table_comment("big")',
        Truth({BIG: "SHARE UPDATE EXCLUSIVE"}),
        (
            Source("sql-comment.html", "A SHARE UPDATE EXCLUSIVE lock is acquired on the object to be commented."),
            _SHARED,
        ),
    ),
)
