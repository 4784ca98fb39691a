"""An emulator that all of these tests share, with a project of its own for who asks."""

from __future__ import annotations

from tests.emulator.conftest import api, emulator, own_emulator, project

__all__ = ["api", "emulator", "own_emulator", "project"]
