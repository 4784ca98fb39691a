"""Applications on Neon, in projects of their own in an emulator that all tests share; nobody moves its clock."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.branches.conftest import (
    at,
    make_world,
    places,
    spare,
    start,
)
from tests.emulator.running import Emulator

import local_postgres

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Places, World
    from tests.emulator.running import Project

__all__ = ["at", "make_world", "places", "spare", "start"]


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """An application on Neon."""
    return make_world("neon")


@pytest.fixture
def two(make_world: Callable[..., World]) -> World:
    """An application on Neon with a second database, in a bind."""
    return make_world("neon", binds=True)


@pytest.fixture
def project(world: World, places: Places) -> Project:
    """The project of that application."""
    return places.projects["app"]


@pytest.fixture
def own_emulator(places: Places) -> Callable[..., Emulator]:
    """Let this test's projects be in an emulator of its own, with options of its own."""

    def start(*options: str) -> Emulator:
        folder = local_postgres.throwaway_folder()
        places.undo.callback(shutil.rmtree, folder)
        places.emulator = Emulator(folder / "data", options).start()
        places.undo.callback(places.emulator.stop)
        return places.emulator

    return start


@pytest.fixture
def on_free(own_emulator: Callable[..., Emulator]) -> None:
    """Let this test's projects be on Neon's free plan."""
    own_emulator("--plan", "free")
