"""The application as its next release has it: two more columns, and three migrations that make them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import mapped_column

import questions
from questions.models import Question

if TYPE_CHECKING:
    from flask import Flask

_model = cast("Any", Question)
_model.asked_at = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
_model.slug = mapped_column(sa.String(120), nullable=False)
sa.Index("ix_questions_asked_at", _model.asked_at)
sa.Index("ix_questions_slug", _model.slug, unique=True)


def create_app() -> Flask:
    """Make it; STORY_MIGRATIONS says where its migrations are."""
    app = questions.create_app()
    app.extensions["migrate"].directory = os.environ["STORY_MIGRATIONS"]
    return app
