"""The page of flask_branches: its files and commands, as a newcomer would copy them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flask_branches.config import KNOWN
from pytest_branches.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (Path(__file__).parent.parent / "src" / "flask_branches" / "README.md").read_text()
POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"

_FILE = re.compile(r"`([\w.]+)`[^`\n]*(?:\([^)]*\))?:\n\n```\w+\n(.*?)```", re.DOTALL)
_COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
_IN_PYTHON = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "temporary" in block]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """The page's project, in a folder of its own, and a command in it."""
    for name, text in re.findall(_FILE, PAGE):
        (tmp_path / name).write_text(text)
    left_out = ("BRANCHES_", "QUESTIONS_", "PG", "DATABASE_URL", "PYTEST_", "COV_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"

    def run(*command: str) -> str:
        ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    return run


def test_the_tests_of_the_page_pass(run: Callable[..., str]) -> None:
    """On SQLite, with workers, and on a Postgres of the run's own."""
    lines = [line for line in _COMMANDS if line.startswith("pytest")]
    wanted = [line for line in lines if ("postgres" in line) == POSTGRES]
    assert wanted
    for line in wanted:
        assert "2 passed" in run(*shlex.split(line), "-p", "no:cacheprovider")


@pytest.mark.skipif(POSTGRES, reason="commands on SQLite")
def test_the_commands_of_the_page_work(run: Callable[..., str]) -> None:
    """One after another, as they stand there."""
    said = {line: run(*shlex.split(line)) for line in _COMMANDS if line.startswith("flask")}

    (executed,) = (text for line, text in said.items() if " exec " in line)
    assert executed.startswith("sqlite:///")
    assert executed.strip().endswith("third.sqlite")
    (listed,) = (text for line, text in said.items() if line.endswith(" list"))
    assert listed.splitlines()[1].split()[0] == "try-it"


@pytest.mark.skipif(POSTGRES, reason="a script on SQLite")
def test_the_script_of_the_page_works(run: Callable[..., str]) -> None:
    """The branch that it prints is one of its own."""
    (script,) = _IN_PYTHON
    assert run(sys.executable, "-c", script).startswith("Branch(id=")


def test_every_setting_and_option_is_on_the_page() -> None:
    """None is added without a word about it."""
    assert {name for name in KNOWN if f"`{name}`" not in PAGE} == set()
    assert {name for name in OPTIONS if f"`--branches-{name}`" not in PAGE} == set()
