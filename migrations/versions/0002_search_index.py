"""an index for the search

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-29
"""

import logging

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_log = logging.getLogger("questions.migrations")
_INDEX = "ix_questions_search_trgm"


def upgrade() -> None:
    """Index the search by trigrams where the server has pg_trgm and lets this role create it; search works without."""
    if op.get_context().dialect.name == "sqlite":
        return
    create_extension = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
    if op.get_context().as_sql:
        op.execute(create_extension)
    else:
        try:
            with op.get_bind().begin_nested():
                op.execute(create_extension)
        except sa.exc.DBAPIError as error:
            _log.warning("no index for the search: %s", str(error.orig).strip())
            return
    # A table that has rows has writers, which a plain CREATE INDEX keeps waiting; the other one waits for all of the
    # database's transactions, and several processes that make a new database at once would wait for each other.
    if op.get_context().as_sql or op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM questions)")):
        with op.get_context().autocommit_block():
            _create_index(concurrently=True)
    else:
        _create_index(concurrently=False)


def _create_index(*, concurrently: bool) -> None:
    op.create_index(
        _INDEX,
        "questions",
        ["search"],
        postgresql_using="gin",
        postgresql_ops={"search": "gin_trgm_ops"},
        postgresql_concurrently=concurrently,
        if_not_exists=True,  # somebody may have made it by hand, where the search was slow
    )


def downgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        with op.get_context().autocommit_block():
            op.drop_index(_INDEX, "questions", if_exists=True, postgresql_concurrently=True)
