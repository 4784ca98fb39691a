"""The page on rehearsals: its commands and its script, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (Path(__file__).parents[2] / "src" / "flask_branches" / "rehearsal" / "README.md").read_text("utf-8")
_COMMANDS, _OFFLINE = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
_SCRIPT, _ENV = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytestmark = pytest.mark.usefixtures("sqlite_only")


@pytest.fixture
def run(working_directory: Path) -> Callable[..., str]:
    """Run a command in a folder where nothing is yet."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def run(*command: str) -> str:
        ended = subprocess.run(command, cwd=working_directory, env=environ, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


def test_the_commands_of_the_page_work(run: Callable[..., str], working_directory: Path) -> None:
    """What is pending is told, and written down in three forms."""
    said = [run("bash", "-ec", line) for line in _COMMANDS]

    assert "1 revision of questions" in said[1]
    assert {path.suffix for path in working_directory.glob("rehearsal.*")} == {".html", ".json", ".md"}


def test_the_script_of_the_page_works(run: Callable[..., str]) -> None:
    """Inside of an application's context."""
    run("bash", "-ec", _COMMANDS[0])
    inside = "".join(f"    {line}\n" for line in _SCRIPT.splitlines())

    said = run(sys.executable, "-c", f"from questions import create_app\nwith create_app().app_context():\n{inside}")

    assert said == "safe ()\n"
