"""The guests.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "guest", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("name", sa.String(), nullable=False)
    )


def downgrade() -> None:
    op.drop_table("guest")
