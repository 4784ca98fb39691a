"""An application on a clone, with a case for its one pending migration."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import flask_migrate
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_branches import Branches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rehearsal.corpus.case import Case

BEFORE = "before"
"""The revision that the template is at."""
_ENV = """
from alembic import context
from flask import current_app

db = current_app.extensions["migrate"].db
with db.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=db.metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
_NOTHING = f"""
revision, down_revision = {BEFORE!r}, None
def upgrade(): pass
def downgrade(): pass
"""


@contextmanager
def application(url: str, case: Case, folder: Path) -> Iterator[Flask]:
    """Make it, its migrations in a folder, and enter its context."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text(_ENV)
    (versions / "before.py").write_text(_NOTHING)
    (versions / "case.py").write_text(case.module("case", BEFORE))
    app = Flask("corpus", root_path=str(folder))
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)
    flask_migrate.Migrate(app, db, directory=str(versions.parent))
    branches = Branches(app)
    with app.app_context():
        yield app
        branches.databases.close()
        db.engine.dispose()
