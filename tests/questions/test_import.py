"""`flask questions import`."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from questions import rows
from questions.cli import SAMPLE
from questions.extensions import db
from questions.rows import _LONGEST_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient

VALID = [
    {"title": "Why?", "description": "Because."},
    {"title": 'A "quoted", tít\u2028ulo', "description": "line\nline\r\nend\r \u0085 \U0001f40d"},
    {"title": "x" * 100, "description": "\U0001f40d" * 20_000},
]


def jsonl(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, ["description", "title"])
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


@pytest.mark.branches(data="empty")
@pytest.mark.parametrize(("name", "write"), [("q.jsonl", jsonl), ("q.ndjson", jsonl), ("q.CSV", as_csv)])
def test_a_file_is_stored_as_it_is(
    working_directory: Path, imported: Any, stored: Any, client: FlaskClient, name: str, write: Any
) -> None:
    """Every character of a valid file arrives, in order, and can be searched; the count is shown."""
    (working_directory / name).write_bytes(write(VALID))

    result = imported(name)

    assert (result.exit_code, result.output) == (0, "3 questions imported.\n")
    assert stored() == [(row["title"], row["description"]) for row in VALID]
    assert [each["title"] for each in client.get('/questions?q="QUOTED"').get_json()] == [VALID[1]["title"]]
    assert client.get("/questions").get_json()[0]["id"] > 0


@pytest.mark.branches(data="empty")
def test_titles_are_trimmed_on_the_way_in(working_directory: Path, imported: Any, stored: Any) -> None:
    """Import goes through the same schema as a request."""
    (working_directory / "q.jsonl").write_bytes(jsonl([{"title": " a ", "description": " b "}]))

    assert imported("q.jsonl").output == "1 question imported.\n"
    assert stored() == [("a", " b ")]


BAD = [
    (b'{"title": "', "Not JSON: Unterminated string starting at."),
    (b"[1]", "Not a JSON object."),
    (b"[" * 100_000, "Not JSON: it cannot be read."),
    (b'{"title": "a"}', "description: Missing data for required field."),
    (b'{"title": "a", "description": "b", "id": 1}', "id: Unknown field."),
    (jsonl([{"title": "x" * 101, "description": "b"}])[:-1], "title: Must be 1 to 100 characters long when trimmed."),
    (
        b'{"title": "\\u0000", "description": " "}',
        "title: Holds a NUL character, which cannot be stored.; description: Must not be blank.",
    ),
    (b'{"title": "\xff", "description": "b"}', "title: Holds a lone surrogate, which cannot be stored."),
    (b'{"title": "\\ud800", "description": "b"}', "title: Holds a lone surrogate, which cannot be stored."),
    (b'"' + b"x" * _LONGEST_LINE, f"The line is longer than {_LONGEST_LINE:,} bytes."),
]


def test_by_default_one_bad_row_stores_nothing_and_all_bad_rows_are_named(
    working_directory: Path, imported: Any, stored: Any
) -> None:
    """Each refused row is named by its line, blank lines counted, with the reason; the status is 1."""
    lines = [b"\xef\xbb\xbf" + jsonl(VALID[:1])[:-1], b"", *(line for line, _ in BAD), jsonl(VALID[:1])]
    (working_directory / "q.jsonl").write_bytes(b"\n".join(lines))
    before = stored()

    result = imported("q.jsonl")

    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        *(f"line {number}: {reason}" for number, (_, reason) in enumerate(BAD, 3)),
        (
            f"Error: Nothing was stored, because of {len(BAD)} rows. "
            "Mend what is named above, or pass --skip-invalid to store the rest."
        ),
    ]
    assert stored() == before


@pytest.mark.branches(data="empty")
def test_skip_invalid_stores_the_rest(working_directory: Path, imported: Any, stored: Any) -> None:
    """The others are listed all the same, and the status is 0."""
    lines = [jsonl(VALID[:1])[:-1], *(line for line, _ in BAD), jsonl(VALID[1:])]
    (working_directory / "q.jsonl").write_bytes(b"\n".join(lines))

    result = imported("q.jsonl", "--skip-invalid")

    assert result.exit_code == 0
    assert result.stdout == f"3 questions imported. {len(BAD)} refused.\n"
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == [
        f"line {n}" for n in range(2, len(BAD) + 2)
    ]
    assert stored() == [(row["title"], row["description"]) for row in VALID]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the header must be title,description; it names nothing"),
        (b"title,text\na,b\n", "line 1: the header must be title,description; it names title, text"),
        (b'title,description\na,b\n"a"b,c\n', "line 3: not CSV: "),
        (b'title,description\na,b\n"a,c\n', "line 3: not CSV: "),
        (b"title,description\n" + b"x" * 600_000, f"line 2: it is longer than {_LONGEST_LINE:,} bytes"),
    ],
)
@pytest.mark.parametrize("option", [[], ["--skip-invalid"]])
def test_a_broken_csv_file_stores_nothing(
    working_directory: Path, imported: Any, stored: Any, content: bytes, message: str, option: list[str]
) -> None:
    """What stands after broken quoting cannot be trusted, whatever may be skipped."""
    (working_directory / "q.csv").write_bytes(content)
    before = stored()

    result = imported("q.csv", *option)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: Nothing was stored: {message}")
    assert stored() == before


def test_a_csv_row_is_named_by_its_first_line(working_directory: Path, imported: Any) -> None:
    """A row may span lines, and an empty line is none."""
    content = b'\xef\xbb\xbftitle,description\r\n\r\na,"b\r\nb"\r\na\r\n,"b\nb"\na,b,c\n'
    (working_directory / "q.csv").write_bytes(content)

    result = imported("q.csv")

    assert result.stderr.splitlines()[:-1] == [
        "line 5: Has 1 cells where the header has 2.",
        "line 6: title: Must be 1 to 100 characters long when trimmed.",
        "line 8: Has 3 cells where the header has 2.",
    ]


@pytest.mark.branches(data="empty")
@pytest.mark.parametrize(("written_as", "write"), [("jsonl", jsonl), ("csv", as_csv)])
def test_standard_input_is_read_in_the_format_that_is_named(
    imported: Any, stored: Any, written_as: str, write: Any
) -> None:
    """- is standard input."""
    result = imported("-", "--format", written_as, input=write(VALID))

    assert result.exit_code == 0, result.output
    assert stored() == [(row["title"], row["description"]) for row in VALID]


@pytest.mark.branches(data="empty")
def test_the_sample_is_worth_a_first_look(imported: Any, stored: Any) -> None:
    """The package brings two dozen valid questions, each once."""
    result = imported("--sample")

    assert (result.exit_code, result.output) == (0, "24 questions imported.\n")
    assert len({title for title, _ in stored()}) == len(SAMPLE.read_text("utf-8").splitlines()) == 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name a FILE, or say --sample."),
        (["-", "--sample"], "Name a FILE, or say --sample."),
        (["-"], "does not tell the format; say --format jsonl or csv."),
        (["questions.txt"], "The name 'questions.txt' does not tell the format; say --format jsonl or csv."),
        (["missing.csv"], "File 'missing.csv' does not exist."),
        (["questions.txt", "--format", "xml"], "'xml' is not one of 'jsonl', 'csv'"),
    ],
)
def test_a_command_that_cannot_be_meant_is_a_usage_error(
    working_directory: Path, imported: Any, arguments: list[str], message: str
) -> None:
    """Status 2, and what to say instead."""
    (working_directory / "questions.txt").touch()

    result = imported(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr


def test_an_empty_file_is_no_mistake(working_directory: Path, imported: Any) -> None:
    """Nothing to store is stored."""
    (working_directory / "q.jsonl").touch()

    assert imported("q.jsonl").output == "0 questions imported.\n"


def test_import_without_a_database_is_a_message(other_app: Callable[..., Flask], unreachable_url: sa.URL) -> None:
    """Status 1 and the reason; no traceback, no password."""
    result = other_app(unreachable_url).test_cli_runner().invoke(args=["questions", "import", "--sample"])

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database cannot be reached or is too busy.")
    assert "hunter2" not in result.output


def test_import_into_a_database_without_tables_is_a_message(imported: Any, app: Flask) -> None:
    """The remedy is to migrate it, whichever way the rows go in."""
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE questions"))

    result = imported("--sample")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database is not migrated. Run: flask --app questions db upgrade (")


@pytest.mark.branches(isolation="branch")
def test_a_connection_that_dies_during_an_import_is_a_message(
    postgres_only: None, app: Flask, imported: Any, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a COPY, of which SQLAlchemy knows nothing: a message, and nothing stored."""
    before = stored()
    questions_of = rows.read

    def cut(stream: Any, written_as: rows.Format) -> Iterator[rows.Row]:
        for row in questions_of(stream, written_as):
            yield row
            with app.app_context(), db.engine.connect() as connection:
                connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )

    monkeypatch.setattr(rows, "read", cut)
    result = imported("--sample")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database cannot be reached or is too busy. Try again. (")
    assert stored() == before
