"""What a revision did, in full, as a folded part of the Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_branches.rehearsal.shown import findings
from flask_branches.rehearsal.shown.marked import bullets, cell, code, fenced, folded, table
from flask_branches.rehearsal.shown.words import clipped, count, duration, one_line, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_branches.rehearsal.observed import Growth, Lock, Statement
    from flask_branches.rehearsal.report import Revision

_MOST = 12


def details(number: int, revision: Revision) -> str:
    """The statements, the locks, the sizes and the undoing of a revision."""
    parts = [*_statements(revision), *_locks(revision), *_sizes(revision), *_undo(revision)]
    if not parts:
        return ""
    return folded(f"{number}. {findings.name(revision)}: {clipped(findings.title(revision), 120)}", "\n\n".join(parts))


def _statements(revision: Revision) -> Iterator[str]:
    slowest = sorted(revision.statements, key=lambda each: each.took, reverse=True)[:_MOST]
    for each in revision.statements:
        if each in slowest:
            yield f"{_figures(each)}:\n\n{fenced(clipped(each.text, 1_200), 'sql')}"
    more = len(revision.statements) - len(slowest)
    if more > 0:
        yield f"…and {count(more, 'statement')} more, each shorter."


def _figures(statement: Statement) -> str:
    parts = [f"**{duration(statement.took)}**", findings.repeats(statement)]
    if statement.rows is not None:
        parts.append(count(statement.rows, "row"))
    parts += [cell(each) for each in statement.effects[:_MOST]]
    if statement.own_connection:
        parts.append("on a connection of its own")
    return ", ".join(each for each in parts if each)


def _locks(revision: Revision) -> Iterator[str]:
    locks = sorted(
        (each for each in revision.locks if each.existed and each.blocks != "nothing"),
        key=lambda each: (each.blocks != "reads and writes", each.blocks != "writes", -each.longest),
    )
    if not locks:
        return
    rows = [
        (
            code(each.object, is_cell=True),
            f"{cell(each.mode)} (sampled)" if each.sampled else cell(each.mode),
            each.blocks,
            _held(each),
        )
        for each in locks[:_MOST]
    ]
    yield table(("Locked", "Mode", "Blocks", "For"), rows)
    if len(locks) > _MOST:
        yield f"…and {count(len(locks) - _MOST, 'lock')} more."


def _held(lock: Lock) -> str:
    if len(lock.spans) == 1:
        return duration(lock.held)
    return f"{duration(lock.longest)} at most, {duration(lock.held)} in all"


def _sizes(revision: Revision) -> Iterator[str]:
    lines = [f"{each.kind} {each.object}: {_change(each)}" for each in revision.growth]
    if revision.wal is not None:
        lines.append(findings.written_ahead(revision.wal))
    if lines:
        yield bullets(lines, _MOST)


def _change(growth: Growth) -> str:
    if growth.before is None:
        return f"new, {size(growth.after or 0)}"
    return f"{size(growth.before)} before, " + ("gone" if growth.after is None else f"{size(growth.after)} after")


def _undo(revision: Revision) -> Iterator[str]:
    undo = revision.undo
    if undo.detail:
        yield f"Undone: {cell(clipped(one_line(undo.detail), 600))}"
    if undo.diff:
        yield fenced(clipped(undo.diff, 4_000), "diff")
    if undo.lost:
        yield f"Lost by undoing it:\n\n{bullets(undo.lost, _MOST)}"
