"""Test runs on Neon, each in a project of its own, on a production of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.neon.runs.guests import APPS, CONFTEST, TESTS, Production, lead
from tests.plugin.conftest import project as folder
from tests.plugin.projects import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulator.running import Emulator
    from tests.emulator.running import Project as NeonProject

__all__ = ["folder"]

collect_ignore = ["apps"]


@pytest.fixture
def production(emulator: Emulator, project: NeonProject) -> Production:
    """A database on the default branch, with rows, one migration behind the code."""
    made = Production(emulator, project)
    made.fill()
    return made


@pytest.fixture
def guests(folder: Project, production: Production) -> Project:
    """The application's project, led to production."""
    shutil.copytree(APPS, folder.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    folder.ini("branches_app = guests:create_app")
    folder.files(conftest=CONFTEST, test_guests=TESTS)
    lead(folder, production)
    return folder
