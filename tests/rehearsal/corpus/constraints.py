"""Constraints added, validated and dropped."""

from __future__ import annotations

from tests.rehearsal.corpus.case import Case, Source, Truth
from tests.rehearsal.corpus.effects import ALL, AUTHOR, AUTHOR_KEY, BIG, EXCLUSIVELY, KEY, STRICT, STRICTEST

BOTH = frozenset({BIG, AUTHOR})

_SCANNED = Source(
    "sql-altertable.html",
    "Adding a CHECK or NOT NULL constraint requires scanning the table to verify that existing rows meet the"
    " constraint, but does not require a table rewrite.",
)
_NOT_SCANNED = Source(
    "sql-altertable.html",
    "With NOT VALID, the ADD CONSTRAINT command does not scan the table and can be committed immediately.",
)
_PROVEN = Source(
    "sql-altertable.html",
    "if a valid CHECK constraint exists (and is not dropped in the same command) which proves no NULL can exist, then"
    " the table scan is skipped",
)
_FOREIGN = Source(
    "sql-altertable.html",
    "Although most forms of ADD table_constraint require an ACCESS EXCLUSIVE lock, ADD FOREIGN KEY requires only a"
    " SHARE ROW EXCLUSIVE lock. Note that ADD FOREIGN KEY also acquires a SHARE ROW EXCLUSIVE lock on the referenced"
    " table, in addition to the lock on the table on which the constraint is declared.",
)
_VALIDATED = Source(
    "sql-altertable.html",
    "validation acquires only a SHARE UPDATE EXCLUSIVE lock on the table being altered. (If the constraint is a foreign"
    " key then a ROW SHARE lock is also required on the table referenced by the constraint.)",
)
_ADDED = Source(
    "sql-altertable.html",
    "Normally, this form will cause a scan of the table to verify that all existing rows in the table satisfy the new"
    " constraint.",
)
_INDEXED = Source(
    "ddl-constraints.html",
    "Adding a unique constraint will automatically create a unique B-tree index on the column or group of columns"
    " listed in the constraint.",
)
_KEYED = Source(
    "ddl-constraints.html",
    "Adding a primary key will automatically create a unique B-tree index on the column or group of columns listed in"
    " the primary key, and will force the column(s) to be marked NOT NULL.",
)
_DROP_STARS = 'op.drop_constraint("big_stars", "big")'

