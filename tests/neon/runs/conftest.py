"""Test runs on Neon, each in a project of its own, on a production of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.neon.client.conftest import stub
from tests.neon.runs.guests import APPS, CONFTEST, TESTS, Production, lead
from tests.neon.runs.sweeping import TABLE
from tests.plugin.conftest import project as folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulator.running import Emulator
    from tests.plugin.projects import Project as Folder

__all__ = ["folder", "stub"]

collect_ignore = ["apps"]


@pytest.fixture(scope="session")
def shared_production(emulator: Emulator) -> Iterator[Production]:
    """A database on the default branch, with rows, one migration behind the code: for all tests."""
    client = emulator.client()
    made = Production(emulator, client.project())
    made.fill()
    yield made
    client.http.delete(f"projects/{made.neon.id}")


@pytest.fixture
def production(shared_production: Production) -> Iterator[Production]:
    """The same, without what earlier tests have left: other branches, and faults to come."""
    yield shared_production
    shared_production.clear()


@pytest.fixture
def guests(folder: Folder, production: Production) -> Folder:
    """The application's project, led to production."""
    shutil.copytree(APPS, folder.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    folder.ini("branches_app = guests:create_app")
    folder.files(conftest=CONFTEST, test_guests=TESTS)
    lead(folder, production)
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what has become of the runs in which a request met a fault."""
    table = config.stash.get(TABLE, None)
    if table is not None and table.rows:
        terminalreporter.section("the sweep")
        for line in table.lines():
            terminalreporter.write_line(line)
