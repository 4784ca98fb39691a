"""A database beside an application's own, which a run may be told to test on."""

from __future__ import annotations

import sqlalchemy as sa

from flask_branches import configured, record

TESTS = """
    import pytest
    from notes import Note, db
    import sqlalchemy as sa

    ROWS = 1000

    @pytest.mark.branches(isolation="none")
    def test_it_has_its_rows_and_what_is_missing(app, branch, database_url):
        assert db.session.scalar(sa.text("SELECT count(*) FROM product")) == ROWS
        assert db.session.query(Note).count() == 0
        print("on:", branch.name)

    @pytest.mark.branches(isolation="branch")
    def test_a_copy_of_it(app, own_branch):
        assert db.session.scalar(sa.text("SELECT count(*) FROM product")) == ROWS
        db.session.add(Note(text="of the copy"))
        db.session.commit()

    def test_rolled_back(app):
        db.session.execute(sa.text("DELETE FROM product"))
        db.session.add(Note(text="rolled back"))
        db.session.commit()

    @pytest.mark.branches(isolation="branch")
    def test_another_copy_of_it(app, own_branch):
        assert db.session.scalar(sa.text("SELECT count(*) FROM product")) == ROWS
"""


class Existing:
    """A database that is not the application's own, with rows, and without one of its tables."""

    def __init__(self, url: str) -> None:
        self.url = url

    def content(self) -> list[tuple[str, int]]:
        """Its tables and how many rows they have."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            tables = sorted(sa.inspect(connection).get_table_names())
            return [(name, connection.scalar(sa.text(f"SELECT count(*) FROM {name}"))) for name in tables]  # noqa: S608


def adopt(existing: Existing) -> None:
    """Put a record on it."""
    url = sa.make_url(existing.url)
    made = record.made("copy", parent=None, main=None, expires_at=None)
    configured.backend_for(url).adopt(url, made)
