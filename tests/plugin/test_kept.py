"""Which branches outlive a run, until when, and how the report names them, without a password."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from tests.plugin.conftest import PASSWORD, on_a_server, on_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugin.conftest import Production, Project

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


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_failed_keeps_what_a_failure_has_left(shop: Project, production: Production, workers: str) -> None:
    """The branch of a test that failed, and that of the process that it failed in; the message says how to go on."""
    shop.files(test_kept=TESTS)
    result = shop.run("--branches-keep=failed", "--branches-expire=2d", workers, "--dist=loadgroup")

    result.assert_outcomes(passed=2, failed=1, errors=1)
    kept = _kept(result)
    own = [name for name in kept if name.count("-") > 2]
    assert (len(own), len(kept) - len(own) in {1, 2}) == (2, True)
    result.stdout.fnmatch_lines(["*= branches =*", "with the password: flask branches url NAME; *"])
    listed = shop.flask("branches", "list").stdout
    assert all(name in listed for name in kept)
    assert shop.flask("branches", "prune").stdout == "Nothing to prune.\n"

    url = shop.flask("branches", "url", own[0]).stdout.strip()
    shop.files(look=f"from shop import create_app, Product, db\napp = create_app({url!r})\n" + LOOK)
    assert shop.pytester.runpython(shop.folder / "look.py").outlines == ["1"]
    for name in kept:
        assert shop.flask("branches", "delete", name).returncode == 0


LOOK = """
with app.app_context():
    print(db.session.query(Product).filter_by(name="pen").count())
    db.engine.dispose()
"""


@on_files
def test_always_keeps_all_of_them_and_never_none(shop: Project) -> None:
    """Until they expire: then the next run deletes them."""
    shop.files(test_kept=TESTS)
    green = ("-k", "green")
    assert _kept(shop.run(*green)) == []
    assert shop.left() == []

    shop.variable("BRANCHES_KEEP", "failed")
    assert _kept(shop.run(*green)) == []
    assert len(_kept(shop.run(*green, "--branches-keep=always", "--branches-expire=1s"))) == 2
    assert len([name for name in shop.left() if name.endswith(".sqlite")]) == 4  # two, and their binds

    shop.variable("BRANCHES_KEEP", None)
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
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_the_password_is_in_no_output(shop: Project, production: Production, workers: str) -> None:
    """Not in values of variables, captured output, messages, nor in the report of what is kept."""
    shop.files(test_kept=TESTS, test_broken="from shop import create_app\nraise RuntimeError(create_app().config)")
    result = shop.run("--branches-keep=failed", "-l", "-vv", "--continue-on-collection-errors", workers)

    assert result.parseoutcomes()["failed"] == 1
    assert PASSWORD not in result.stdout.str() + result.stderr.str()
    assert "tester:***@" in result.stdout.str()
    for name in _kept(result):
        assert PASSWORD not in shop.flask("branches", "list", "--json").stdout
        assert PASSWORD in shop.flask("branches", "url", name).stdout
