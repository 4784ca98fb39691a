"""What a statement does, told from its words."""

from __future__ import annotations

import pytest

from flask_branches.isolation.statements import Effect, meaning


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("SELECT 1", Effect.READ),
        ("  (select count(*) from note)", Effect.READ),
        ("SELECT note.id FROM note WHERE note.id IN (1, 2) AND lower(text) = 'x;y'", Effect.READ),
        ("SELECT 'insert into' FROM note", Effect.READ),
        ("-- update\nSELECT 1", Effect.READ),
        ("WITH a AS (SELECT 1) SELECT * FROM a", Effect.READ),
        ("SELECT pg_catalog.version()", Effect.READ),
        ("EXPLAIN SELECT 1", Effect.READ),
        ("PRAGMA foreign_keys", Effect.READ),
        ("COPY note TO STDOUT", Effect.READ),
        ("SELECT $$; COMMIT$$", Effect.READ),
        ("EXPLAIN ANALYZE DELETE FROM note", Effect.WRITE),
        ("SELECT * FROM note FOR UPDATE", Effect.WRITE),
        ("SELECT * FROM note FOR KEY SHARE", Effect.WRITE),
        ("SELECT stock.share, merge FROM stock", Effect.READ),
        ("SELECT * INTO other FROM note", Effect.WRITE),
        ("WITH gone AS (DELETE FROM note RETURNING *) SELECT * FROM gone", Effect.WRITE),
        ("SELECT nextval('note_id_seq')", Effect.WRITE),
        ("SELECT store()", Effect.WRITE),
        ('SELECT "store"()', Effect.WRITE),
        ("SELECT public.lower('X')", Effect.WRITE),
        ("INSERT INTO note VALUES (1)", Effect.WRITE),
        ("SAVEPOINT a", Effect.WRITE),
        ("ROLLBACK TO SAVEPOINT a", Effect.WRITE),
        ("ROLLBACK WORK TO a", Effect.WRITE),
        ("COPY note FROM STDIN", Effect.WRITE),
        ("SELECT 1; DELETE FROM note", Effect.WRITE),
        ("", Effect.READ),
        ("CREATE TABLE a (id int)", Effect.SCHEMA),
        ("BEGIN IMMEDIATE", Effect.BEGIN),
        ("SELECT set_config('a.b', 'c', false)", Effect.WRITE),
        ("SELECT set_config('a.b', %s, %s)", Effect.FORBIDDEN),
        ("SET LOCAL a.b = 1", Effect.FORBIDDEN),
        ("INSERT INTO note VALUES (1); COMMIT", Effect.FORBIDDEN),
        (r"SELECT E'it\'s'", Effect.READ),
        (r"SELECT E'it\'s'; INSERT INTO note VALUES ('a')", Effect.WRITE),
        (r"SELECT * FROM note WHERE text LIKE '%' ESCAPE '\'", Effect.READ),
        ("SELECT 1 /* a /* nested */ ' */; INSERT INTO note VALUES (1) --'", Effect.WRITE),
        ("-- a comment\rINSERT INTO note VALUES (1)", Effect.WRITE),
        ("PRAGMA table_info(note)", Effect.READ),
        ("PRAGMA main.table_info(note)", Effect.READ),
        ("PRAGMA user_version(5)", Effect.WRITE),
        ("PRAGMA optimize", Effect.WRITE),
        ("PRAGMA user_version = 5", Effect.WRITE),
        ("COPY note (id, text) TO STDOUT", Effect.READ),
        ("COPY (SELECT lower(text) FROM note) TO STDOUT (FORMAT csv)", Effect.READ),
        ("COPY (SELECT store()) TO STDOUT", Effect.WRITE),
        ("WITH RECURSIVE tree(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM tree) SELECT * FROM tree", Effect.READ),
        ("WITH a(n) AS (SELECT 1), b (n, m) AS NOT MATERIALIZED (SELECT 1, 2) SELECT * FROM a, b", Effect.READ),
        ("WITH a(n) AS (SELECT store()) SELECT * FROM a", Effect.WRITE),
        ("SELECT * FROM note, store(1) AS (n int)", Effect.WRITE),
        ("SELECT * FROM unnest(ARRAY[1]) AS a(n)", Effect.READ),
        ("SELECT pg_advisory_lock(1)", Effect.FORBIDDEN),
        ("SELECT pg_try_advisory_lock_shared(1)", Effect.FORBIDDEN),
        ("SELECT pg_advisory_unlock_all()", Effect.FORBIDDEN),
        ("SELECT pg_advisory_xact_lock(1)", Effect.WRITE),
        ("CREATE TEMP TABLE a (id int) ON COMMIT DROP", Effect.FORBIDDEN),
        ("CREATE TEMP TABLE a (id int) ON COMMIT DELETE ROWS", Effect.FORBIDDEN),
        ("CREATE TEMP TABLE a (id int) ON COMMIT PRESERVE ROWS", Effect.SCHEMA),
        ("DO $tag$ BEGIN PERFORM 1; END $tag$", Effect.WRITE),
    ],
)
def test_the_effect_of_a_statement(text: str, effect: Effect) -> None:
    """What is not known to be harmless counts as a change; quotes and comments have no meaning."""
    assert meaning(text).effect is effect


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("SELECT bm25(note), highlight(note, 0, '[', ']') FROM note", Effect.READ),
        ("WITH a AS (SELECT store()) SELECT * FROM a", Effect.READ),
        ("WITH a AS (SELECT 1) INSERT INTO note SELECT * FROM a", Effect.WRITE),
        ("REPLACE INTO note VALUES (1)", Effect.WRITE),
    ],
)
def test_no_function_of_sqlite_s_changes_anything(text: str, effect: Effect) -> None:
    """Whatever it is called, an extension's or an application's own."""
    assert meaning(text, functions_write=False).effect is effect
