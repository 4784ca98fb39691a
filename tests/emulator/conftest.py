"""Emulators that run, with projects in them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.emulator.running import Client, Emulator, Project

import local_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """An emulator for all tests, which make projects of their own in it; nobody moves its clock."""
    yield from _emulator("shared")


@pytest.fixture
def api(emulator: Emulator) -> Client:
    """A client of the emulator that all tests share."""
    return emulator.client()


@pytest.fixture
def project(api: Client) -> Iterator[Project]:
    """A project of the test's own, in the emulator that all tests share."""
    made = api.project()
    yield made
    api.http.delete(f"projects/{made.id}")


@pytest.fixture
def own_emulator() -> Iterator[Callable[..., Emulator]]:
    """Start an emulator of the test's own, with options of its own: to be killed, or its clock moved."""
    folders: list[Path] = []
    started: list[Emulator] = []

    def start(*options: str, data: Path | None = None) -> Emulator:
        if data is None:
            folders.append(local_postgres.throwaway_folder())
            data = folders[-1] / "data"
        started.append(Emulator(data, options).start())
        return started[-1]

    yield start
    for emulator in started:
        emulator.stop()
    for folder in folders:
        shutil.rmtree(folder)


def _emulator(name: str, *options: str) -> Iterator[Emulator]:
    folder = local_postgres.throwaway_folder()
    emulator = Emulator(folder / name, options).start()
    yield emulator
    assert emulator.stop() == 0
    shutil.rmtree(folder)
