"""An application as small as they come: a module, its `app`, no migrations."""

from __future__ import annotations

import os

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from flask_branches import Branches

app = Flask(__name__, instance_path=os.path.abspath("instance"))  # noqa: PTH100
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("DATABASE_URL") or "sqlite:///notes.sqlite"
db = SQLAlchemy(app)
branches = Branches(app)


class Note(db.Model):  # type: ignore[name-defined,misc]
    """What is to be remembered."""

    id = orm.mapped_column(sa.Integer, primary_key=True)
    text = orm.mapped_column(sa.String(40), unique=True)


@app.post("/notes/<text>")
def add(text: str) -> tuple[str, int]:
    """Remember."""
    db.session.add(Note(text=text))
    db.session.commit()
    return "added", 201


@app.get("/count")
def count() -> str:
    """How much is remembered."""
    return str(db.session.scalar(sa.select(sa.func.count(Note.id))))
