"""Two applications that share nothing with `questions`, by the lines that a README shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.production import ROWS
from tests.plugin.projects import CLIENT, on_a_server, on_files

if TYPE_CHECKING:
    from tests.plugin.production import Databases, Production
    from tests.plugin.projects import Project

SHOP_TESTS = """
    import pytest
    from shop import Event, Product, db

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_a_test_finds_nothing_of_the_other(client, time):
        assert client.post("/products/pen").status_code == 201
        assert client.get("/count").text.startswith("{products} products, {events} events")
        assert db.session.query(Product).filter_by(name="pen").one()
        assert db.session.query(Event).filter_by(text="pen is sold").one()

    def test_it_works_on_the_branch(app, branch, database_url):
        assert branch.name.startswith("test-")
        assert database_url == branch.url == db.engine.url.render_as_string(hide_password=False)
        assert db.engines["audit"].url.render_as_string(hide_password=False) == branch.binds["audit"]

    def test_a_test_that_asks_for_neither_is_left_alone():
        from flask import has_app_context

        assert not has_app_context()
"""


@pytest.mark.parametrize("plugin", ["flask", "no:flask"])
@on_files
def test_a_factory_with_a_bind(shop: Project, plugin: str) -> None:
    """One ini line and a fixture that hands the branch over: migrated once, two tests apart, nothing left."""
    if plugin == "no:flask":
        shop.files(conftest=CLIENT + SHOP_APP_ALONE)
    shop.files(test_shop=SHOP_TESTS.format(products=1, events=1))
    result = shop.run(plugins=(plugin,))

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines("branches: sqlite, a branch of nothing, a new database, because no DATABASE_URL is set")
    assert shop.left() == []
    assert len(shop.templates()) == 1
    assert not (shop.folder / "instance" / "shop.sqlite").exists()


SHOP_APP_ALONE = """
    from shop import create_app

    @pytest.fixture(scope="session")
    def app(branch):
        return create_app(branch.url, branch.binds)
"""


def test_its_own_databases_stay_as_they_are(shop: Project, production: Production) -> None:
    """Those that DATABASE_URL names are the parent: full of rows in every test, the same afterwards to the byte."""
    shop.files(test_shop=SHOP_TESTS.format(products=ROWS + 1, events=ROWS + 1))
    before = production.content()
    result = shop.run("-n2")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines("branches: *, a branch of main (*), because DATABASE_URL names its parent")
    assert production.content() == before
    assert shop.left() == []


NOTES_TESTS = """
    import unittest

    import pytest
    from notes import Note, app, db

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_with_the_fixture(app, time):
        assert app.test_client().post("/notes/a").status_code == 201
        assert db.session.query(Note).one().text == "a"

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_an_application_that_was_imported(time):
        client = app.test_client()
        client.post("/notes/a")
        client.post("/notes/b")
        assert client.get("/count").text == "2"
        with app.app_context():
            assert db.session.query(Note).count() == 2

    class TestOld(unittest.TestCase):
        def setUp(self):
            self.client = app.test_client()
            self.client.post("/notes/a")

        def test_once(self):
            assert self.client.get("/count").text == "1"

        test_twice = test_once
"""
NOTES_IN_FIXTURES = """
    import pytest

    @pytest.fixture(scope="session")
    def kept(branch):
        import notes

        with notes.app.app_context():
            notes.db.session.add(notes.Note(text="kept"))
            notes.db.session.commit()

    @pytest.mark.branches
    def test_what_a_session_s_fixture_stores_is_on_the_branch(kept):
        import notes

        assert notes.db.session.query(notes.Note).one().text == "kept"
        assert notes.db.engine.url.database.endswith("-master.sqlite")
        notes.db.session.query(notes.Note).delete()
        notes.db.session.commit()

    @pytest.mark.branches
    def test_a_test_s_own_changes_are_not(kept):
        import notes

        assert notes.db.session.query(notes.Note).one().text == "kept"
"""


@on_files
def test_a_module_level_application(notes: Project) -> None:
    """It works on the branch until the run is over, for a fixture, for whoever imports it, and for a TestCase."""
    notes.files(test_notes=NOTES_TESTS, test_session=NOTES_IN_FIXTURES)
    result = notes.run()

    result.assert_outcomes(passed=8)
    assert notes.left() == []
    assert not (notes.folder / "instance" / "notes.sqlite").exists()


@on_a_server
def test_a_module_level_application_on_postgres(notes: Project, databases: Databases) -> None:
    """The same on a server, whose database then has nothing, not even a table."""
    notes.variable("DATABASE_URL", databases.make("notes"))
    notes.files(test_notes=NOTES_TESTS)
    notes.run("-n2").assert_outcomes(passed=6)

    assert [name for name in databases.names() if "template" not in name] == []


UNTOUCHED = """
    import sys

    def test_nothing_heavy_is_imported(request):
        assert not {"flask", "sqlalchemy", "alembic", "flask_branches"}.intersection(sys.modules)
        assert not any(type(plugin).__name__ == "Course" for plugin in request.config.pluginmanager.get_plugins())
"""


@on_files
def test_a_project_that_does_not_name_its_application_pays_nothing(project: Project) -> None:
    """The plugin then imports neither Flask nor SQLAlchemy nor Alembic, and says nothing."""
    project.ini()
    project.files(test_untouched=UNTOUCHED)
    result = project.run(plugins=())

    result.assert_outcomes(passed=1)
    assert "branches:" not in result.stdout.str()


@on_files
def test_a_run_that_asks_for_no_branch_makes_none(shop: Project) -> None:
    """Where no test that runs has to do with the application, there is not even a template."""
    shop.files(test_shop=SHOP_TESTS.format(products=1, events=1))
    shop.run("-k", "left_alone").assert_outcomes(passed=1, deselected=3)

    assert shop.templates() == []


ASKING = """
    import pytest

    def test_a(branch):
        pass

    @pytest.mark.branches
    def test_b():
        pass
"""


@on_files
def test_whoever_asks_without_naming_the_application_learns_how(project: Project) -> None:
    """The fixture and the marker say which line is missing, once."""
    project.ini()
    project.files(test_asking=ASKING)
    result = project.run(plugins=())

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        "branches_app is not set: write branches_app = package:create_app in pytest's ini file."
    )
    assert "Traceback" not in result.stdout.str()
