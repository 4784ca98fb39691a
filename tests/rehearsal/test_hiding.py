"""Secrets in the statements of a migration, and data in what a database says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.rehearsal.shown.reports import safe

from flask_branches.redaction import Redaction
from flask_branches.rehearsal.hiding import reason, redacted, statement
from flask_branches.rehearsal.observed import Undo, Validation
from flask_branches.rehearsal.report import Difference, Failure, OldTests


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CREATE ROLE a LOGIN PASSWORD 'ge''heim'", "CREATE ROLE a LOGIN PASSWORD '***'"),
        ("ALTER ROLE a\n  encrypted password\n E'ge\\'heim' VALID", "ALTER ROLE a\n  encrypted password\n '***' VALID"),
        ("CREATE ROLE a PASSWORD $x$ge$heim$x$;", "CREATE ROLE a PASSWORD '***';"),
        ("CREATE ROLE a PASSWORD /* of a */ 'geheim'", "CREATE ROLE a PASSWORD /* of a */ '***'"),
        ("CREATE USER MAPPING … OPTIONS (password 'geheim')", "CREATE USER MAPPING … OPTIONS (password '***')"),
        ("UPDATE u SET \"password\" = 'geheim'", "UPDATE u SET \"password\" = '***'"),
        ("SELECT dblink('host=h password=geheim port=1')", "SELECT dblink('host=h password=*** port=1')"),
        ("SELECT dblink('password = ''ge heim'' port=1')", "SELECT dblink('password = ''***'' port=1')"),
        ("SELECT 'ALTER ROLE a PASSWORD ''geheim'''", "SELECT 'ALTER ROLE a PASSWORD ''***'''"),
        ("ALTER ROLE a PASSWORD ''; SELECT 'b', 'c'", "ALTER ROLE a PASSWORD '***'; SELECT 'b', 'c'"),
        ("CREATE USER MAPPING … OPTIONS (sslpassword 'geheim')", "CREATE USER MAPPING … OPTIONS (sslpassword '***')"),
        ("SELECT dblink('host=h sslpassword=geheim port=1')", "SELECT dblink('host=h sslpassword=*** port=1')"),
        ("COPY a FROM PROGRAM 'PGPASSWORD=geheim psql'", "COPY a FROM PROGRAM 'PGPASSWORD=*** psql'"),
        ("SELECT 'postgresql://me:geheim@h/d'", "SELECT 'postgresql://me:***@h/d'"),
    ],
)
def test_a_password_is_hidden(text: str, shown: str) -> None:
    """However it is written; the rest is as it was."""
    assert statement(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE u ADD COLUMN password TEXT NOT NULL DEFAULT ''",
        "UPDATE u SET password = md5(email) WHERE name = 'x'",
        "ALTER ROLE a PASSWORD NULL",
        "SELECT 'https://host/a@b', 'it''s' -- the password's",
    ],
)
def test_what_is_no_password_is_shown(text: str) -> None:
    """A column of that name, an expression, a URL without one."""
    assert statement(text) == text


class _Refused(Exception):
    def __init__(self, text: str, sqlstate: str | None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "text", "said"),
    [
        (
            "22P02",
            'invalid input syntax for type integer: "geheim"',
            "_Refused (SQLSTATE 22P02), whose text may hold data: run the statement by hand to see it",
        ),
        (
            "22001",
            "value too long for type character varying(5)",
            "_Refused: value too long for type character varying(5)",
        ),
        ("22012", "division by zero", "_Refused: division by zero"),
        ("42P01", 'relation "a" does not exist\nLINE 1', '_Refused: relation "a" does not exist'),
        ("23505", 'duplicate key "u"\nDETAIL:  Key (a)=(geheim)', '_Refused: duplicate key "u"'),
        (None, "no such table: a", "_Refused: no such table: a"),
    ],
)
def test_data_that_was_no_good_is_not_told(state: str | None, text: str, said: str) -> None:
    """What went wrong is, with the code that Postgres has for it."""
    assert reason(sa.exc.DBAPIError("SELECT", {}, _Refused(text, state))) == said


def test_what_others_raise_is_told_in_a_line() -> None:
    """With its kind."""
    assert reason(ValueError("odd\nand more")) == "ValueError: odd"
    assert reason(ValueError()) == "ValueError"
    assert reason(ValueError("no postgresql://me:geheim@h/d")) == "ValueError: no postgresql://me:***@h/d"


def test_what_others_have_written_in_a_report_has_no_password() -> None:
    """Neither the branch's own, wherever it is said, nor that of another URL; names are as they are."""
    text = "open-sesame at redis://:geheim@h"
    report = replace(
        safe(), application="open-sesame", not_shown=(text,), warnings=(text,), failure=Failure(text, statement=text)
    )
    checked = Validation("note", f"CHECK (a <> '{text}')", 1)
    report = replace(report, revisions=(replace(report.revisions[0], title=text, validations=(checked,)),))

    found = redacted(report, Redaction([sa.make_url("postgresql://me:open-sesame@h/d")]))

    said = str(found.as_dict())
    assert "geheim" not in said
    assert said.count("*** at redis://:***@h") == str(report.as_dict()).count(text) == 6
    assert found.application == "open-sesame"


def test_what_a_database_shows_of_its_schema_has_no_password() -> None:
    """Functions, constraints and defaults have texts in them, as a migration's statements have."""
    text = "CHECK (a <> 'host=h password=geheim port=1'::text)"
    undo = Undo("differs", diff=f"--- expected\n+++ seen\n-    b integer\n+    CONSTRAINT c {text}\n")
    revision = replace(safe().revisions[0], validations=(Validation("note", text, 1),), undo=undo)
    tests = OldTests("pytest --db redis://:geheim@h", 0, 1, "at redis://:geheim@h\n")
    differences = (Difference(text, "database"),)

    found = redacted(replace(safe(), revisions=(revision,), differences=differences, old_tests=tests), Redaction([]))

    said = str(found.as_dict())
    assert "geheim" not in said
    assert said.count("password=*** port=1") == 3
    assert said.count("redis://:***@h") == 2
    assert "-    b integer" in found.revisions[0].undo.diff
