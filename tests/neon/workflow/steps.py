"""The workflow pull-request.yml as GitHub would run it: its own lines, in its own shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.emulator.running import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).parents[3]
WORKFLOWS = CHECKOUT / ".github" / "workflows"
TEXT = (WORKFLOWS / "pull-request.yml").read_text("utf-8")
LINES: list[str] = list(dict.fromkeys(re.findall(r"^ +(?:- )?run: (\S.*)$", TEXT, re.MULTILINE)))
SHELL: list[str] = re.findall(r"^    shell: (.+) \{0\}$", TEXT, re.MULTILINE)[0].split()

_LEFT_OUT = ("BRANCHES_", "DATABASE_URL", "GITHUB_", "HTTP", "http", "QUESTIONS_", "PYTEST_", "COV_")


def line(word: str) -> str:
    """The one line of the workflow that has a word."""
    (found,) = (each for each in LINES if word in each)
    return found


@dataclass
class Runner:
    """A machine of GitHub's: its folder for what is passed on, and the variables that a step has."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, command: str, status: int = 0, **variables: str) -> str:
        """Run a line, look at its status, and give all that it prints."""
        programs = [str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        ended = subprocess.run(
            [*SHELL, "-c", command],
            cwd=CHECKOUT,
            env={**self._environment(), "PATH": os.pathsep.join(programs), **self.variables, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert ended.returncode == status, ended.stdout
        return ended.stdout

    def program(self, name: str, text: str) -> None:
        """Put a program before those of its name that the machine has."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def read(self, name: str) -> str:
        """What was passed on in a file."""
        return (self.folder / name).read_text("utf-8")

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in clean_environment().items() if not name.startswith(_LEFT_OUT)}
        files = {name: str(self.folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        return {**kept, **files, "RUNNER_TEMP": str(self.folder), "PULL_REQUEST": "12", "QUESTIONS_CONFIG": "neon"}


def shown(log: str) -> str:
    """A log as GitHub shows it: what a line has asked to be hidden is hidden from there on."""
    hidden: list[str] = []
    lines = []
    for each in log.splitlines():
        if each.startswith("::add-mask::"):
            value = each.removeprefix("::add-mask::")
            hidden.append(value.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%"))
        for value in hidden:
            each = each.replace(value, "***")  # noqa: PLW2901  as the runner does
        lines.append(each)
    return "\n".join(lines)
