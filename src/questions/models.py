"""What is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from questions.extensions import Model

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Mapper

TITLE_LENGTH = 100
DESCRIPTION_LENGTH = 20_000
LARGEST_ID = 2**63 - 1

# No casefolded text holds a capital, so no needle can match across the border of title and description.
_BORDER = "\nA\n"


class Question(Model):
    """A question: a title that fits a line, and a description as long as it takes."""

    __table_args__ = (
        sa.CheckConstraint(f"length(title) BETWEEN 1 AND {TITLE_LENGTH}", name="ck_questions_title_length"),
        sa.CheckConstraint(
            f"length(description) BETWEEN 1 AND {DESCRIPTION_LENGTH}", name="ck_questions_description_length"
        ),
        # SQLite's length() stops at a NUL, so that a longer text would pass; Postgres stores no NUL.
        sa.CheckConstraint(
            "instr(title, char(0)) = 0 AND instr(description, char(0)) = 0", name="ck_questions_no_nul"
        ).ddl_if(dialect="sqlite"),
        # An id is never used twice: a cached answer or a link must not come to mean another question.
        {"sqlite_autoincrement": True},
    )
    __tablename__ = "questions"

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True
    )
    title: Mapped[str] = mapped_column(sa.String(TITLE_LENGTH))
    description: Mapped[str] = mapped_column(sa.Text())
    search: Mapped[str] = mapped_column(sa.Text())
    version: Mapped[int] = mapped_column(sa.Integer(), server_default="1")

    __mapper_args__: dict[str, Any] = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy reads it as it stands


def search_text(title: str, description: str) -> str:
    """What is searched: folded by Python, since SQLite folds ASCII alone and Postgres differs from both."""
    return f"{title.casefold()}{_BORDER}{description.casefold()}"


@sa.event.listens_for(Question, "before_insert")
@sa.event.listens_for(Question, "before_update")
def _keep_searchable(_mapper: Mapper[Question], _connection: Connection, question: Question) -> None:
    question.search = search_text(question.title, question.description)
