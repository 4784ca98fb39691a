"""pytest as it is met in the wild: what selects, shows and shapes tests, and the shapes that an `app` fixture has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.projects import on_files

if TYPE_CHECKING:
    from tests.plugin.projects import Project

pytestmark = on_files

APPS = """
    import contextlib

    import pytest
    from flask import Flask
    from shop import create_app

    @pytest.fixture(scope="module", params=["one", "two"])
    def app(branch, request):
        made = create_app(branch.url, branch.binds)
        made.config["WHICH"] = request.param
        return made
"""
IN_A_FOLDER = """
    import pytest
    from shop import create_app

    @pytest.fixture
    def app(own_branch):
        return create_app(own_branch.url, own_branch.binds)
"""
OTHER_APPS = """
    import pytest
    from flask import Flask

    @pytest.fixture
    def app(request):
        return request.param
"""
COUNTING = """
    import pytest
    from shop import Product, db

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_rolled_back(app, time):
        db.session.add(Product(name="pen"))
        db.session.commit()
        assert db.session.query(Product).count() == 1
"""
ON_ITS_OWN = """
    from shop import Product, db

    def test_the_fixture_s_branch_is_the_test_s(app, own_branch):
        db.session.add(Product(name="pen"))
        db.session.commit()
        assert db.engine.url.database in own_branch.url
"""
FOREIGN = """
    import pytest
    from flask import Flask, has_app_context

    @pytest.mark.parametrize("app", [object(), Flask("without a database"), None], indirect=True)
    def test_an_app_without_a_database_is_left_alone(app):
        assert not has_app_context()

    @pytest.mark.parametrize("app", ["a parameter"])
    def test_an_argument_that_is_merely_called_so(app):
        assert app == "a parameter"
"""
OTHER_KINDS = """
    import asyncio
    import unittest

    import pytest
    from shop import Product, db

    def documented():
        '''
        >>> 1 + 1
        2
        '''

    @pytest.mark.usefixtures("app")
    class TestOld(unittest.TestCase):
        def setUp(self):
            db.session.add(Product(name="pen"))
            db.session.commit()

        def test_once(self):
            assert db.session.query(Product).count() == 1

        def test_twice(self):
            with self.subTest("again"):
                assert db.session.query(Product).count() == 1

    async def test_in_a_loop(app):
        db.session.add(Product(name="pen"))
        await asyncio.sleep(0)
        db.session.commit()
        assert db.session.query(Product).count() == 1
"""
HOOKS = """
    import asyncio

    import pytest
    from shop import create_app

    @pytest.fixture(scope="session")
    def app(branch):
        return create_app(branch.url, branch.binds)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(pyfuncitem):
        if asyncio.iscoroutinefunction(pyfuncitem.function):
            names = pyfuncitem._fixtureinfo.argnames
            asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
            return True

    class Line(pytest.Item):
        def runtest(self):
            pass

    class Lines(pytest.File):
        def collect(self):
            yield Line.from_parent(self, name="a line")

    def pytest_collect_file(parent, file_path):
        if file_path.suffix == ".lines":
            return Lines.from_parent(parent, path=file_path)
"""


def test_app_fixtures_of_every_shape(shop: Project) -> None:
    """Parametrised, for a module, for a test on its own branch in a folder below; and what is called so and is none."""
    shop.files(conftest=APPS, test_counting=COUNTING)
    for folder, conftest, tests in (("own", IN_A_FOLDER, ON_ITS_OWN), ("foreign", OTHER_APPS, FOREIGN)):
        shop.pytester.mkdir(folder)
        shop.files(**{f"{folder}/conftest": conftest, f"{folder}/test_{folder}": tests})
    result = shop.run("--import-mode=importlib", plugins=())

    result.assert_outcomes(passed=9)
    assert shop.left() == []


def test_items_of_every_kind(shop: Project) -> None:
    """TestCases with subtests, coroutines run by another plugin, doctests, and items that know no fixtures."""
    shop.files(conftest=HOOKS, test_kinds=OTHER_KINDS)
    (shop.folder / "a.lines").touch()
    result = shop.run("--doctest-modules", "--ignore=migrations", "--ignore=shop", "test_kinds.py", "a.lines")

    result.assert_outcomes(passed=5)
    assert shop.left() == []


RED = """
    import pytest
    from shop import Product, db

    def test_green(app): pass

    def test_red(app):
        assert db.session.query(Product).count() == 1
"""


def test_what_selects_and_shows(shop: Project) -> None:
    """None of it makes a branch that no test asks for, or needs a terminal."""
    shop.files(test_red=RED)
    assert shop.run("--collect-only", "-n2").ret == 0
    for option in ("--setup-plan", "--fixtures", "--markers"):
        assert shop.shown(option)
    assert shop.templates() == []

    assert shop.run("-p", "no:terminal").ret == pytest.ExitCode.TESTS_FAILED
    shop.run("--lf").assert_outcomes(failed=1)
    assert shop.left() == []
    assert len(shop.templates()) == 1


def test_from_another_folder(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ini file's folder counts: for the modules, the migrations and .env, wherever pytest is started."""
    shop.files(test_counting=COUNTING)
    shop.variable("MIGRATED", str(shop.folder / "migrated"))
    (shop.folder / ".env").write_text("BRANCHES_KEEP=always\n")
    monkeypatch.chdir(shop.pytester.mkdir("elsewhere"))
    result = shop.run("..")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines("kept test-*")
    assert (shop.folder / "migrated").read_text() == "once\n"


def test_migrations_beside_the_application(shop: Project) -> None:
    """They are found where the ini file stands in a folder of tests; where there are none, the report says so."""
    tests = shop.pytester.mkdir("tests")
    for name in ("tox.ini", "conftest.py"):
        (shop.folder / name).rename(tests / name)
    ini = (tests / "tox.ini").read_text()
    (tests / "tox.ini").write_text(f"{ini}\npythonpath = ..\n")
    (tests / "test_a.py").write_text("def test_a(app): pass\n")
    shop.variable("MIGRATED", str(shop.folder / "migrated"))
    result = shop.run("-c", "tests/tox.ini", "tests")
    result.assert_outcomes(passed=1)
    assert (shop.folder / "migrated").read_text() == "once\n"
    assert "made from the models" not in result.stdout.str()

    (shop.folder / "migrations").rename(shop.folder / "other")
    result = shop.run("-c", "tests/tox.ini", "tests")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("branches: *; no folder of migrations was found, so its tables are made from*")


def test_requests_to_neon_are_told_of_runs_on_neon(shop: Project) -> None:
    """What an application's tests ask by themselves is no cost of a run on another database."""
    shop.files(
        test_asks="""
            from flask_branches.tally import REQUESTS

            def test_asks(app):
                REQUESTS.count()
                assert REQUESTS.number
        """
    )

    result = shop.run()

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*requests to Neon*")
