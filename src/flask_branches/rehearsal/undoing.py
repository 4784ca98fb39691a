"""Revisions undone and done again: whether the schema comes back each time, and what data does not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches import schema
from flask_branches.backends import postgres_errors
from flask_branches.branch import MAIN
from flask_branches.configured import engines_of
from flask_branches.rehearsal import hiding, rows, shapes
from flask_branches.rehearsal.limiting import Overdue
from flask_branches.rehearsal.observed import Undo

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from alembic.script import Script
    from sqlalchemy.engine import Connection

    from flask_branches.rehearsal.limiting import Deadline
    from flask_branches.rehearsal.migrations import Migrations

    Schema = Mapping[str | None, str]
    Tables = Mapping[str | None, Collection[str]]
    Contents = Mapping[str | None, Mapping[str, rows.Content | None]]
    Told = set[str]
    Connect = Callable[[str | None], AbstractContextManager[Connection]]

_FINAL = re.compile(
    r"irreversibl|not (be )?(reversib|undone|reverted|downgrade)|no (downgrade|way back)|cannot (downgrade|revert|undo)"
    r"|(downgrade|revert)\w* (is|are) not (supported|possible|implemented)|one.way",
    re.IGNORECASE,
)
_NOTHING = "its downgrade changes nothing"


def round_trip(
    migrations: Migrations,
    revisions: Sequence[Script],
    schemas: Sequence[Schema],
    tables: Mapping[str, Tables],
    connect: Connect,
    *,
    contents: Mapping[str, Contents] | None = None,
    deadline: Deadline | None = None,
) -> dict[str, Undo]:
    """Undo revisions from the newest to the oldest, then do them again, and see what has come back.

    It stops at the first that cannot be undone, or leaves another schema than there was before: what is below is not
    tried, what is above is done again. Where all went well the database is at the newest of them again.

    Args:
        migrations: of an application that is at work on the branch, which is at the newest of the revisions.
        revisions: in the order in which they were run.
        schemas: by bind key, as :func:`flask_branches.schema.dump` has it: before the first revision, and after each.
        tables: by revision and by bind key, the names of those that a revision has written to, as reports have them; a
            revision is undone in those databases, and one that is not in here in all.
        connect: gives a connection in autocommit to the database of a bind key, for a block.
        contents: by revision and by bind key, what tables held before it was run, as :func:`rows.digest` has it: what
            its downgrade does not bring back of that is named too.
        deadline: after which an error is nobody's fault, since what was going on was cancelled.

    Raises:
        Overdue: where an error comes after the deadline.
        DatabaseFailed: where the branch is out of reach.
    """
    trip = _Trip(migrations, revisions, schemas, tables, connect, contents or {}, deadline)
    lowest = trip.undo_all()
    trip.redo_from(lowest)
    return trip.found


@dataclass
class _Trip:
    migrations: Migrations
    revisions: Sequence[Script]
    schemas: Sequence[Schema]
    tables: Mapping[str, Tables]
    connect: Connect
    contents: Mapping[str, Contents]
    deadline: Deadline | None
    found: dict[str, Undo] = field(default_factory=dict)
    held: dict[str, Contents] = field(default_factory=dict)
    """What the tables of each revision held before it was undone."""

    def undo_all(self) -> int:
        """Undo one after the other, and give the position of the first to be done again."""
        self.found = {each.revision: Undo("not tried") for each in self.revisions}
        told: Told = set()
        for at in reversed(range(len(self.revisions))):
            script = self.revisions[at]
            refused = self._undone(script)
            if refused is not None:
                self.found[script.revision] = refused
                return self._stopped(at + 1)
            self.found[script.revision] = self._judged(at)
            self._tell_lost(script.revision, self.contents.get(script.revision, {}), told)
            if self.found[script.revision].state == "differs":
                return at
        return 0

    def redo_from(self, lowest: int) -> None:
        """Do them again, and see whether all is as it was."""
        told: Told = set()
        for at, script in enumerate(self.revisions[lowest:], lowest):
            worse = self._redone(at)
            if worse is not None:
                found = self.found[script.revision]
                # What its downgrade has shown counts for more.
                state, diff = (worse.state, worse.diff) if found.state != "differs" else (found.state, found.diff)
                self.found[script.revision] = replace(_with(found, worse.detail), state=state, diff=diff)
                self._leave(at + 1, script)
                return
            self._tell_lost(script.revision, self.held[script.revision], told)

    def _undone(self, script: Script) -> Undo | None:
        """Undo one; None where that went well."""
        self.held[script.revision] = self._contents(self.tables.get(script.revision, {}))
        if not hasattr(script.module, "downgrade"):
            return Undo("missing", "it has no function downgrade")
        try:
            self.migrations.undo(script, self.tables.get(script.revision))
        except Exception as error:  # noqa: BLE001  migrations are others' code, and may raise anything
            self._require_its_fault(error)
            said = "" if isinstance(error, sa.exc.DBAPIError) else str(error)
            is_missing = isinstance(error, NotImplementedError) or _FINAL.search(said)
            return Undo("missing" if is_missing else "failed", _said(error))
        return None

    def _redone(self, at: int) -> Undo | None:
        """Do one again; None where that makes the same schema as the first time."""
        try:
            self.migrations.upgrade(self.revisions[at].revision)
        except Exception as error:  # noqa: BLE001  migrations are others' code, and may raise anything
            self._require_its_fault(error)
            return Undo("failed", f"after its downgrade, its upgrade fails: {_said(error)}")
        diff, _ = self._difference(at + 1, self._look())
        return Undo("differs", "another upgrade makes another schema than the first", diff) if diff else None

    def _stopped(self, at: int) -> int:
        """Where to go on upwards after a refusal: from there, unless it has left something half done."""
        diff, _ = self._difference(at, self._look())
        if not diff:
            return at
        below = self.revisions[at - 1]
        self.found[below.revision] = replace(self.found[below.revision], diff=diff)
        self._leave(at, below)
        return len(self.revisions)

    def _judged(self, at: int) -> Undo:
        """Hold the schema against the one that there was before."""
        seen = self._look()
        diff, besides = self._difference(at, seen)
        undo = _with(Undo("differs" if diff else "same", diff=diff), *besides)
        if diff and not self._difference(at + 1, seen)[0]:
            return _with(undo, _NOTHING)
        if not diff and self._changes_no_row(at):
            return _with(undo, f"{_NOTHING}: what it did to rows stays")
        return undo

    def _changes_no_row(self, at: int) -> bool:
        """Whether one that leaves the schema alone, and writes to rows, has a downgrade that leaves those alone."""
        held = self.held[self.revisions[at].revision]
        written = [content for each in held.values() for content in each.values()]
        if self.schemas[at] != self.schemas[at + 1] or not written or None in written:
            return False
        return self._contents(held) == held

    def _difference(self, at: int, seen: Schema) -> tuple[str, list[str]]:
        """In what the schemas differ from those of a position, and what does not matter of it."""
        expected, hidden = self.schemas[at], self.migrations.version_table
        names = {key: key or MAIN if len(expected) > 1 else None for key in expected}
        found = [
            shapes.compare(expected[key], seen[key], is_sqlite=self._is_sqlite(key), hidden=hidden, name=name)
            for key, name in names.items()
        ]
        return "".join(each.diff for each in found), [text for each in found for text in each.besides]

    def _tell_lost(self, revision: str, before: Contents, told: Told) -> None:
        """Name what is not there any more, once: what another revision has lost is told there."""
        after = self._contents(before)
        undo = self.found[revision]
        for key, tables in before.items():
            texts = [f"{text} ({key})" if key else text for text in rows.lost(tables, after[key])]
            undo = replace(undo, lost=(*undo.lost, *(each for each in texts if each not in {*told, *undo.lost})))
            told.update(texts)
            unread = [f"the values of {each} were not compared" for each, content in tables.items() if content is None]
            undo = _with(undo, *(each for each in unread if each not in undo.detail))
        self.found[revision] = undo

    def _leave(self, above: int, below: Script) -> None:
        for script in self.revisions[above:]:
            said = f"it was not done again, since {below.revision} has not come back"
            self.found[script.revision] = _with(self.found[script.revision], said)

    def _contents(self, tables: Tables) -> Contents:
        found = {}
        for key, names in tables.items():
            with self.connect(key) as connection:
                found[key] = rows.digest(connection, names, keep=self.migrations.version_table)
        return found

    def _look(self) -> Schema:
        found = {}
        for key in self.schemas[0]:
            with self.connect(key) as connection:
                found[key] = schema.dump(connection)
        return found

    def _is_sqlite(self, key: str | None) -> bool:
        return engines_of(self.migrations.app)[key].dialect.name == "sqlite"

    def _require_its_fault(self, error: Exception) -> None:
        """Raise what is none of a migration's."""
        if self.deadline is not None and self.deadline.is_over:
            raise Overdue from error
        if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
            with postgres_errors.told(engines_of(self.migrations.app)[None].url):
                raise error


def _with(undo: Undo, *details: str) -> Undo:
    return replace(undo, detail="; ".join(filter(None, [undo.detail, *details])))


def _said(error: Exception) -> str:
    return hiding.reason(error)
