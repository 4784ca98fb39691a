"""Unbound extensions: the factory joins them to an application, and nothing here holds one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from flask_branches import Branches


class Base(DeclarativeBase):
    """What the models inherit from."""


# A commit leaves objects as they are: an answer shows what its request stored, not what another has stored since.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
migrate = Migrate()
branches = Branches()

if TYPE_CHECKING:
    Model = Base  # Flask-SQLAlchemy makes its Model at run time, where no type checker follows
else:
    Model = db.Model
