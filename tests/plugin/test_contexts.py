"""Contexts and connections that a project has of its own beside a test's, and how they keep out of its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.projects import CLIENT, SHOP_APP, on_files

if TYPE_CHECKING:
    from tests.plugin.projects import Project

pytestmark = on_files

PUSHED = """
    import pytest
    from shop import Product, create_app, db

    @pytest.fixture(scope="session")
    def app(branch):
        app = create_app(branch.url, branch.binds)
        with app.app_context():
            yield app

    @pytest.fixture(scope="session")
    def seed(app):
        product = Product(name="seed")
        db.session.add(product)
        db.session.commit()
        return product.id  # read anew, in a transaction

    @pytest.fixture(scope="session")
    def kept(app):
        product = Product(name="kept")
        db.session.add(product)
        db.session.commit()
        return product
"""
ACROSS = """
    import pytest
    import sqlalchemy as sa
    from shop import Product, create_app, db

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_a_commit(app, seed, client, time):
        assert client.post("/products/pen").status_code == 201
        db.session.add(Product(name="ink"))
        db.session.commit()
        assert {each.name for each in db.session.query(Product)} - {"kept"} == {"seed", "pen", "ink"}

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_what_was_never_flushed(app, seed, time):
        with db.engine.connect() as connection:
            assert set(connection.scalars(sa.select(Product.name))) - {"kept"} == {"seed"}
        db.session.add(Product(name="never flushed"))

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_an_object_that_a_wider_fixture_has_stored(app, kept, time):
        assert kept.name == "kept"
        kept.name = "changed"
        db.session.commit()
        assert db.session.query(Product).filter_by(name="changed").count() == 1

    def test_the_context_of_another_application(app, seed, branch):
        with create_app().app_context():
            pass
"""


@pytest.mark.parametrize("plugin", ["flask", "no:flask"])
def test_a_context_that_is_there_all_along(shop: Project, plugin: str) -> None:
    """The commonest `app` fixture: its session holds nothing of one test in the next, nor a connection."""
    shop.files(conftest=PUSHED + CLIENT, test_across=ACROSS)
    shop.run("-n0", plugins=(plugin,)).assert_outcomes(passed=7)


FOREIGN = """
    import pytest
    from flask import Flask, current_app
    from shop import Product, create_app, db

    @pytest.fixture(scope="session", autouse=True)
    def another():
        with Flask("another").app_context():
            yield

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_a(app, time):
        assert current_app.name == "shop"
        db.session.add(Product(name="pen"))
        db.session.commit()
        assert db.session.query(Product).count() == 1
"""


def test_a_context_of_another_application(shop: Project) -> None:
    """A test's body is in its own application's."""
    shop.files(test_foreign=FOREIGN)
    shop.run("-n0", plugins=()).assert_outcomes(passed=2)


PAST = """
    import concurrent.futures

    import pytest
    import sqlalchemy as sa
    from flask_branches import IsolationError
    from shop import Product, create_app, db

    @pytest.fixture
    def flask_app(branch):
        return create_app(branch.url, branch.binds)

    def test_an_app_fixture_of_another_name(flask_app):
        flask_app.test_client().post("/products/pen")

    def test_a_second_application(app, branch):
        with create_app(branch.url, branch.binds).app_context(), pytest.raises(IsolationError, match="fixture app"):
            db.session.add(Product(name="pen"))
            db.session.commit()

    def test_an_engine_of_its_own(app, branch):
        engine = sa.create_engine(branch.url)
        with pytest.raises(IsolationError, match="none of those that are rolled back"):
            engine.raw_connection()

    def test_a_connection_that_was_open_before(app, branch, opened):
        with pytest.raises(IsolationError, match="none of those that are rolled back"):
            opened.connect()

    @pytest.fixture
    def opened(branch):
        engine = sa.create_engine(branch.url)
        engine.connect().close()
        return engine

    def test_where_nobody_looks(app, branch):
        with concurrent.futures.ThreadPoolExecutor() as threads:
            threads.submit(sa.create_engine(branch.url).connect)

    @pytest.mark.branches(isolation="branch")
    def test_on_a_branch_of_its_own(app, database_url):
        with sa.create_engine(database_url).begin() as connection:
            connection.execute(sa.insert(Product).values(name="pen"))
        assert db.session.query(Product).count() == 1

    @pytest.mark.branches(data="empty")
    def test_that_has_nothing_to_roll_back(branch):
        pass

    def test_nothing_is_left(app):
        assert db.session.query(Product).count() == 0

    def test_another_file(app, tmp_path):
        file = tmp_path / "another"
        with sa.create_engine(f"sqlite:///file:{file}?uri=true").connect() as connection:
            assert connection.scalar(sa.text("SELECT 1")) == 1
"""


def test_what_goes_past_the_isolation_is_refused(shop: Project) -> None:
    """Whatever connects to the branch of a test that is rolled back, and is not rolled back: with the remedy."""
    shop.files(conftest=SHOP_APP, test_past=PAST)
    result = shop.run("-n0", "-W", "ignore::ResourceWarning")

    result.assert_outcomes(passed=6, failed=2, errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_an_app_fixture_of_another_name - *",
            "FAILED *::test_where_nobody_looks - *",
            "A connection leads to the branch that *: those of the application that the fixture app *",
            "*::test_that_has_nothing_to_roll_back: the marker branches is wrong: what is rolled back is what *",
        ]
    )


LATE = """
    import pytest

    @pytest.fixture
    def plain_client():
        import notes

        return notes.app.test_client()

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_by_a_fixture_of_another_name(plain_client, time):
        plain_client.post("/notes/a")
        assert plain_client.get("/count").text == "1"

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_by_an_import_in_its_body(time):
        from notes import Note, app, db

        with app.app_context():
            db.session.add(Note(text="a"))
            db.session.commit()
            assert db.session.query(Note).count() == 1
"""


def test_a_module_level_application_is_rolled_back_however_it_is_reached(notes: Project) -> None:
    """By tests that name no fixture of ours."""
    notes.files(test_late=LATE)
    notes.run("-n0").assert_outcomes(passed=4)
