"""What can be done with questions: plain values in, questions out, domain errors raised, each change committed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm.exc import StaleDataError

from questions.errors import ChangedMeanwhile, QuestionNotFound
from questions.extensions import db
from questions.models import LARGEST_ID, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence


@dataclass(frozen=True)
class Page:
    """A stretch of the list, in order of id."""

    questions: Sequence[Question]
    next_after: int | None
    """The ``after`` of the next page; None on the last one."""


def list_questions(*, limit: int, after: int = 0, q: str = "") -> Page:
    """The questions with an id above ``after``, at most ``limit`` of them; with ``q``, only those that hold it."""
    wanted = sa.select(Question).where(Question.id > after).order_by(Question.id).limit(limit + 1)
    if q:
        wanted = wanted.where(_holds(q.casefold()))
    found = db.session.scalars(wanted).all()
    more = len(found) > limit
    return Page(found[:limit], found[limit - 1].id if more else None)


def get_question(question_id: int) -> Question:
    """The question with this id.

    Raises:
        QuestionNotFound: where there is none; an id that no column could hold has none.
    """
    question = db.session.get(Question, question_id) if question_id <= LARGEST_ID else None
    if question is None:
        raise QuestionNotFound(question_id)
    return question


def ask_question(title: str, description: str) -> Question:
    """Store a new question."""
    question = Question(title=title, description=description)
    db.session.add(question)
    db.session.commit()
    return question


def change_question(
    question_id: int, changes: Mapping[str, str], *, versions: Collection[int] | None = None
) -> Question:
    """Change some fields of a question.

    Args:
        question_id: which one.
        changes: new values by field.
        versions: the versions that the caller accepts to change; None for whichever is there.

    Raises:
        QuestionNotFound: where there is none.
        ChangedMeanwhile: where its version is none of ``versions``, or somebody else was faster.
    """

    def apply(question: Question) -> None:
        for name, value in changes.items():
            setattr(question, name, value)

    return _decided_by_version(question_id, apply, versions)


def delete_question(question_id: int, *, versions: Collection[int] | None = None) -> None:
    """Delete a question; arguments and errors as for :func:`change_question`."""
    _decided_by_version(question_id, db.session.delete, versions)


def _decided_by_version(
    question_id: int, change: Callable[[Question], None], versions: Collection[int] | None
) -> Question:
    """Run a change as one statement ``… WHERE id AND version``: of two that race, one finds no row.

    Whoever set a condition is told; whoever set none goes again, and each round lost is one that another has won.
    """
    while True:
        question = get_question(question_id)
        if versions is not None and question.version not in versions:
            raise ChangedMeanwhile(question_id)
        change(question)
        try:
            db.session.commit()
        except StaleDataError:
            db.session.rollback()
            if versions is not None:
                raise ChangedMeanwhile(question_id) from None
        else:
            return question


def _holds(needle: str) -> sa.ColumnElement[bool]:
    # SQLite's LIKE folds ASCII by itself and limits the pattern; Postgres has an index for LIKE alone.
    if db.session.get_bind().dialect.name == "sqlite":
        return sa.func.instr(Question.search, needle) > 0
    return Question.search.contains(needle, autoescape=True)
