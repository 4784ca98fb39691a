"""What must never be tested on, and what may: an existing branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.existing import Existing, adopt
from tests.plugin.production import ROWS
from tests.plugin.projects import on_a_server

if TYPE_CHECKING:
    from tests.plugin.production import Databases, Production
    from tests.plugin.projects import Project


def test_one_without_a_record_is_refused(notes: Project, existing: Existing) -> None:
    """In one line, before anything is written."""
    before = existing.content()
    result = notes.run(f"--branches-url={existing.url}", "-n0")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.errlines if line)
    assert line.startswith("ERROR: --branches-url leads to ")
    assert "has no record that says it may be tested on. Make a branch with: flask branches create; or mark" in line
    assert existing.content() == before


@pytest.mark.parametrize("place", ["option", "environment", ".env.test"])
def test_the_application_s_own_database_is_refused(shop: Project, production: Production, place: str) -> None:
    """Wherever it is named."""
    named = {"option": "--branches-url", "environment": "BRANCHES_URL", ".env.test": "DATABASE_URL in .env.test"}
    if place == "environment":
        shop.variable("BRANCHES_URL", production.url)
    elif place == ".env.test":
        (shop.folder / ".env.test").write_text(f"DATABASE_URL={production.url}\n")
    before = production.content()
    shop.files(test_shop="def test_a(app): pass")
    arguments = [f"--branches-url={production.url}"] if place == "option" else []

    line = shop.refused(*arguments)
    assert line.startswith(f"{named[place]} leads to ")
    assert "the application's own database, which tests never write to. Make a branch with: flask" in line
    assert production.content() == before


def test_an_adopted_one_is_used_as_it_is(notes: Project, existing: Existing) -> None:
    """Its rows are kept, the missing table is made, and a test that asks gets a copy; all but that stays in it."""
    adopt(existing)
    result = notes.run(f"--branches-url={existing.url}", "-n0", "-s")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["branches: * itself, because --branches-url names it", "*on: copy*"])
    assert dict(existing.content()) == {"alembic_version": 1, "note": 0, "product": ROWS}
    assert notes.left() == []


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_one_may_be_left_unmigrated(notes: Project, existing: Existing, workers: str) -> None:
    """The code of an earlier release does not know the revision that it is at; here the missing table stays missing."""
    adopt(existing)
    notes.files(test_notes="def test_a(database_url): pass")

    result = notes.run(f"--branches-url={existing.url}", "--branches-migrate=never", workers)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("branches: * itself, not migrated, because --branches-url names it")
    assert dict(existing.content()) == {"alembic_version": 1, "product": ROWS}


def test_workers_get_copies_of_it(notes: Project, existing: Existing) -> None:
    """No two of them write to one database; named by .env.test, as a file that a build writes."""
    adopt(existing)
    (notes.folder / ".env.test").write_text(f"DATABASE_URL={existing.url}\n")
    result = notes.run("-n2")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines("branches: * itself, because DATABASE_URL in .env.test names it")
    assert dict(existing.content()) == {"alembic_version": 1, "note": 0, "product": ROWS}
    assert notes.left() == []


@on_a_server
def test_an_application_on_files_on_a_server_s_branch(notes: Project, existing: Existing, databases: Databases) -> None:
    """The backend that a variable names as well is the URL's, and need not be the application's."""
    adopt(existing)
    notes.variable("DATABASE_URL", None)
    notes.variable("BRANCHES_BACKEND", "postgres")
    notes.run(f"--branches-url={existing.url}", "-n0").assert_outcomes(passed=4)

    assert [name for name in databases.names() if "test-" in name] == []


ITS_OWN_WAY = """
    import pytest
    import sqlalchemy as sa
    from shop import Product, create_app, db

    @pytest.fixture
    def app():
        app = create_app()
        with app.app_context():
            db.create_all()
        yield app
        with app.app_context():
            db.drop_all()
"""
ALONE = """
    import pytest
    from flask_branches import Refused
    from shop import Product, create_app, db

    def test_by_an_application_of_its_own():
        app = create_app()
        with app.app_context():
            db.session.add(Product(name="pen"))
            with pytest.raises(Refused, match="the application's own database, which nothing connects to while"):
                db.session.commit()

    def test_by_a_connection_that_knows_no_engine():
        app = create_app()
        with app.app_context(), pytest.raises(Refused, match="own database"):
            db.engine.raw_connection()

    def test_by_a_fixture_that_takes_no_branch(request):
        with pytest.raises(Refused, match="take the fixture branch and use its URL"):
            request.getfixturevalue("app")
"""
LATE = """
    from shop import Product, create_app, db
    import pytest

    @pytest.fixture
    def app(branch):
        app = create_app()
        yield app
        with app.app_context(), pytest.raises(Exception, match="the application's own"):
            db.drop_all()

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_an_application_that_was_not_told(app, time):
        db.session.add(Product(name="pen"))
        db.session.commit()
        assert db.session.query(Product).filter_by(name="pen").count() == 1
        assert "test-" in db.engine.url.database
"""


def test_nothing_in_a_run_reaches_it(shop: Project, production: Production) -> None:
    """Neither a fixture that makes and drops tables on it, nor a test with an application of its own."""
    shop.files(conftest=ITS_OWN_WAY, test_alone=ALONE, test_late=LATE)
    before = production.content()
    shop.run().assert_outcomes(passed=5)

    assert production.content() == before
    assert shop.left() == []


def test_no_migration_reaches_it(shop: Project, production: Production) -> None:
    """Also where an env.py looks for its database by itself, and where migrations are pending."""
    before = production.content()
    versions = shop.folder / "migrations" / "versions"
    (versions / "0002_second.py").write_text(SECOND)
    shop.files(test_shop=PENDING)
    shop.run("-n0").assert_outcomes(passed=1)
    assert production.content() == before

    env = shop.folder / "migrations" / "env.py"
    env.write_text(env.read_text().replace("def get_engine(bind_key=None):", ENV))
    line = _complaint(shop.run("-n0"))
    assert "own database, which nothing connects to while tests run" in line
    assert production.content() == before


SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade(engine_name):
    if engine_name != "audit":
        op.add_column("product", sa.Column("price", sa.Integer))
"""
PENDING = """
    import sqlalchemy as sa
    from shop import db

    def test_a(app):
        assert db.session.scalar(sa.text("SELECT count(price) FROM product")) == 0
"""
ENV = """
def get_engine(bind_key=None):
    import os

    from sqlalchemy import create_engine

    return create_engine(os.environ["AUDIT_URL" if bind_key else "DATABASE_URL"])


def not_used(bind_key=None):
"""


def _complaint(result: pytest.RunResult) -> str:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.errlines if line.startswith("ERROR"))
    return line
