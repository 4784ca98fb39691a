"""The template: migrated once for all workers and all runs, and made anew when it is of no use any more."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from tests.plugin.production import ROWS, add
from tests.plugin.projects import POSTGRES, on_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.plugin.production import Databases, Production
    from tests.plugin.projects import Project

    Until = Callable[[Callable[[], Any]], Any]

TESTS = """
    import pytest
    from shop import Product, db

    @pytest.mark.parametrize("number", range(6))
    def test_a(app, number):
        assert db.session.query(Product).count() == {rows}
"""


@pytest.fixture
def migrated(shop: Project) -> Callable[[], int]:
    """How often the first migration has run by now."""
    file = shop.folder / "migrated"
    file.touch()
    shop.variable("MIGRATED", str(file))
    return lambda: len(file.read_text().splitlines())


@on_files
def test_it_is_migrated_once_whatever_the_number_of_workers(shop: Project, migrated: Callable[[], int]) -> None:
    """By four workers as by none; the next run, with another number of them, uses what there is."""
    shop.files(test_shop=TESTS.format(rows=0))
    shop.run("-n4").assert_outcomes(passed=6)
    assert migrated() == 1

    for workers in ("-n0", "-n1"):
        shop.run(workers).assert_outcomes(passed=6)
    assert migrated() == 1
    assert len(shop.templates()) == 1


@on_files
def test_what_it_was_made_with_is_part_of_its_name(shop: Project, migrated: Callable[[], int]) -> None:
    """Another migration or mask makes another template; a migration that fails leaves nothing half built."""
    shop.files(test_shop=TESTS.format(rows=0))
    shop.run("-n0").assert_outcomes(passed=6)
    (shop.folder / "masked.py").write_text(MASKED)
    shop.ini("branches_app = masked:masked")
    shop.run("-n0").assert_outcomes(passed=6)
    revision = shop.folder / "migrations" / "versions" / "0001_first.py"
    written = revision.read_text()
    revision.write_text(written + "\n# changed\n")
    shop.run("-n0").assert_outcomes(passed=6)
    assert migrated() == 3

    revision.write_text(written.replace("op.create_table", "op.make_table"))
    before = shop.templates()
    message = shop.refused()
    assert message.startswith("The schema could not be brought into the branch 'template-")
    assert message.endswith("AttributeError: module 'alembic.op' has no attribute 'make_table'")
    assert shop.templates() == before
    assert len(before) == 3


MASKED = """
from shop import create_app

def masked():
    app = create_app()
    app.config["BRANCHES_MASKS"] = {"product.name": "'x'"}
    return app
"""


def test_a_changed_parent_makes_another(shop: Project, production: Production) -> None:
    """What has no use any more is deleted: one of the same migrations, whose parent has changed since."""
    shop.files(test_shop=TESTS.format(rows=ROWS))
    shop.run("-n0").assert_outcomes(passed=6)
    (first,) = shop.templates()

    add(production.url, "product", "name", "new")
    shop.files(test_shop=TESTS.format(rows=ROWS + 1))
    shop.run("-n2").assert_outcomes(passed=6)
    assert shop.templates() != [first]
    assert len(shop.templates()) == 1


SLOW = """
import time
from pathlib import Path

if engine_name != "audit" and not Path("go").exists():
    Path("waiting").touch()
    while not Path("go").exists():
        time.sleep(0.01)
"""


def _wait_in_the_migration(shop: Project) -> Path:
    """Let the first migration wait for a file, when its table is made already."""
    revision = shop.folder / "migrations" / "versions" / "0001_first.py"
    lines = "".join(f"    {line}\n" for line in SLOW.strip().splitlines())
    revision.write_text(revision.read_text().replace('    if "MIGRATED" in', f'{lines}    if "MIGRATED" in'))
    return shop.folder / "waiting"


@pytest.fixture
def before_the_migration(shop: Project, request: pytest.FixtureRequest) -> None:
    """On Postgres, empty databases of the shop's own, on a server that stays."""
    if POSTGRES:
        databases: Databases = request.getfixturevalue("databases")
        shop.variable("DATABASE_URL", databases.make("shop"))
        shop.variable("AUDIT_URL", databases.make("audit"))


def test_one_that_was_half_built_is_made_again(
    shop: Project,
    before_the_migration: None,
    migrated: Callable[[], int],
    until: Until,
) -> None:
    """A run that is killed during its migration leaves a template that the next one throws away."""
    waiting = _wait_in_the_migration(shop)
    shop.files(test_shop=TESTS.format(rows=0))
    process = shop.start("-n0")
    until(waiting.exists)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (shop.folder / "go").touch()

    shop.run("-n0").assert_outcomes(passed=6)
    assert migrated() == 1
    assert len(shop.templates()) == 1


def test_two_runs_at_once_share_it(
    shop: Project,
    before_the_migration: None,
    migrated: Callable[[], int],
    until: Until,
) -> None:
    """The second waits until the first has migrated it."""
    waiting = _wait_in_the_migration(shop)
    shop.files(test_shop=TESTS.format(rows=0))
    processes = [shop.start("-n2"), shop.start("-n0")]
    until(waiting.exists)
    (shop.folder / "go").touch()

    assert [process.wait(120) for process in processes] == [0, 0], shop.said()
    assert migrated() == 1
    assert shop.left() == []


LONG = """
    import time
    from pathlib import Path

    import pytest
    from shop import Product, db

    @pytest.mark.branches(isolation="branch")
    @pytest.mark.parametrize("number", range(2))
    def test_a(app, number):
        assert db.session.query(Product).count() == {rows}
        Path("running").touch()
        while not Path("changed").exists():
            time.sleep(0.01)
"""


def test_a_run_keeps_the_one_that_it_began_with(shop: Project, production: Production, until: Until) -> None:
    """While another run, after the parent has changed, makes its own; which the third one then finds alone."""
    shop.files(test_shop=LONG.format(rows=ROWS))
    process = shop.start("-n0", "test_shop.py")
    until((shop.folder / "running").exists)
    add(production.url, "product", "name", "new")
    shop.files(test_other=TESTS.format(rows=ROWS + 1))
    shop.run("-n0", "test_other.py").assert_outcomes(passed=6)
    (shop.folder / "changed").touch()

    assert process.wait(120) == 0, shop.said()
    shop.run("-n0", "test_other.py").assert_outcomes(passed=6)
    assert len(shop.templates()) == 1
