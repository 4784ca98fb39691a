"""The tests' application as a program of its own; where its databases are stands in the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from flask_branches import Branches, embedded

app = Flask("app", instance_path=os.environ["NOTES_INSTANCE"])
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["NOTES_MAIN"]
app.config["SQLALCHEMY_BINDS"] = json.loads(os.environ.get("NOTES_BINDS", "{}"))
app.config["BRANCHES_MASKS"] = json.loads(os.environ.get("NOTES_MASKS", "{}"))
db: Any = SQLAlchemy(app)
branches = Branches(app)


class Note(db.Model):  # type: ignore[misc]
    """The same table as in the tests."""

    id = orm.mapped_column(sa.Integer, primary_key=True)
    text = orm.mapped_column(sa.String(100), nullable=False)


with app.app_context():
    for engine in db.engines.values():
        if "NOTES_FOLDER" in os.environ:
            embedded.serve(engine, Path(os.environ["NOTES_FOLDER"]))
    if os.environ["NOTES_MAIN"] == "sqlite://":
        db.create_all()
        db.session.add_all([Note(text="first"), Note(text="second")])
        db.session.commit()
