"""Questions as rows of a file, JSON Lines or CSV: read one at a time with their line, and written one at a time."""

from __future__ import annotations

import csv
import io
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, TextIO

Format = Literal["jsonl", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
COLUMNS = ("title", "description")

_SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
# Twice the longest valid row, written as escapes: a longer line is no question, and is never held in memory.
_LONGEST_LINE = 524_288


class UnreadableFileError(Exception):
    """The file is not of its format from some line on, so that nothing after it can be trusted."""


@dataclass(frozen=True)
class Row:
    """One row: its first line in the file, and either its values or why it has none."""

    line: int
    values: dict[str, Any] | None = None
    problem: str = ""


def format_of(name: str) -> Format | None:
    """The format that a file's name ends in; None where it tells none."""
    return next((each for suffix, each in _SUFFIXES.items() if name.lower().endswith(suffix)), None)


def read(stream: BinaryIO, written_as: Format) -> Iterator[Row]:
    """The rows of a file, however long, in flat memory.

    A byte that is not UTF-8 comes as a lone surrogate, which no schema lets through: the row is refused, not the file.

    Raises:
        UnreadableFileError: where a CSV file has another header, or breaks the rules of quoting.
    """
    return _read_jsonl(stream) if written_as == "jsonl" else _read_csv(stream)


@contextmanager
def writing(stream: BinaryIO, written_as: Format) -> Iterator[Callable[[str, str], None]]:
    """A function that writes one question after the other to a stream, which stays open; CSV begins with its header."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        yield _jsonl_writer(text) if written_as == "jsonl" else _csv_writer(text)
    finally:
        text.detach()


def _jsonl_writer(text: TextIO) -> Callable[[str, str], None]:
    def write(title: str, description: str) -> None:
        text.write(json.dumps({"title": title, "description": description}, ensure_ascii=False) + "\n")

    return write


def _csv_writer(text: TextIO) -> Callable[[str, str], None]:
    table = csv.writer(text)
    table.writerow(COLUMNS)

    def write(title: str, description: str) -> None:
        table.writerow((title, description))

    return write


def _read_jsonl(stream: BinaryIO) -> Iterator[Row]:
    for number, line in _lines(stream):
        if line is None:
            yield Row(number, problem=f"The line is longer than {_LONGEST_LINE:,} bytes.")
        elif line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    try:
        values = json.loads(line.strip())
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        return Row(number, problem=f"Not JSON: {reason}.")
    if not isinstance(values, dict):
        return Row(number, problem="Not a JSON object.")
    return Row(number, values)


def _read_csv(stream: BinaryIO) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_LINE)
    table = csv.reader(_csv_lines(stream), strict=True)
    try:
        header = next(table, [])
        if sorted(header) != sorted(COLUMNS):
            names = ", ".join(header) or "nothing"
            raise UnreadableFileError(f"line 1: the header must be {','.join(COLUMNS)}; it names {names}")
        line = table.line_num + 1
        for cells in table:
            if cells:
                yield _csv_row(line, header, cells)
            line = table.line_num + 1
    except csv.Error as error:
        raise UnreadableFileError(f"line {table.line_num}: not CSV: {error}") from None


def _csv_row(line: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        return Row(line, problem=f"Has {len(cells)} cells where the header has {len(header)}.")
    return Row(line, dict(zip(header, cells, strict=True)))


def _csv_lines(stream: BinaryIO) -> Iterator[str]:
    for number, line in _lines(stream):
        if line is None:
            raise UnreadableFileError(f"line {number}: it is longer than {_LONGEST_LINE:,} bytes")
        yield line


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str | None]]:
    """Lines by number, ended by a line feed alone; None in place of one too long to be held."""
    number = 0
    while raw := stream.readline(_LONGEST_LINE + 1):
        number += 1
        if len(raw) <= _LONGEST_LINE:
            yield number, raw.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").decode("utf-8", "surrogateescape")
            continue
        while not raw.endswith(b"\n") and (raw := stream.readline(_LONGEST_LINE)):
            pass
        yield number, None
