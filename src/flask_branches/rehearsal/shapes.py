"""Two schemas compared by what they mean: not by the order of columns, nor by how SQLite was told of them."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from flask_branches import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TABLE = re.compile(r"((UNLOGGED|FOREIGN) )*TABLE ")
_EXTENSION = "EXTENSION "
_INDENT = "    "
_RULE = re.compile(r"(CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN)\b", re.IGNORECASE)
_WORD = re.compile(
    r"\s+|--[^\n]*|/\*.*?\*/|(?P<word>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|\w+|.)", re.DOTALL
)
_QUOTED = re.compile(r"[\"`\[]([A-Za-z_]\w*)[\"`\]]")
_TEXT = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True)
class Comparison:
    """In what a schema differs from another."""

    diff: str
    """A unified diff; empty where they are the same."""
    besides: tuple[str, ...]
    """Differences that are none for whoever uses it."""


@dataclass
class _Shape:
    """A schema taken apart."""

    tables: dict[str, list[str]] = field(default_factory=dict)
    """Columns and constraints, by what their table is introduced with."""
    others: list[str] = field(default_factory=list)

    def without(self, hidden: str) -> Self:
        self.tables = {table: inside for table, inside in self.tables.items() if _plain(table) != hidden}
        return self

    def lines(self) -> Iterator[str]:
        for table, inside in self.tables.items():
            yield table
            yield from sorted(inside)
        yield from self.others


def compare(expected: str, seen: str, *, is_sqlite: bool, hidden: str, name: str | None = None) -> Comparison:
    """Hold a schema, as :func:`flask_branches.schema.dump` has it, against what it should be.

    An extension that stays counts for nothing, since others may use it.

    Args:
        expected: what it should be.
        seen: what it is.
        is_sqlite: whether they are statements of SQLite's.
        hidden: the table that holds the revision, which Alembic never takes away.
        name: which database it is, where there are several.
    """
    read = _of_sqlite if is_sqlite else _of_postgres
    old, new = (read(text).without(hidden) for text in (expected, seen))
    stays = [line for line in new.others if line.startswith(_EXTENSION) and line not in old.others]
    new.others = [line for line in new.others if line not in stays]
    besides = [f"the columns of {_named(table)} come in another order" for table in _moved(old, new)]
    besides += [f"the extension {line.removeprefix(_EXTENSION)} stays" for line in stays]
    end = "" if name is None else f" ({name})"
    before, after = ("\n".join(each.lines()) for each in (old, new))
    return Comparison(schema.diff(before, after, f"expected{end}", f"seen{end}"), tuple(besides))


def _moved(old: _Shape, new: _Shape) -> Iterator[str]:
    for table in sorted(old.tables.keys() & new.tables.keys()):
        before, after = ([line for line in each.tables[table] if not _RULE.match(line.strip())] for each in (old, new))
        if before != after and sorted(before) == sorted(after):
            yield table


def _named(table: str) -> str:
    return _TABLE.sub("", table).partition(" ")[0]


def _plain(table: str) -> str:
    """A table's name without its schema and its quotes."""
    return _named(table).rpartition(".")[2].strip('"')


def _of_postgres(text: str) -> _Shape:
    """The tables come first; whatever is indented further on is part of a function."""
    shape = _Shape()
    inside: list[str] | None = []
    for line in text.splitlines():
        if inside is not None and _TABLE.match(line):
            inside = shape.tables[line] = []
        elif inside is not None and line.startswith(_INDENT):
            inside.append(line)
        else:
            inside = None
            shape.others.append(line)
    return shape


def _of_sqlite(text: str) -> _Shape:
    """Each statement is kept as it was typed; a table that Alembic has made anew is typed by SQLAlchemy."""
    shape = _Shape()
    for words in _statements(text):
        if words[:2] != ["create", "table"] or "(" not in words:
            shape.others.append(_joined(words))
            continue
        begin = words.index("(")
        items, rest = _items(words[begin + 1 :])
        head = _joined(["TABLE", *words[2:begin], *rest])
        shape.tables[head] = [f"{_INDENT}{_joined(each)}" for each in items]
    return shape


def _statements(text: str) -> Iterator[list[str]]:
    """A trigger comes in several parts, in their order: that does for a comparison."""
    words: list[str] = []
    for found in _WORD.finditer(text):
        word = found["word"]
        if word == ";":
            yield words
            words = []
        elif word:
            words.append(word if _TEXT.match(word) else _QUOTED.sub(r"\1", word).lower())


def _items(words: Iterable[str]) -> tuple[list[list[str]], list[str]]:
    """What is between the commas of a parenthesis, and what comes after it."""
    items: list[list[str]] = [[]]
    depth, left = 1, deque(words)
    while left and depth:
        word = left.popleft()
        depth += (word == "(") - (word == ")")
        if word == "," and depth == 1:
            items.append([])
        elif depth:
            items[-1].append(word)
    return items, list(left)


def _joined(words: Iterable[str]) -> str:
    return re.sub(r"\( | (?=[(),])", lambda found: found[0].strip(), " ".join(words))
