"""Neon's own command line as a program that a test runs."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SECONDS = 120.0


@dataclass(frozen=True)
class Node:
    """Node.js, and the folder that the clients are installed in."""

    program: Path
    folder: Path

    def run(self, *command: str | Path, env: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program of JavaScript to its end, and return what it said, whatever its status."""
        settings: dict[str, Any] = {"cwd": self.folder, "stdin": subprocess.DEVNULL, "timeout": _SECONDS}
        return subprocess.run(
            [os.fspath(word) for word in (self.program, *command)],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            **(settings | options),
        )


@dataclass
class Refused(Exception):
    """A command that ended with another status than 0; `said` is what it said about it."""

    status: int
    said: str


@dataclass(frozen=True)
class Neonctl:
    """The command, as a user of the emulator runs it: told where the API is by its environment alone."""

    node: Node
    env: dict[str, str] = field(repr=False)

    def __call__(self, *words: str, **options: Any) -> str:
        """Run a command, and return what it printed.

        Raises:
            Refused: where it failed.
        """
        script = self.node.folder / "node_modules" / "neonctl" / "bin" / "cli.js"
        config = Path(self.env["HOME"]) / "config"
        fixed = ("--no-analytics", "--no-color", "--config-dir", str(config))
        # What stands after `--` is for psql, so that the command's own options stand first.
        result = self.node.run(script, *fixed, *words, env=self.env, **({"cwd": self.env["HOME"]} | options))
        if result.returncode:
            raise Refused(result.returncode, f"{result.stdout}{result.stderr}".strip())
        return result.stdout

    def json(self, *words: str) -> Any:
        """Run a command, and return what it printed as JSON."""
        printed = self(*words, "--output", "json")
        return json.loads(printed) if printed else None
