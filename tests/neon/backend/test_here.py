"""Which machine it is whose locks hold, and whose folder they are in."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest

from flask_branches import ConfigurationError, here

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the locks are, for the time of a test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    here.place()
    (folder,) = tmp_path.iterdir()
    return folder


def test_a_copied_folder_is_another_place(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of a machine has the file, and not the locks; where it was made it stays the same."""
    place = here.place()
    other = tmp_path / "image"
    shutil.copytree(folder, other / folder.name)

    monkeypatch.setattr(tempfile, "tempdir", str(other))
    copied = here.place()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    assert copied != place == here.place()


@pytest.mark.parametrize("mode", [0o2700, 0o1700])
def test_a_folder_that_nobody_else_may_read_is_ours(folder: Path, mode: int) -> None:
    """Whatever bits its parent has handed down to it."""
    folder.chmod(mode)

    with here.locked("what"):
        assert here.is_held("what")


@pytest.mark.parametrize("mode", [0o750, 0o2750, 0o701])
def test_one_that_is_open_to_others_is_refused(folder: Path, mode: int) -> None:
    """They could hold locks in it, or leave links."""
    folder.chmod(mode)

    with pytest.raises(ConfigurationError, match=r"open to others: remove it, or set TMPDIR\.$"):
        here.place()
