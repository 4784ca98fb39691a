"""Which branches outlive a run, until when, and how the report names them, without a password."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from tests.plugin.projects import PASSWORD, on_a_server, on_files

from flask_branches.branch import now

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import pytest
    from tests.plugin.production import Production
    from tests.plugin.projects import Project

    Until = Callable[[Callable[[], Any]], Any]

TESTS = """
    import pytest
    from shop import Event, Product, create_app, db

    def add():
        db.session.add_all([Product(name="pen"), Event(text="pen")])
        db.session.commit()

    def test_green(app): add()

    @pytest.mark.branches(isolation="branch")
    def test_green_on_its_own(app): add()

    @pytest.mark.branches(isolation="branch")
    def test_red_on_its_own(app, own_branch, database_url, branch):
        add()
        settings, url = app.config, branch.url
        print("in between:", database_url)
        assert own_branch.url == "never"

    @pytest.mark.branches(isolation="branch")
    def test_red_in_its_setup(app, own_branch, broken): pass

    @pytest.fixture
    def broken(app, branch):
        add()
        raise RuntimeError(branch.url)
"""
_LINE = re.compile(r"kept (test-\S+) until (\S+): (\S+)")


def _kept(result: pytest.RunResult) -> list[str]:
    return [name for name, _until, _url in _LINE.findall(result.stdout.str())]


def test_failed_keeps_what_a_failure_has_left(shop: Project, production: Production) -> None:
    """The branch of a test that failed, and that of the process that it failed in; the message says how to go on."""
    shop.files(test_kept=TESTS)
    result = shop.run("--branches-keep=failed", "--branches-expire=2d", "-n2")

    result.assert_outcomes(passed=2, failed=1, errors=1)
    kept = _kept(result)
    own = [name for name in kept if name.count("-") > 2]
    assert (len(own), len(kept) - len(own) in {1, 2}) == (2, True)
    result.stdout.fnmatch_lines(["*= branches =*", "with the password: flask branches url NAME; *"])

    assert {each.name for each in shop.made()} == set(kept)
    assert all(each.expires_at > now() + timedelta(days=1) for each in shop.made() if each.expires_at)
    assert shop.flask("branches", "prune").stdout == "Nothing to prune.\n"
    url = next(each.url for each in shop.made() if each.name == own[0])
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM product WHERE name = 'pen'")) == 1


@on_files
def test_always_keeps_all_of_them(shop: Project, until: Until) -> None:
    """Until they expire: then the next run deletes them. Where nothing fails, `failed` keeps none."""
    shop.files(test_kept=TESTS)
    shop.variable("BRANCHES_KEEP", "failed")
    assert _kept(shop.run("-k", "green")) == []
    assert shop.left() == []

    assert len(_kept(shop.run("-k", "green", "--branches-keep=always", "--branches-expire=1s"))) == 2
    assert len(shop.made()) == 2
    until(lambda: all(each.has_expired for each in shop.made()))

    shop.run("-k", "green and own")
    assert shop.left() == []


@on_a_server
def test_a_server_of_the_run_s_own_keeps_nothing(shop: Project) -> None:
    """It goes with the run, and the report says so in place of a name."""
    shop.files(test_kept=TESTS)
    result = shop.run("--branches-backend=postgres", "--branches-keep=always", "-k", "green")

    assert _kept(result) == []
    result.stdout.fnmatch_lines("nothing is kept of a server that was this run's own: set DATABASE_URL")


@on_a_server
def test_the_password_is_in_no_output(shop: Project, production: Production) -> None:
    """Not in values of variables, captured output, messages, nor in the report of what is kept."""
    shop.files(test_kept=TESTS, test_broken="from shop import create_app\nraise RuntimeError(create_app().config)")
    result = shop.run("--branches-keep=failed", "-l", "-vv", "--continue-on-collection-errors", "-n1")

    assert result.parseoutcomes()["failed"] == 1
    assert PASSWORD not in result.stdout.str() + result.stderr.str()
    assert "tester:***@" in result.stdout.str()
    assert PASSWORD not in shop.flask("branches", "list").stdout
    assert PASSWORD in shop.flask("branches", "url", _kept(result)[0]).stdout
