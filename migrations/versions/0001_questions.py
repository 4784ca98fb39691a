"""questions

Revision ID: 0001
Revises:
Create Date: 2026-11-24
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    no_nul = sa.CheckConstraint(
        "instr(title, char(0)) = 0 AND instr(description, char(0)) = 0", name="ck_questions_no_nul"
    )
    op.create_table(
        "questions",
        sa.Column("id", sa.Integer() if sqlite else sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("title", sa.String(100), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("search", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("length(title) BETWEEN 1 AND 100", name="ck_questions_title_length"),
        sa.CheckConstraint("length(description) BETWEEN 1 AND 20000", name="ck_questions_description_length"),
        *([no_nul] if sqlite else []),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("questions")
