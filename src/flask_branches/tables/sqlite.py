# ruff: noqa: S608  its statements are put together from its own words, and from names that it has quoted
"""SQLite's tables: those that hold rows, those that virtual tables are made of, and the indexes of a search."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches.errors import DatabaseFailed
from flask_branches.tables import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from flask_branches.tables import Target

_SPACE = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_QUOTED = r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^\]]*\]"
_VIRTUAL = re.compile(
    rf"CREATE VIRTUAL TABLE{_SPACE}(?:{_QUOTED}|[^\s(]+?){_SPACE}USING{_SPACE}(?P<module>{_QUOTED}|\w+)"
    rf"{_SPACE}(?:\((?P<arguments>.*)\))?{_SPACE}",
    re.DOTALL | re.IGNORECASE,
)
_ARGUMENT = re.compile(rf"(?:{_QUOTED}|\((?:{_QUOTED}|[^()])*\)|[^,])+", re.DOTALL)
_CONTENT = re.compile(rf"{_SPACE}content{_SPACE}={_SPACE}(?P<value>.*?){_SPACE}", re.DOTALL | re.IGNORECASE)

_BESIDE = {
    "fts3": {"content", "segments", "segdir"},
    "fts4": {"content", "segments", "segdir", "docsize", "stat"},
    "fts5": {"content", "data", "idx", "docsize", "config"},
    "rtree": {"node", "parent", "rowid"},
    "rtree_i32": {"node", "parent", "rowid"},
    "geopoly": {"node", "parent", "rowid"},
}
"""The tables that a virtual one is made of, by their ends. SQLite's own list (``PRAGMA table_list``, since 3.37) also
takes an application's ``docs_content`` for one of them, where ``docs`` is a search of its content."""
# Their samples are values. Only some builds of SQLite make and read them.
_SAMPLES = ("sqlite_stat3", "sqlite_stat4")


@dataclass(frozen=True)
class _Virtual:
    name: str
    module: str
    content: str | None
    """The table whose content a search is of: ``""`` where it keeps none, None where it keeps its own."""

    @property
    def has_rows(self) -> bool:
        return self.module in _BESIDE and self.content is None

    @property
    def is_search(self) -> bool:
        return self.module.startswith("fts") and self.module in _BESIDE

    def is_made_of(self, name: str) -> bool:
        # Of what a module is made of that is not SQLite's own, nobody can know more than this.
        start, end = name[: len(self.name) + 1], name[len(self.name) + 1 :]
        if start.lower() != f"{self.name}_".lower():
            return False
        if self.module not in _BESIDE:
            return True
        return end.lower() in _BESIDE[self.module] and (end.lower() != "content" or self.content is None)


def names(connection: Connection, keep: str) -> list[str]:
    """The tables that hold rows, quoted: ordinary ones, and virtual ones that hold rows of their own."""
    virtual = _virtual(connection)
    listed = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").scalars()
    return [
        _quoted(name)
        for name in listed
        if name != keep and not name.lower().startswith("sqlite_")
        if (virtual[name].has_rows if name in virtual else not any(v.is_made_of(name) for v in virtual.values()))
    ]


def unmaskable(connection: Connection, target: Target) -> str | None:
    """What is wrong with a table that is to be masked."""
    views = {view.lower() for view in sa.inspect(connection).get_view_names(target.schema)}
    return f"{target.name} is a view" if target.name.lower() in views else None


@contextmanager
def undisturbed(connection: Connection, targets: list[Target]) -> Iterator[None]:  # noqa: ARG001  it cannot be known whose triggers take part
    """Overwrite the block's tables: no trigger takes part, and afterwards nothing else keeps what was in them."""
    with _without_triggers(connection):
        yield
    _forget(connection)


def empty(connection: Connection, tables: list[str]) -> None:
    """Take all rows away, and whatever else keeps what was in them; numbering begins anew."""
    with _without_triggers(connection):
        for statement in delete_statements(tables):
            run(connection, statement)
    if _exists(connection, "sqlite_sequence"):
        run(connection, "DELETE FROM sqlite_sequence")
    _forget(connection)


def delete_statements(tables: list[str]) -> list[str]:
    """What deletes every row; foreign keys are looked at when all are gone."""
    deletes = [f"DELETE FROM {table}" for table in tables]
    return ["PRAGMA defer_foreign_keys = ON", *deletes, "PRAGMA defer_foreign_keys = OFF"]


@contextmanager
def _without_triggers(connection: Connection) -> Iterator[None]:
    """As TRUNCATE has it: a log of deletions stays empty, and what forbids them does not."""
    triggers = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
    for name, _ in triggers:
        run(connection, f"DROP TRIGGER {_quoted(name)}")
    yield
    for _, sql in triggers:
        run(connection, sql)


def _forget(connection: Connection) -> None:
    """Let every search find what is there now, and nothing keep values that are not there any more."""
    for table in (each for each in _virtual(connection).values() if each.is_search):
        try:
            _renew(connection, table)
        except sa.exc.DBAPIError as error:
            raise DatabaseFailed(
                f"The search index {table.name!r} keeps words of what was hidden or taken away, and cannot be made "
                f"anew ({error.orig}): correct it, or drop it, in the branch's parent."
            ) from error
    for each in _SAMPLES:
        if _exists(connection, each):
            run(connection, f"DELETE FROM {each}")


def _renew(connection: Connection, table: _Virtual) -> None:
    """Where there is nothing that it could be made from, it is empty then."""
    name = _quoted(table.name)
    if table.content is None or _exists(connection, table.content):
        run(connection, f"INSERT INTO {name} ({name}) VALUES ('rebuild')")
    elif table.module == "fts5":
        run(connection, f"INSERT INTO {name} ({name}) VALUES ('delete-all')")
    else:
        for part in sorted(f"{table.name}_{end}" for end in _BESIDE[table.module] - {"content"}):
            if _exists(connection, part):
                run(connection, f"DELETE FROM {_quoted(part)}")


def _virtual(connection: Connection) -> dict[str, _Virtual]:
    listed = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL %'").all()
    return {name: _read(name, sql) for name, sql in listed}


def _read(name: str, sql: str) -> _Virtual:
    found = _VIRTUAL.fullmatch(sql)
    if found is None:
        return _Virtual(name, "", None)
    module = found["module"].strip("\"'`[]").lower()
    content = None
    if module in {"fts4", "fts5"}:  # to the third, all that is between the commas is a column
        options = map(_CONTENT.fullmatch, _ARGUMENT.findall(found["arguments"] or ""))
        content = next((option["value"].strip("\"'`[]") for option in options if option), None)
    return _Virtual(name, module, content)


def _exists(connection: Connection, table: str) -> bool:
    return (
        connection.execute(
            sa.text("SELECT 1 FROM sqlite_master WHERE lower(name) = lower(:name)"), {"name": table}
        ).first()
        is not None
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
