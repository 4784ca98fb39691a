"""Runs the migrations, each in a transaction of its own, on a connection that it is given or on the application's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from alembic import context
from flask import current_app, has_app_context

from questions import models  # noqa: F401  fills the metadata
from questions.database import migration_connection, settings
from questions.extensions import db

if TYPE_CHECKING:
    from alembic.operations import MigrationScript
    from alembic.runtime.migration import MigrationContext, MigrationInfo
    from sqlalchemy.engine import Connection

_log = logging.getLogger("questions.migrations")

# Made by a migration where the server allows it, so the models cannot promise it.
_OPTIONAL_INDEXES = {"ix_questions_search_trgm"}


def _include(_object: object, name: str | None, kind: str, _reflected: object, _compared: object) -> bool:
    return not (kind == "index" and name in _OPTIONAL_INDEXES)


def _applied(step: MigrationInfo, **_: object) -> None:
    _log.info("%s %s", "upgraded to" if step.is_upgrade else "downgraded from", step.up_revision_id)


def _drop_empty(_context: MigrationContext, _revision: object, directives: list[MigrationScript]) -> None:
    if getattr(context.config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []
        _log.info("the models and the schema agree: no migration written")


def _options() -> dict[str, Any]:
    given = current_app.extensions["migrate"].configure_args if has_app_context() else {}
    return {
        "render_as_batch": True,
        "compare_type": True,
        **given,
        "transaction_per_migration": True,
        "target_metadata": db.metadata,
        "include_object": _include,
        "on_version_apply": _applied,
        "process_revision_directives": _drop_empty,
    }


def _run(connection: Connection) -> None:
    context.configure(connection=connection, **_options())
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


if context.is_offline_mode():
    context.configure(dialect_name=db.engine.dialect.name, literal_binds=True, **_options())
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    _run(given)
else:
    with migration_connection(settings()) as own:
        _run(own)
