"""Branches expire, unless their run lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.plugin.conftest import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugin.conftest import Databases, Project

    Until = Callable[[Callable[[], Any]], Any]

WAITING = """
    import time
    from pathlib import Path

    import pytest
    from shop import branches

    @pytest.mark.branches(isolation="branch")
    def test_a(app, branch, own_branch):
        with app.app_context():
            Path("waiting").touch()
            while not Path("go").exists():
                time.sleep(0.01)
"""
SHORT = """
    from shop import Product, db

    def test_b(app):
        assert db.session.query(Product).count() == 0
"""


@pytest.fixture
def own_databases(shop: Project, request: pytest.FixtureRequest) -> None:
    """On Postgres, empty databases of the shop's own, on a server that stays."""
    if POSTGRES:
        databases: Databases = request.getfixturevalue("databases")
        shop.variable("DATABASE_URL", databases.make("shop"))
        shop.variable("AUDIT_URL", databases.make("audit"))


def test_it_is_put_off_while_the_run_lives(shop: Project, own_databases: None, until: Until) -> None:
    """That of the test's own branch too; a run that begins meanwhile deletes what has expired, and none of these."""
    assert shop.flask("branches", "create", "short", "--parent", "empty", "--expires-in", "1s").returncode == 0
    shop.files(test_a=WAITING, test_b=SHORT)
    process = shop.start("test_a.py", "--branches-expire=2s")
    until((shop.folder / "waiting").exists)
    first = _expiries(shop)
    assert len(first) == 2

    until(lambda: all(until_ > first[name] for name, until_ in _expiries(shop).items()))
    assert shop.flask("branches", "prune").stdout == "Nothing to prune.\n"
    shop.run("test_b.py").assert_outcomes(passed=1)
    assert set(_expiries(shop)) == set(first)

    (shop.folder / "go").touch()
    assert process.wait(60) == 0, shop.said()
    assert _expiries(shop) == {}


def _expiries(shop: Project) -> dict[str, str]:
    """When each of the runs' branches expires; of those that a user has made, none is left."""
    lines = shop.flask("branches", "list").stdout.splitlines()[1:]
    words = [line.split() for line in lines if "template-" not in line]
    return {name: moment for name, _, moment, *_ in words}
