"""The application is loaded before a run has a branch: what it does to its database then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.projects import POSTGRES, on_files

if TYPE_CHECKING:
    from tests.plugin.production import Production
    from tests.plugin.projects import Project

TABLES = """
    from shop import create_app as make, db
    import sqlalchemy as sa

    class Extra(db.Model):
        id = sa.orm.mapped_column(sa.Integer, primary_key=True)

    def create_app(url=None, binds=None):
        app = make(url, binds)
        with app.app_context():
            db.create_all()
        return app
"""
LOOKING = """
    from shop import create_app as make, db
    import sqlalchemy as sa

    def create_app(url=None, binds=None):
        app = make(url, binds)
        with app.app_context():
            app.config["ROWS"] = db.session.scalar(sa.text("SELECT count(*) FROM product"))
        return app
"""
APP = """
    import pytest
    from tutorial import create_app

    @pytest.fixture(scope="session")
    def app(branch):
        return create_app(branch.url, branch.binds)
"""
IMPORTED = """
    import tutorial

    tutorial.create_app()
"""
TESTS = """
    from shop import Product, db

    def test_a(app):
        rows = db.session.query(Product).count()
        db.session.add(Product(name="pen"))
        db.session.commit()
        assert db.session.query(Product).count() == rows + 1 == app.config["ROWS"] + 1
"""
SAID = (
    "The application writes to a database while it is made or imported, which tests never do to one that is named: "
    "take that, such as db.create_all(), out of there, into a migration or a command."
)


@pytest.mark.parametrize("conftest", [APP, IMPORTED], ids=["named", "imported"])
def test_it_writes_nothing_there(shop: Project, production: Production, conftest: str) -> None:
    """As tutorials make their tables: one line says where that belongs, also where a conftest imports it first."""
    shop.ini("branches_app = tutorial:create_app")
    shop.files(tutorial=TABLES, conftest=conftest, test_a=TESTS)
    before = production.content()
    result = shop.run("-n0")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if "writes to" in line][-1].endswith(SAID)
    assert production.content() == before


def test_it_may_look(shop: Project, production: Production) -> None:
    """A factory that reads is as good as another."""
    shop.ini("branches_app = tutorial:create_app")
    shop.files(tutorial=LOOKING, conftest=APP, test_a=TESTS)
    before = production.content()
    shop.run("-n0").assert_outcomes(passed=1)

    assert production.content() == before


@on_files
def test_a_file_that_nobody_has_named_is_the_application_s_own(shop: Project) -> None:
    """The one that it has by itself is made as in every other start of it."""
    shop.ini("branches_app = tutorial:create_app")
    shop.files(tutorial=TABLES, conftest=APP, test_a=TESTS.replace('app.config["ROWS"]', "0"))
    shop.run("-n0").assert_outcomes(passed=1)


ANOTHER = """
    import pytest
    import sqlalchemy as sa
    from shop import create_app

    engine = sa.create_engine({url!r})
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))

    @pytest.fixture(scope="session")
    def app(branch):
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE another (id integer)"))
        return create_app(branch.url, branch.binds)
"""


def test_another_database_of_a_conftest_is_none_of_ours(
    shop: Project, production: Production, request: pytest.FixtureRequest
) -> None:
    """It can be written to, also by a connection that was open while the application was imported."""
    another = f"sqlite:///{shop.folder}/another.sqlite"
    if POSTGRES:
        another = request.getfixturevalue("databases").make("another")
    shop.files(conftest=ANOTHER.format(url=another), test_a="def test_a(app): pass")
    shop.run("-n0").assert_outcomes(passed=1)
