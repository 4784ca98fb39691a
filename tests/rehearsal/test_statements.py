"""What a statement is, by its text."""

from __future__ import annotations

import pytest

from flask_branches.rehearsal.statements import Reader


@pytest.mark.parametrize(
    ("text", "of_schema"),
    [
        ("SELECT 1", False),
        ("  (SELECT 1) UNION SELECT 2", False),
        ("-- why\n/* and\n how */ UPDATE note SET a = 1", False),
        ("WITH a AS (SELECT 1) DELETE FROM note", False),
        ("INSERT INTO note VALUES (';')", False),
        ("UPDATE note SET a = 1; ALTER TABLE note ADD b INT", True),
        ("UPDATE note SET a = 1;\n", False),
        ("ALTER TABLE note ADD b INT", True),
        ("COMMIT", True),
        ("-- SELECT 1\nDROP TABLE note", True),
        ("/* line */\n" * 1_000 + "ALTER TABLE note ADD b INT", True),
        ("\n" * 100_000 + "ALTER TABLE note ADD b INT", True),
    ],
)
def test_what_may_change_more_than_rows_is_known(text: str, *, of_schema: bool) -> None:
    """By its first word, past comments, and by a second statement; in no time, however it begins."""
    assert Reader().read(text)[1] is of_schema


def test_repeats_differ_in_numbers_and_texts_alone() -> None:
    """Names are no numbers."""
    read = Reader().read

    assert read("UPDATE a1 SET b = 1 WHERE c = 'x''y'")[0] == read("UPDATE a1 SET b = 2.5 WHERE c = ''")[0]
    assert read("UPDATE a1 SET b = 1")[0] != read("UPDATE a2 SET b = 1")[0]
