"""Servers with a big table, of a million rows or of few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.rehearsal.corpus.databases import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rehearsal.corpus.databases import Server


@pytest.fixture(scope="session")
def million() -> Iterator[Server]:
    """With a million rows."""
    with serving(1_000_000) as server:
        yield server


@pytest.fixture(scope="session")
def few() -> Iterator[Server]:
    """With two thousand."""
    with serving(2_000) as server:
        yield server
