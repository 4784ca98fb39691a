"""Passwords in what the statements of a migration say, wherever in SQL they stand."""

from __future__ import annotations

import pytest

from flask_branches.rehearsal.hiding import statement


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"-- don't", r"-- don't"),
        (r"SELECT E'it\'s'", r"SELECT E'it\'s'"),
        (r"/* a /* don't */ b */ SELECT 1", r"/* a /* don't */ b */ SELECT 1"),
        (r"""SELECT "don't", 'b'""", r"""SELECT "don't", 'b'"""),
        (r"SELECT $a$don't $$ $a$, 'b'", r"SELECT $a$don't $$ $a$, 'b'"),
        (r"SELECT a$b$c, '\'", r"SELECT a$b$c, '\'"),
        (r"SELECT 'the password', 'b', 'it' -- it's", r"SELECT 'the password', 'b', 'it' -- it's"),
        (r"ALTER ROLE a PASSWORD 'geheim'; SELECT 'it''s'", r"ALTER ROLE a PASSWORD '***'; SELECT 'it''s'"),
    ],
)
@pytest.mark.parametrize(
    ("secret", "hidden"),
    [
        ("'postgresql://me:geheim@h/d'", "'postgresql://me:***@h/d'"),
        ("$$postgresql://me:geheim@h/d$$", "$$postgresql://me:***@h/d$$"),
        ("/* postgresql://me:geheim@h/d */", "/* postgresql://me:***@h/d */"),
        ("'postgresql://me:ge''hei/m@h/d'", "'postgresql://me:***@h/d'"),
        ("'host=h password=geheim'", "'host=h password=***'"),
        ("$$host=h password=geheim$$", "$$host=h password=***$$"),
        ("/* host=h password=geheim */", "/* host=h password=*** */"),
        ("-- password=geheim", "-- password=***"),
        ("'password=ge''heim;1 host=h'", "'password=*** host=h'"),
        ("'/d?password=geheim&host=h'", "'/d?password=***&host=h'"),
        (r"'password=''ge\''heim'' host=h'", "'password=''***'' host=h'"),
        (r"E'host=h\tpassword=\'ge heim\''", "E'host=h\tpassword=''***'''"),
        ("$$password = 'ge heim' host=h$$", "$$password = '***' host=h$$"),
        ("""$$f(password = "ge heim")$$""", """$$f(password = "***")$$"""),
        (r"E'ALTER ROLE a PASSWORD \'geheim\''", "E'ALTER ROLE a PASSWORD ''***'''"),
        ("password /* of /* a */ b */ = -- c's\n U&'geheim'", "password /* of /* a */ b */ = -- c's\n '***'"),
        ("'$a$ $b$ $c$ $d$ $e$ password = ''geheim'''", "'$a$ $b$ $c$ $d$***'"),
        ("'it''s; ALTER ROLE a PASSWORD ''geheim'''", "'it''s; ALTER ROLE a PASSWORD ''***'''"),
        ("'rock ''n roll PASSWORD ''geheim'''", "'rock ''n roll PASSWORD ''***'''"),
        ("'it''s PASSWORD/* a */E''geheim'''", "'it''s PASSWORD/* a */''***'''"),
        ("'password=geheim", "'password=***"),
        ("/* password=geheim", "/* password=***"),
    ],
)
def test_a_password_is_hidden_wherever_it_stands(text: str, shown: str, secret: str, hidden: str) -> None:
    """In texts and comments of every kind, whatever texts and comments there are before it."""
    assert statement(f"{text}\n{secret}") == f"{shown}\n{hidden}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ALTER ROLE a PASSWORD 'ge'\n  'heim'", "ALTER ROLE a PASSWORD '***'\n  '***'"),
        (
            "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''geheim'''; END $$",
            "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''***'''; END $$",
        ),
        (
            "DO $$ BEGIN PERFORM f('it''s password=geheim'); END $$",
            "DO $$ BEGIN PERFORM f('it''s password=***'); END $$",
        ),
    ],
)
def test_a_password_is_hidden_in_parts_and_in_programs(text: str, shown: str) -> None:
    """A text may go on in the next line, and a program's texts are texts."""
    assert statement(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        """SELECT 'https://host:8080/a@b', '{"a": "http://h:80","b":"c@d"}'""",
        "SELECT 'http://a:b', 'c@d'",
        "-- don't\nUPDATE u SET password = old, a = 'x'",
        r"SELECT E'it\'s', 'x'; UPDATE u SET password = old",
        "/* /* it's */ */ UPDATE u SET password = old WHERE a = 'x'",
        "SELECT a$b$c, 'x'; UPDATE u SET password = $1 WHERE b = $2",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ UPDATE u SET password = md5(email) $$",
        "DO LANGUAGE plpgsql $a$ BEGIN UPDATE u SET password = old WHERE b = 'x'; END $a$",
        """ALTER TABLE u RENAME "password" TO "a b"; SELECT 'x' password, 'y'""",
        "SELECT old_password 'x', password_of 'y'",
    ],
)
def test_what_is_no_password_is_shown_past_texts_and_comments(text: str) -> None:
    """A column of that name, also in a program, and a port."""
    assert statement(text) == text


@pytest.mark.parametrize("begin", ["password", "'password", "$$password"])
@pytest.mark.parametrize(
    "part",
    [
        "password ",
        "password /* a */ ",
        "password /*",
        "password ''",
        "password=$a",
        "password $a$ $$ ",
        "://a:password",
        "://1:2/",
        "/* /* */",
        "E'\\",
        "it's password",
        "AS $$ password $$ ",
        " ",
    ],
)
def test_a_long_text_is_read_in_no_time(begin: str, part: str) -> None:
    """Nothing in it is tried in all the ways in which it could be parted."""
    assert statement(begin + part * 20_000).startswith(begin[:2])
