"""A cluster's past on the disk: copies of its data from time to time, and the write-ahead log since the oldest."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from local_postgres import folders
from neon_emulator.clusters import wal
from neon_emulator.clusters.commands import write_file
from neon_emulator.clusters.copying import remove

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local_postgres import Account
    from neon_emulator.clusters.copies import Taken

_BLOCK = 512
_VISITS = 3  # each keeps one of the few sessions that a server has left when clients have taken all others
_TIMELINE_DIGITS = 8
_SEGMENT_DIGITS = 24


@dataclass(frozen=True)
class Base:
    """A copy of the data, whole from its stop on; `size` in bytes, 0 where it shares its blocks."""

    name: str
    timeline: int
    start: int
    stop: int
    time: datetime
    size: int


class History:
    """What is kept of a cluster's past, in a folder of its own.

    The index is the truth: a base is in it only when it is complete, and the log that a base needs is deleted only
    when the base is in it no more.
    """

    def __init__(self, folder: Path, account: Account) -> None:
        """Take over a folder, or make it; what a killed process has left half-made in it is left out."""
        self.folder = folder
        self._account = account
        self._pins: Counter[str] = Counter()
        self.bases: list[Base] = []
        self.floor: datetime | None = None
        self.visits = asyncio.Semaphore(_VISITS)
        folders.make_private(folder, account)
        folders.make_private(self.wal, account)
        self._load()

    @property
    def wal(self) -> Path:
        """The files of the write-ahead log that the server has put aside."""
        return self.folder / "wal"

    @property
    def start_time(self) -> datetime:
        """The earliest time that is kept; only where there is a base."""
        oldest = self.bases[0].time
        return oldest if self.floor is None else max(oldest, self.floor)

    def data(self, base: Base) -> Path:
        """The folder of a base."""
        return self.folder / base.name

    def new_name(self) -> str:
        """A name for a base to come."""
        return f"base-{secrets.token_hex(8)}"

    def add(self, name: str, taken: Taken, size: int) -> None:
        """Take a complete copy into the index."""
        base = Base(name, taken.label.timeline, taken.label.start, taken.stop, taken.time, size)
        self._save([*self.bases, base], self.floor)

    def at_time(self, time: datetime) -> Base | None:
        """The newest base from which a time can be reached; None where it is not kept."""
        if not self.bases or time < self.start_time:
            return None
        return next((base for base in reversed(self.bases) if base.time <= time), None)

    def at_lsn(self, position: int) -> Base | None:
        """The newest base from which a position can be reached; None where it is not kept."""
        return next((base for base in reversed(self.bases) if base.stop <= position), None)

    @contextmanager
    def pinned(self, base: Base) -> Iterator[None]:
        """Keep a base, and the log since, for the time of a block."""
        self._pins[base.name] += 1
        try:
            yield
        finally:
            self._pins[base.name] -= 1

    def kept_bytes(self) -> int:
        """The room that bases and log take."""
        return sum(map(_room, self.wal.iterdir())) + sum(base.size for base in self.bases)

    async def forget_before(self, time: datetime) -> None:
        """Let go of what lies before a time."""
        floor = time if self.floor is None else max(time, self.floor)
        self._save(self.bases, floor)
        while len(self.bases) > 1 and self.bases[1].time <= floor:
            if not await self.drop_oldest():
                break

    async def drop_oldest(self) -> bool:
        """Delete the oldest base with its part of the log; False where there is no other, or it is being used."""
        if len(self.bases) <= 1 or self._pins[self.bases[0].name]:
            return False
        self._save(self.bases[1:], self.floor)
        await self.sweep()
        return True

    async def sweep(self) -> None:
        """Delete what no base needs."""
        kept = {base.name for base in self.bases}
        doomed = [path for path in self.folder.iterdir() if path.name.startswith("base-") and path.name not in kept]
        if self.bases:
            first = wal.segment_name(self.bases[0].timeline, self.bases[0].start)
            doomed += [path for path in self.wal.iterdir() if _is_before(path.name, first)]
        if doomed:
            await remove(self._account, *doomed)

    def _load(self) -> None:
        try:
            found = json.loads((self.folder / "index.json").read_text())
        except FileNotFoundError:
            return
        bases = [Base(**(each | {"time": datetime.fromisoformat(each["time"])})) for each in found["bases"]]
        self.bases = [base for base in bases if self.data(base).exists()]
        self.floor = datetime.fromisoformat(found["floor"]) if found["floor"] else None

    def _save(self, bases: list[Base], floor: datetime | None) -> None:
        rows = [base.__dict__ | {"time": base.time.isoformat()} for base in bases]
        index = {"bases": rows, "floor": floor.isoformat() if floor else None}
        write_file(self.folder / "index.json", json.dumps(index), self._account)
        self.bases, self.floor = bases, floor


def _is_before(name: str, first: str) -> bool:
    """Whether a file of the log is older than another, on whatever timeline."""
    whole = len(name) >= _SEGMENT_DIGITS and not name.startswith(".")
    return whole and name[_TIMELINE_DIGITS:_SEGMENT_DIGITS] < first[_TIMELINE_DIGITS:]


def _room(path: Path) -> int:
    try:
        return path.stat().st_blocks * _BLOCK
    except FileNotFoundError:  # the server has just given it its name
        return 0
