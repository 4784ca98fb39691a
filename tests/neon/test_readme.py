"""The README's commands on Neon, run as they stand there, on an emulator."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from tests.neon.workflow.steps import CHECKOUT, Runner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.emulator.running import Emulator, Project

BLOCKS = re.findall(r"```sh\n(.*?)```", (CHECKOUT / "README.md").read_text("utf-8"), re.DOTALL)
(ACCOUNT,) = (block.strip() for block in BLOCKS if "export NEON_API_KEY" in block)
PAGE = (CHECKOUT / "src" / "flask_branches" / "rehearsal" / "README.md").read_text("utf-8")
(REHEARSE,) = (block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "neon-emulator exec" in block)
(OFFLINE,) = (block.strip() for block in BLOCKS if "neon-emulator exec" in block)

# What tox does with `-e neon`, in the environment that there is, and with enough of the suite for a test.
TOX = f"""#!/bin/sh
test "$*" = "-e neon" || exit 64
QUESTIONS_CONFIG=neon exec {sys.executable} -m pytest -p no:cacheprovider tests/questions/test_search.py
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A machine with a tox that is quick."""
    made = Runner(tmp_path)
    made.program("tox", TOX)
    return made


def test_with_an_account(runner: Runner, emulator: Emulator, project: Project) -> None:
    """The branches are listed, and the suite runs on one of production, which has no table yet and gets none."""
    install, export, *commands = ACCOUNT.splitlines()
    assert install == "pip install -e '.[neon]'"
    assert export == "export NEON_API_KEY=… NEON_PROJECT_ID=…"
    exported = emulator.exported
    given = {name: exported[name] for name in ("NEON_API_HOST", "NEON_API_KEY")} | {"NEON_PROJECT_ID": project.id}

    listed = runner.run(commands[0], 0, **given)
    tested = runner.run("\n".join(commands[1:]), 0, **given)

    assert listed.startswith("main ")
    assert "branches: neon, a branch of main (" in tested
    assert " passed" in tested
    assert [each["name"] for each in project.branches()] == ["main"]
    assert project.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_offline(runner: Runner) -> None:
    """The same command, on the emulator, on a production with rows and a migration to come."""
    install, execute = OFFLINE.splitlines()
    assert install == "pip install -e '.[emulator]'"

    tested = runner.run(execute)

    assert "because DATABASE_URL names its parent" in tested
    assert " passed" in tested
    assert re.search(r"branches: \d requests to Neon's API", tested)


def test_a_rehearsal_offline(runner: Runner) -> None:
    """Of the same production: the migration to come keeps nobody waiting."""
    said = runner.run(REHEARSE)

    assert "Safe to deploy" in said
    assert "0002" in said
