"""`@pytest.mark.branches`: its words, how those of class, module and test join, and what each of them does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.plugin.production import ROWS
from tests.plugin.projects import on_files

if TYPE_CHECKING:
    from tests.plugin.production import Production
    from tests.plugin.projects import Project

WRONG = """
    import pytest

    @pytest.mark.branches(isolated="branch")
    def test_unknown(app): pass

    @pytest.mark.branches(isolation="rollbak")
    def test_isolation(app): pass

    @pytest.mark.branches(data="none")
    def test_data(app): pass

    @pytest.mark.branches("branch")
    def test_positional(app): pass

    @pytest.mark.branches(data="empty", isolation=None)
    def test_nothing(database_url): pass
"""
MESSAGES = [
    "test_wrong.py::test_unknown: the marker branches is wrong: got an unexpected keyword argument 'isolated'*",
    "test_wrong.py::test_isolation: the marker branches is wrong: isolation is 'rollbak': say 'rollback', *",
    "test_wrong.py::test_data: the marker branches is wrong: data is 'none': say 'copy' or 'empty'.",
    "test_wrong.py::test_positional: the marker branches is wrong: it takes its words by name, isolation=*",
    "test_wrong.py::test_nothing: the marker branches is wrong: isolation is None: say 'rollback', *",
]


@on_files
def test_a_wrong_word_is_named(shop: Project) -> None:
    """Each by itself, in one line, and the others run."""
    shop.files(test_wrong=WRONG, test_right="def test_right(app): pass")
    result = shop.run("-n0")

    result.assert_outcomes(passed=1, errors=len(MESSAGES))
    result.stdout.fnmatch_lines_random([f"*{message}" for message in MESSAGES])
    assert "Traceback" not in result.stdout.str()
    assert "plugin.py" not in result.stdout.str()


EFFECTS = """
    import pytest
    from shop import Event, Product, db

    ROWS = {rows}
    pytestmark = pytest.mark.branches(isolation="branch")

    def counts():
        return db.session.query(Product).count(), db.session.query(Event).count()

    def add():
        db.session.add_all([Product(name="new"), Event(text="new")])
        db.session.commit()

    def database(request):
        return db.engine.url.render_as_string(hide_password=False)

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_a_branch_of_its_own_by_the_module_s_marker(app, branch, own_branch, database_url, time):
        assert database_url == own_branch.url != branch.url
        assert own_branch.parent == branch.parent
        assert db.engine.url.database in own_branch.url
        assert db.engines["audit"].url.database in own_branch.binds["audit"]
        add()
        assert counts() == (ROWS + 1, ROWS + 1)

    @pytest.mark.branches(data="empty")
    def test_an_empty_branch_of_its_own(app):
        assert counts() == (0, 0)
        add()
        assert db.session.query(Product).one().id == 1

    @pytest.mark.branches(isolation="rollback")
    class TestRollback:
        @pytest.mark.parametrize("time", ["first", "second"])
        def test_by_the_class_s_marker(self, app, branch, database_url, time):
            assert database_url == branch.url
            add()
            assert counts() == (ROWS + 1, ROWS + 1)

        @pytest.mark.branches(data="empty")
        def test_rows_are_gone_in_the_transaction_alone(self, app):
            assert counts() == (0, 0)
            add()
            assert counts() == (1, 1)

        @pytest.mark.branches(isolation="branch", data="empty")
        def test_the_nearest_marker_counts(self, app, own_branch, database_url):
            assert database_url == own_branch.url
            assert counts() == (0, 0)

        @pytest.mark.branches(data="copy")
        @pytest.mark.branches(data="empty")
        def test_of_two_on_one_test_the_nearer_one_counts(self, app):
            assert counts() == (0, 0)

    @pytest.mark.branches(isolation="none")
    class TestNone:
        def test_what_is_committed_stays(self, app, branch, database_url):
            assert database_url == branch.url
            add()

        def test_until_the_run_is_over(self, app):
            assert counts() == (ROWS + 1, ROWS + 1)
"""


def test_what_the_words_do(shop: Project, production: Production) -> None:
    """On a parent full of rows: each isolation with either data, on both of the application's databases."""
    shop.files(test_effects=EFFECTS.format(rows=ROWS))
    before = production.content()
    result = shop.run()

    result.assert_outcomes(passed=10)
    assert production.content() == before
    assert shop.left() == []
