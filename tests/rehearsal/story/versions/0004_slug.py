"""a name for a question's address

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-29
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Do what looks natural, and takes a second on a hundred rows: nobody can read until all of it is over."""
    op.add_column("questions", sa.Column("slug", sa.String(120)))
    op.execute(r"UPDATE questions SET slug = lower(regexp_replace(title, '\W+', '-', 'g')) || '-' || id")
    op.alter_column("questions", "slug", nullable=False)
    op.create_index("ix_questions_slug", "questions", ["slug"], unique=True)


def downgrade() -> None:
    op.drop_column("questions", "slug")
