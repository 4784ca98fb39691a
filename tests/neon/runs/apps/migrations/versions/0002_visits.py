"""How often each has come.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("guest", sa.Column("visits", sa.Integer(), server_default="1", nullable=False))


def downgrade() -> None:
    op.drop_column("guest", "visits")