CASES = (
    Case(
        "set not null",
        'op.alter_column("big", "stars", nullable=False)',
        'op.alter_column("big", "stars", nullable=True)',
        Truth(STRICT, reads=ALL, writes=ALL, validates={BIG: True}),
        (STRICTEST, _SCANNED),
    ),
    Case(
        "set not null with a valid check",
        'op.alter_column("big", "stars", nullable=False)',
        'op.alter_column("big", "stars", nullable=True)',
        Truth(STRICT, reads=ALL, writes=ALL, validates={BIG: False}),
        (STRICTEST, _PROVEN),
        setup="ALTER TABLE big ADD CONSTRAINT there CHECK (stars IS NOT NULL)",
    ),
    Case(
        "not null, not valid",
        'op.execute("ALTER TABLE big ADD CONSTRAINT big_stars NOT NULL stars NOT VALID")',
        _DROP_STARS,
        EXCLUSIVELY,
        (STRICTEST, _NOT_SCANNED),
        since=18,
    ),
    Case(
        "validate a not null",
        'op.execute("ALTER TABLE big VALIDATE CONSTRAINT big_stars")',
        "pass",
        Truth({BIG: "SHARE UPDATE EXCLUSIVE"}, validates={BIG: True}),
        (_VALIDATED,),
        setup="ALTER TABLE big ADD CONSTRAINT big_stars NOT NULL stars NOT VALID",
        since=18,
    ),
    Case(
        "drop not null",
        'op.alter_column("big", "title", nullable=True)',
        'op.alter_column("big", "title", nullable=False)',
        EXCLUSIVELY,
        (STRICTEST,),
    ),
    Case(
        "check",
        'op.create_check_constraint("big_stars", "big", "stars > 0")',
        _DROP_STARS,
        Truth(STRICT, reads=ALL, writes=ALL, validates={BIG: True}),
        (STRICTEST, _SCANNED),
    ),
    Case(
        "check, not valid",
        'op.create_check_constraint("big_stars", "big", "stars > 0", postgresql_not_valid=True)',
        _DROP_STARS,
        EXCLUSIVELY,
        (STRICTEST, _NOT_SCANNED),
    ),
    Case(
        "validate a check",
        'op.execute("ALTER TABLE big VALIDATE CONSTRAINT big_stars")',
        "pass",
        Truth({BIG: "SHARE UPDATE EXCLUSIVE"}, validates={BIG: True}),
        (_VALIDATED,),
        setup="ALTER TABLE big ADD CONSTRAINT big_stars CHECK (stars > 0) NOT VALID",
    ),
    Case(
        "foreign key",
        'op.create_foreign_key("big_author", "big", "author", ["author_id"], ["id"])',
        'op.drop_constraint("big_author", "big")',
        Truth(
            {
                BIG: "SHARE ROW EXCLUSIVE",
                KEY: "ACCESS SHARE",
                AUTHOR: "SHARE ROW EXCLUSIVE",
                AUTHOR_KEY: "ACCESS SHARE",
            },
            writes=BOTH,
            validates={BIG: True},
        ),
        (_FOREIGN, _ADDED),
    ),
    Case(
        "foreign key, not valid",
        'op.create_foreign_key("big_author", "big", "author", ["author_id"], ["id"], postgresql_not_valid=True)',
        'op.drop_constraint("big_author", "big")',
        Truth(
            {BIG: "SHARE ROW EXCLUSIVE", AUTHOR: "SHARE ROW EXCLUSIVE"},
            glimpsed={AUTHOR_KEY: "ACCESS SHARE"},
            writes=BOTH,
        ),
        (_FOREIGN, _NOT_SCANNED),
    ),
    Case(
        "validate a foreign key",
        'op.execute("ALTER TABLE big VALIDATE CONSTRAINT big_author")',
        "pass",
        Truth(
            {BIG: "SHARE UPDATE EXCLUSIVE", KEY: "ACCESS SHARE", AUTHOR: "ROW SHARE", AUTHOR_KEY: "ACCESS SHARE"},
            validates={BIG: True},
        ),
        (_VALIDATED,),
        setup="ALTER TABLE big ADD CONSTRAINT big_author FOREIGN KEY (author_id) REFERENCES author NOT VALID",
    ),
    Case(
        "drop a foreign key",
        'op.drop_constraint("big_author", "big")',
        'op.create_foreign_key("big_author", "big", "author", ["author_id"], ["id"], postgresql_not_valid=True)',
        Truth({BIG: "ACCESS EXCLUSIVE", AUTHOR: "ACCESS EXCLUSIVE"}, reads=BOTH, writes=BOTH),
        (STRICTEST,),
        setup="ALTER TABLE big ADD CONSTRAINT big_author FOREIGN KEY (author_id) REFERENCES author NOT VALID",
        remark="The table that was referenced is locked as well, and as strictly; DROP CONSTRAINT does not say so.",
    ),
    Case(
        "drop a check",
        'op.drop_constraint("big_stars", "big")',
        'op.create_check_constraint("big_stars", "big", "stars > 0", postgresql_not_valid=True)',
        EXCLUSIVELY,
        (STRICTEST,),
        setup="ALTER TABLE big ADD CONSTRAINT big_stars CHECK (stars > 0) NOT VALID",
    ),
    Case(
        "unique",
        'op.create_unique_constraint("big_title", "big", ["title"])',
        'op.drop_constraint("big_title", "big")',
        Truth(STRICT, reads=ALL, writes=ALL, builds={"public.big_title": False}),
        (STRICTEST, _INDEXED),
    ),
    Case(
        "unique, using an index",
        'op.execute("ALTER TABLE big ADD CONSTRAINT big_title UNIQUE USING INDEX ready")',
        """
        op.drop_constraint("big_title", "big")
        op.create_index("ready", "big", ["title"], unique=True)
        """,
        Truth(STRICT | {"public.ready": "SHARE UPDATE EXCLUSIVE"}, reads=ALL, writes=ALL),
        (
            STRICTEST,
            Source("sql-altertable.html", "In all other cases, this is a fast operation."),
            Source("sql-alterindex.html", "Renaming an index acquires a SHARE UPDATE EXCLUSIVE lock."),
        ),
        setup="CREATE UNIQUE INDEX ready ON big (title)",
    ),
    Case(
        "primary key",
        'op.create_primary_key("big_pkey", "big", ["id"])',
        'op.drop_constraint("big_pkey", "big")',
        Truth(STRICT, reads=ALL, writes=ALL, builds={KEY: False}),
        (STRICTEST, _KEYED),
        setup="ALTER TABLE big DROP CONSTRAINT big_pkey",
    ),
    Case(
        "primary key of a column that may be null",
        'op.create_primary_key("big_pkey", "big", ["id"])',
        """
        op.drop_constraint("big_pkey", "big")
        op.alter_column("big", "id", nullable=True)
        """,
        Truth(STRICT, reads=ALL, writes=ALL, builds={KEY: False}, validates={BIG: True}),
        (STRICTEST, _KEYED, _SCANNED),
        setup="ALTER TABLE big DROP CONSTRAINT big_pkey; ALTER TABLE big ALTER id DROP NOT NULL",
    ),
)
