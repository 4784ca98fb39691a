"""pytest-xdist: who makes and who deletes, and what is left when a run ends in whatever way."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from tests.plugin.projects import POSTGRES, on_a_server, on_files

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import sqlalchemy as sa
    from tests.plugin.production import Databases
    from tests.plugin.projects import Project

    Until = Callable[[Callable[[], Any]], Any]

HELPERS = """
    import os
    import time
    from pathlib import Path

    import pytest
    from shop import Event, Product, db

    def note(branch):
        Path(f"seen {branch.name}").touch()

    def add(name):
        db.session.add_all([Product(name=name), Event(text=name)])
        db.session.commit()
"""
CRASH = (
    HELPERS
    + """
    @pytest.mark.parametrize("number", range(4))
    def test_green(app, branch, worker_id, number):
        note(branch)
        assert branch.name.endswith(worker_id)
        add("pen")

    @pytest.mark.branches(isolation="branch")
    def test_green_on_its_own(app):
        add("pen")

    @pytest.mark.branches(isolation="none")
    def test_red(app):
        add("stays")
        assert False

    @pytest.mark.branches(isolation="branch")
    def test_that_takes_its_worker_along(app):
        add("pen")
        os._exit(3)

    @pytest.mark.parametrize("number", range(4))
    def test_after_it(app, branch, worker_id, number):
        note(branch)
        assert branch.name.endswith(worker_id)
        add("pen")
"""
)


class Left:
    """What runs have left behind, wherever that is."""

    def __init__(self, project: Project, databases: Databases | None) -> None:
        self._project = project
        self._databases = databases

    def __call__(self) -> list[str]:
        """Everything but the template."""
        names = self._project.left()
        if self._databases is not None:
            names += [name for name in self._databases.names() if "__template-" not in name]
        return names


@pytest.fixture
def left(shop: Project, request: pytest.FixtureRequest) -> Left:
    """What runs leave; on Postgres, beside empty databases of the shop's own."""
    if not POSTGRES:
        return Left(shop, None)
    databases: Databases = request.getfixturevalue("databases")
    shop.variable("DATABASE_URL", databases.make("shop"))
    shop.variable("AUDIT_URL", databases.make("audit"))
    return Left(shop, databases)


def test_a_worker_that_dies(shop: Project, left: Left) -> None:
    """The one that replaces it has a branch too, no two have the same, and nothing of either is left."""
    shop.files(test_crash=CRASH)
    result = shop.run("-n2")

    result.assert_outcomes(passed=9, failed=2)
    assert len(list(shop.folder.glob("seen *"))) > 1
    assert left() == []


RED = (
    HELPERS
    + """
    @pytest.mark.parametrize("number", range(20))
    @pytest.mark.branches(isolation="branch")
    def test_red(app, number):
        add("pen")
        assert False
"""
)


FAILING_APP = """
    import pytest

    @pytest.fixture(scope="session")
    def app(branch):
        raise RuntimeError("no app today")
"""
SESSION_APP = """
    import pytest
    from shop import Product, create_app, db

    @pytest.fixture(scope="session")
    def app(branch):
        app = create_app(branch.url, branch.binds)
        yield app
        with app.app_context():
            print("at the end:", db.session.query(Product).count(), flush=True)
            db.session.remove()
            db.drop_all()
"""


@on_files
def test_a_run_that_stops_early(shop: Project, left: Left) -> None:
    """With a test's own branch in use; that of the run is there until the last fixture is gone."""
    shop.files(conftest=SESSION_APP, test_red=RED)
    result = shop.run("-x", "-s")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*at the end: 0")
    assert left() == []


@on_files
def test_workers_that_stop_early(shop: Project, left: Left) -> None:
    """At the first failure of either."""
    shop.files(test_red=RED)
    result = shop.run("-n2", "--maxfail=1")

    assert result.parseoutcomes()["failed"] in {1, 2}
    assert left() == []


@on_files
def test_an_app_fixture_that_fails(shop: Project, left: Left) -> None:
    """Its own error is what is shown."""
    shop.files(conftest=FAILING_APP, test_red=RED)
    result = shop.run("-x")

    result.stdout.fnmatch_lines("*RuntimeError: no app today*")
    assert left() == []


WAITING = (
    HELPERS
    + """
    @pytest.mark.branches(isolation="branch")
    @pytest.mark.parametrize("number", range(4))
    def test_waiting(app, branch, own_branch, number):
        note(branch)
        add("pen")
        Path(f"waiting {os.getpid()}").touch()
        while not Path("go").exists():
            time.sleep(0.01)
"""
)


def _waiting(shop: Project, workers: int, until: Until) -> subprocess.Popen[bytes]:
    """A run, all of whose workers are in a test."""
    shop.files(test_waiting=WAITING)
    process = shop.start(f"-n{workers}", "-s")
    until(lambda: len(list(shop.folder.glob("waiting *"))) >= max(workers, 1))
    return process


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, 0), (signal.SIGINT, 2), (signal.SIGTERM, 0), (signal.SIGTERM, 2)]
)
def test_a_signal_ends_a_run_in_order(
    shop: Project,
    left: Left,
    until: Until,
    interruptible: None,
    number: signal.Signals,
    workers: int,
) -> None:
    """Ctrl-C, and what a supervisor sends: nothing is left, the status tells of it, fixtures end on their branch."""
    shop.files(conftest=SESSION_APP)
    process = _waiting(shop, workers, until)
    assert left() != []
    os.kill(process.pid, number)
    (shop.folder / "go").touch()  # or xdist gives its workers ten seconds

    expected = pytest.ExitCode.INTERRUPTED if number == signal.SIGINT else 128 + number
    assert process.wait(60) == expected, shop.said()
    assert workers or "at the end: 0" in shop.said()
    assert left() == []


def test_after_sigkill_prune_knows_what_is_left(shop: Project, left: Left, until: Until) -> None:
    """Only branches that expire, which the command names at once and deletes on demand; not those of a living run."""
    process = _waiting(shop, 2, until)
    assert "Nothing to prune" in shop.flask("branches", "prune").stdout
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    def named() -> list[str]:
        lines = shop.flask("branches", "prune").stdout.splitlines()
        return lines if lines[-1].endswith("say --yes to do so.") else []

    lines = until(named)  # a server notices late that its client has died
    assert {line.split()[0][:5] for line in lines[:-1]} == {"test-"}
    assert all(" expires 20" in line for line in lines[:-1])
    assert left() != []

    assert "deleted." in shop.flask("branches", "prune", "--yes").stdout
    assert left() == []


@pytest.mark.slow
@on_a_server
def test_connections_stay_few(shop: Project, left: Left, server: sa.URL) -> None:
    """Four workers, two databases, and branches of tests' own, on a server that takes twenty."""
    shop.files(test_all=MANY)
    shop.run("-n4").assert_outcomes(passed=24)

    most = max(int(path.name.split()[1]) for path in shop.folder.glob("connections *"))
    assert most <= 17
    assert left() == []


MANY = (
    HELPERS
    + """
    import sqlalchemy as sa

    @pytest.mark.parametrize("number", range(24))
    def test_a(request, app, number):
        add("pen")
        sessions = sa.select(sa.func.count()).select_from(sa.table("pg_stat_activity"))
        used = sessions.where(sa.column("backend_type") == "client backend")
        Path(f"connections {db.session.scalar(used)}").touch()

    @pytest.fixture(autouse=True)
    def _own(request, own_branch):
        pass
"""
)
