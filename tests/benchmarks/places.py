"""Places to measure in: folders on file systems of each kind."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flask_branches.backends.postgres_clone import _can_clone

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 2**20
_IMAGE = 12 * 1024 * MB
_MAKING = {"xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"], "btrfs": ["mkfs.btrfs", "-q"]}


@dataclass(frozen=True)
class Place:
    """A folder, and what it lies on."""

    name: str
    folder: Path

    def __str__(self) -> str:
        found = subprocess.run(["stat", "-f", "-c", "%T", self.folder], capture_output=True, text=True, check=False)
        return f"{self.name} ({found.stdout.strip() or 'unknown'})"

    def has_room_for(self, size: int) -> bool:
        """Whether a database, its copy, and a log of both fit in."""
        return shutil.disk_usage(self.folder).free > (5 * size + 1024) * MB


@contextmanager
def folder_in(base: str) -> Iterator[Path]:
    """A folder that a server's account can enter."""
    folder = Path(tempfile.mkdtemp(prefix="flask_branches-", dir=base))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def reflink() -> Iterator[Path]:
    """A file system that shares blocks: the disk's own, or one mounted from a file, where this account may mount."""
    with folder_in("/var/tmp") as folder:  # noqa: S108  made with a name that nobody guesses
        if _can_clone(folder):
            yield folder
            return
        image, mounted = folder / "image", folder / "mounted"
        if shutil.disk_usage(folder).free < _IMAGE:
            pytest.skip("there is no room for a file system in a file")
        mounted.mkdir()
        with image.open("wb") as file:
            file.truncate(_IMAGE)
        if not any(_mount(kind, image, mounted) for kind in _MAKING):
            pytest.skip("no file system that shares blocks: none can be mounted (root, mkfs.xfs or mkfs.btrfs)")
        try:
            mounted.chmod(0o755)
            yield mounted
        finally:
            subprocess.run(["umount", mounted], check=True)


def _mount(kind: str, image: Path, mounted: Path) -> bool:
    try:
        commands: list[list[str | Path]] = [[*_MAKING[kind], image], ["mount", "-o", "loop", image, mounted]]
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
