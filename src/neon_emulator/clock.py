"""The clock of the API, which can be moved on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from neon_emulator.state.models import Jump

if TYPE_CHECKING:
    from neon_emulator.state.store import Store


class Clock:
    """The time that the API tells: the machine's, and what it was moved on by.

    Args:
        store: where the jumps are kept, so that times of the past keep their meaning.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.session() as session:
            jumps = session.scalars(sa.select(Jump).order_by(Jump.id))
            self._jumps = tuple((jump.at, timedelta(seconds=jump.seconds)) for jump in jumps)

    def now(self) -> datetime:
        """The emulated time."""
        return datetime.now(UTC) + self._total()

    @property
    def offset(self) -> float:
        """Seconds that the emulated time is ahead of the machine's."""
        return self._total().total_seconds()

    def advance(self, seconds: float) -> datetime:
        """Move the clock on, and return the new time.

        Args:
            seconds: how far, at least 0: time does not go back.

        Raises:
            ValueError: for a negative number, or one beyond what a calendar has.
        """
        if not seconds >= 0:  # which NaN is not either
            raise ValueError(f"The clock cannot go on by {seconds} seconds: name a number that is not negative.")
        try:
            step = timedelta(seconds=seconds)
            self.now() + step
        except OverflowError as error:
            raise ValueError(f"{seconds} seconds lead beyond the calendar: name a smaller number.") from error
        with self._store.session() as session:
            at = datetime.now(UTC)
            session.add(Jump(at=at, seconds=step.total_seconds()))
            self._jumps = (*self._jumps, (at, step))
        return self.now()

    def reset(self) -> None:
        """Go back to the machine's time."""
        with self._store.session() as session:
            session.execute(sa.delete(Jump))
            self._jumps = ()

    def from_machine(self, time: datetime) -> datetime:
        """The emulated time of a moment of the machine's clock."""
        return time + sum((step for at, step in self._jumps if at <= time), timedelta())

    def to_machine(self, time: datetime) -> datetime:
        """The moment of the machine's clock at an emulated time; for one inside of a jump, the jump's moment."""
        passed = timedelta()
        for at, step in self._jumps:
            if time < at + passed:
                break
            if time < at + passed + step:
                return at
            passed += step
        return time - passed

    def _total(self) -> timedelta:
        return sum((step for _, step in self._jumps), timedelta())
