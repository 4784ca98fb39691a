"""The commands of the emulator's page that need Neon's own command line."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.emulator.test_page import NEONCTL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.emulator.neonctl.command import Node
    from tests.emulator.running import Emulator

pytestmark = pytest.mark.neonctl


def test_neonctl_as_the_page_has_it(own_emulator: Callable[..., Emulator], node: Node, tmp_path: Path) -> None:
    """In a shell that has read the lines which `serve` prints, they work as they stand there."""
    script = node.folder / "node_modules" / "neonctl" / "bin" / "cli.js"
    command = tmp_path / "neonctl"
    command.write_text(f'#!/bin/sh\nexec {shlex.join([str(node.program), str(script)])} --no-analytics "$@"\n')
    command.chmod(0o700)
    exported = own_emulator().exported
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"} | exported
    ended = subprocess.run(
        ["bash", "-ec", NEONCTL], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "neondb_owner" in ended.stdout.splitlines()[-3]
