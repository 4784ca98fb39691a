"""The tables of the shop; copied into the folder that Flask-Migrate makes, whose env.py is as it comes."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade(engine_name: str) -> None:
    """Make them; and leave a line where a test counts the times."""
    if engine_name == "audit":
        op.create_table("event", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String(80)))
        return
    op.create_table(
        "product",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(40), nullable=False, unique=True),
    )
    if "MIGRATED" in os.environ:
        with Path(os.environ["MIGRATED"]).open("a") as file:
            file.write("once\n")


def downgrade(engine_name: str) -> None:
    """Nobody goes back."""
