"""A service with ten tables: what the benchmarks isolate, branch, and make tables for."""

from __future__ import annotations

import os

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, mapped_column

from flask_branches import Branches


class Base(DeclarativeBase):
    """The models' base."""


db = SQLAlchemy(model_class=Base)
branches = Branches()


class Note(Base):
    """What a test writes."""

    __tablename__ = "notes"
    id = mapped_column(sa.Integer, primary_key=True)
    text = mapped_column(sa.String(100))


for number in range(9):
    sa.Table(
        f"other_{number}",
        Base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), index=True),
        sa.Column("note", sa.ForeignKey("notes.id")),
    )


def create_app(url: str | None = None) -> Flask:
    """The application, on the database that is named, or that SERVICE_URL names."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url or os.environ["SERVICE_URL"]
    db.init_app(app)
    branches.init_app(app)
    return app


def write() -> None:
    """What a request does: a row, and a commit."""
    db.session.add(Note(text="a note"))
    db.session.commit()
    db.session.remove()


def read() -> None:
    """The least that uses the database."""
    db.session.execute(sa.text("SELECT 1"))
    db.session.remove()
