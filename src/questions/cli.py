"""``flask questions``: import and export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
from flask import current_app
from flask.cli import AppGroup
from marshmallow import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from questions import bulk, database, rows, streams
from questions.logs import printable
from questions.schemas import QuestionInput

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = Path(__file__).with_name("sample.jsonl")

_ROWS_A_STEP = 500

questions = AppGroup("questions", help="Questions in bulk: import, export.")

_format = click.option(
    "--format", "written_as", type=click.Choice(rows.FORMATS), help="The file's format, where its suffix does not tell."
)


@questions.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path), required=False)
@click.option("--sample", is_flag=True, help="Import the questions that come with this package.")
@_format
@click.option(
    "--skip-invalid", is_flag=True, help="Store the valid rows and list the others; without it, all or nothing."
)
def import_(file: Path | None, written_as: rows.Format | None, *, sample: bool, skip_invalid: bool) -> None:
    """Store the questions of FILE, JSON Lines or CSV; - reads standard input.

    A row has a title and a description, nothing else. The rows that are refused are named by line, with the reason, on
    standard error; without --skip-invalid a single one makes the status 1, and nothing is stored.
    """
    if sample == (file is not None):
        raise click.UsageError("Name a FILE, or say --sample.")
    file = file or SAMPLE
    written_as = written_as or _format_of(file)
    with streams.opened(file) as stream, database.errors_as_messages():
        database.prepare(current_app, database.settings())
        reading = _Reading(rows.read(stream, written_as), stream, streams.size(file), skip_invalid=skip_invalid)
        stored = bulk.store_questions(reading)
    skipped = f" {reading.refused} refused." if reading.refused else ""
    click.echo(f"{_counted(stored, 'question')} imported.{skipped}")


@questions.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default="-")
@_format
def export(file: Path, written_as: rows.Format | None) -> None:
    """Write every question to FILE, JSON Lines or CSV, as import reads it; - is standard output, and the default.

    A file appears when it is complete, in place of the one that was there, with its mode.
    """
    written_as = written_as or ("jsonl" if file == streams.DASH else _format_of(file))
    with database.errors_as_messages():
        database.prepare(current_app, database.settings())
        with streams.written(file) as stream, rows.writing(stream, written_as) as write:
            for title, description in bulk.all_questions():
                write(title, description)


class _Reading:
    """The valid rows of a file, with a progress bar on a terminal; the others are shown as they are met."""

    def __init__(self, read: Iterator[rows.Row], stream: BinaryIO, size: int | None, *, skip_invalid: bool) -> None:
        self.refused = 0
        self._rows = read
        self._stream = stream
        self._size = size
        self._skip_invalid = skip_invalid
        self._schema = QuestionInput()
        self._console = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        columns = (TextColumn("{task.fields[rows]:,} rows"), BarColumn(), TimeRemainingColumn())
        shown = self._console.is_terminal
        with Progress(*columns, console=self._console, disable=not shown, transient=True) as progress:
            task = progress.add_task("", total=self._size, rows=0)
            for number, row in enumerate(self._readable(), 1):
                if number % _ROWS_A_STEP == 0:
                    progress.update(task, completed=self._stream.tell() if self._size else 0, rows=number)
                valid = self._validated(row)
                # After a refusal nothing will be stored: the rest is read for what else is wrong with it.
                if valid and (self._skip_invalid or not self.refused):
                    yield valid
        if self.refused and not self._skip_invalid:
            raise click.ClickException(
                f"Nothing was stored, because of {_counted(self.refused, 'row')}. "
                "Mend what is named above, or pass --skip-invalid to store the rest."
            )

    def _readable(self) -> Iterator[rows.Row]:
        try:
            yield from self._rows
        except rows.UnreadableFileError as error:
            raise click.ClickException(f"Nothing was stored: {error}.") from None

    def _validated(self, row: rows.Row) -> tuple[str, str] | None:
        problem = row.problem
        if row.values is not None:
            try:
                given = self._schema.load(row.values)
            except ValidationError as error:
                problem = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.messages_dict.items())
            else:
                return given["title"], given["description"]
        self.refused += 1
        # By the console, which puts it above the bar.
        self._console.print(printable(f"line {row.line}: {problem}"))
        return None


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _format_of(file: Path) -> rows.Format:
    written_as = rows.format_of(file.name)
    if written_as is None:
        raise click.UsageError(
            f"The name {file.name!r} does not tell the format; say --format {' or '.join(rows.FORMATS)}."
        )
    return written_as
