"""Secrets and data kept out of a report, which may become a comment that everybody reads."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from flask_branches.backends.postgres_errors import said, sqlstate
from flask_branches.rehearsal import passwords

if TYPE_CHECKING:
    from flask_branches.redaction import Redaction

_Any = TypeVar("_Any")

_OF_DATA = "22"
_WITHOUT_VALUES = {"22001", "22012"}
"""A text that is too long, a division by zero: their messages show no value."""
_FREE = {"text", "statement", "error", "detail", "diff", "seen", "reasons", "warnings"}
_FREE |= {"title", "constraint", "not_shown", "command", "output"}
"""Fields of a report that hold what others have written; the others are names and figures."""


def statement(text: str) -> str:
    """A statement without the passwords that stand in its own text: a role's, and those of connections."""
    return passwords.hidden(text)


def reason(error: BaseException) -> str:
    """What went wrong, in one line, without the values that were no good."""
    if isinstance(error, sa.exc.DBAPIError):
        state, kind = sqlstate(error), type(error.orig).__name__
        if state is not None and state.startswith(_OF_DATA) and state not in _WITHOUT_VALUES:
            return f"{kind} (SQLSTATE {state}), whose text may hold data: run the statement by hand to see it"
        return f"{kind}: {passwords.in_urls(said(error))}"
    first = passwords.in_urls(str(error).strip().split("\n")[0])
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def redacted(part: _Any, redaction: Redaction) -> _Any:
    """A report, or a part of it, without passwords in what others have written: some URLs', and those of any SQL."""
    if not is_dataclass(part) or isinstance(part, type):
        return part
    found = {}
    for each in fields(part):
        value = getattr(part, each.name)
        if each.name in _FREE:
            found[each.name] = _texts(value, redaction)
        elif isinstance(value, tuple):
            found[each.name] = tuple(redacted(one, redaction) for one in value)
        else:
            found[each.name] = redacted(value, redaction)
    same: _Any = replace(part, **found)
    return same


def _texts(value: Any, redaction: Redaction) -> Any:  # noqa: ANN401  a text, several, or none
    if isinstance(value, tuple):
        return tuple(_texts(each, redaction) for each in value)
    return passwords.hidden(redaction.text(value)) if isinstance(value, str) else value
