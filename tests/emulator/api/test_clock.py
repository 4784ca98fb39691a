"""The emulated clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from neon_emulator.clock import Clock
from neon_emulator.state.store import Store, UnknownState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A state."""
    made = Store(tmp_path / "state.db")
    yield made
    made.close()


def _about(time: datetime, other: datetime) -> bool:
    return abs(time - other) < timedelta(seconds=30)


def test_machine(store: Store) -> None:
    """A clock that was not moved is the machine's."""
    clock = Clock(store)
    now = datetime.now(UTC)
    assert _about(clock.now(), now)
    assert clock.offset == 0
    assert clock.to_machine(now) == clock.from_machine(now) == now


def test_advance(store: Store) -> None:
    """A clock goes on by what it was moved, each time, and remembers it."""
    clock = Clock(store)
    clock.advance(1000)
    clock.advance(0.5)
    assert clock.offset == 1000.5
    assert _about(clock.now(), datetime.now(UTC) + timedelta(seconds=1000.5))
    again = Clock(store)
    assert (again.offset, again.from_machine(datetime.now(UTC)) > clock.now() - timedelta(seconds=30)) == (1000.5, True)


def test_times_of_the_past(store: Store) -> None:
    """A time from before a jump keeps its meaning, and one inside of a jump means the moment of the jump."""
    clock = Clock(store)
    first = datetime.now(UTC)
    clock.advance(100)
    between = datetime.now(UTC)
    clock.advance(1000)
    last = datetime.now(UTC)
    for moment in (first - timedelta(days=1), first, between, last, last + timedelta(days=1)):
        assert clock.to_machine(clock.from_machine(moment)) == moment
    assert clock.from_machine(first) == first
    assert clock.from_machine(between) == between + timedelta(seconds=100)
    assert clock.from_machine(last) == last + timedelta(seconds=1100)
    assert first <= clock.to_machine(first + timedelta(seconds=50)) <= between
    assert between <= clock.to_machine(between + timedelta(seconds=500)) <= last


def test_extreme_times(store: Store) -> None:
    """The first and the last time of the calendar have a meaning too."""
    clock = Clock(store)
    clock.advance(100)
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert clock.to_machine(first) == first
    assert clock.to_machine(last) == last - timedelta(seconds=100)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e18])
def test_refused(store: Store, seconds: float) -> None:
    """A clock goes neither back nor beyond the calendar."""
    clock = Clock(store)
    with pytest.raises(ValueError, match=r"cannot go on|beyond the calendar"):
        clock.advance(seconds)
    assert clock.offset == 0


def test_reset(store: Store) -> None:
    """A clock that is reset is the machine's again, for good."""
    clock = Clock(store)
    clock.advance(100)
    clock.reset()
    assert (clock.offset, Clock(store).offset) == (0, 0)


def test_another_versions_state(tmp_path: Path, store: Store) -> None:
    """A state that another version has written is refused, and the remedy told."""
    with store._engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 99")
    with pytest.raises(UnknownState, match=r"is of version 99, .*: name an empty folder"):
        Store(tmp_path / "state.db")
