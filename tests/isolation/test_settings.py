"""Statements that may set what is set already."""

from __future__ import annotations

import pytest

from flask_branches.isolation.settings import already_so, question_of


@pytest.mark.parametrize(
    ("text", "present", "is_so"),
    [
        ("PRAGMA foreign_keys=ON", 1, True),
        ("pragma main.foreign_keys = 'yes';", 1, True),
        ("PRAGMA foreign_keys(1)", 1, True),
        ("PRAGMA foreign_keys = ON", 0, False),
        ("PRAGMA journal_mode = WAL", "wal", True),
        ("PRAGMA synchronous = NORMAL", 1, True),
        ("PRAGMA synchronous = FULL", 1, False),
        ("PRAGMA cache_size = -2000", -2000, True),
        ("PRAGMA foreign_keys", 1, False),
        ("PRAGMA incremental_vacuum(1)", 1, False),
        ("PRAGMA foreign_keys = 1; DELETE FROM note", 1, False),
        ("SELECT 1", 1, False),
    ],
)
def test_a_pragma_is_compared_with_the_present_value(text: str, present: object, is_so: bool) -> None:
    """In SQLite's words and numbers; asked is only what does nothing else."""
    asked: list[str] = []

    def ask(question: str) -> object:
        asked.append(question)
        return present

    assert (already_so(text, ask) is not None) is is_so
    assert all("=" not in question and "(" not in question for question in asked)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SET TIME ZONE 'UTC'", "timezone"),
        ("SET search_path TO a, b", "search_path"),
        ("set session app.tenant = '1';", "app.tenant"),
        ("SET SESSION AUTHORIZATION DEFAULT", "session_authorization"),
        ("SET ROLE reader", "role"),
        ("SET CONSTRAINTS ALL DEFERRED", None),
        ("SET a = 1; DELETE FROM note", None),
        ("INSERT INTO note VALUES (1)", None),
    ],
)
def test_a_setting_of_postgres_is_asked_for_by_its_name(text: str, name: str | None) -> None:
    """However it is set; a statement that does more is no setting."""
    assert question_of(text) == (name and f"SELECT current_setting('{name}', true)")
