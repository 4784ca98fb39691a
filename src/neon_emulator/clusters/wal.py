"""Positions in the write-ahead log, and the names of its files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from neon_emulator.clusters.server_settings import SEGMENT
from neon_emulator.engine import ClusterFailed

_PER_NAME = (1 << 32) // SEGMENT
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_LABEL = re.compile(r"START WAL LOCATION: (\S+) \(file ([0-9A-F]{8})")


@dataclass(frozen=True)
class Label:
    """What `backup_label` says: the timeline of a copy, and where its recovery begins."""

    timeline: int
    start: int


def parse_lsn(text: str) -> int:
    """A position as a number of bytes.

    Raises:
        ClusterFailed: for a text that is none.
    """
    found = _LSN.fullmatch(text)
    if found is None:
        raise ClusterFailed(f"{text!r} is no position in a write-ahead log: name one such as 0/1DE2850.")
    return (int(found[1], 16) << 32) + int(found[2], 16)


def format_lsn(position: int) -> str:
    """A position as Postgres writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def segment_name(timeline: int, position: int) -> str:
    """The file of the write-ahead log that holds the byte at a position."""
    number = position // SEGMENT
    return f"{timeline:08X}{number // _PER_NAME:08X}{number % _PER_NAME:08X}"


def segment_names(timeline: int, start: int, stop: int) -> list[str]:
    """The files that hold the bytes from a position up to, and without, another."""
    return [segment_name(timeline, at) for at in range(start - start % SEGMENT, stop, SEGMENT)]


def parse_label(text: str) -> Label:
    """What a backup's label says."""
    found = _LABEL.search(text)
    if found is None:
        raise ClusterFailed(f"Postgres wrote a backup label without a start: {text!r}.")
    return Label(int(found[2], 16), parse_lsn(found[1]))


def history_name(timeline: int) -> str:
    """The file that says where a timeline has left its parent."""
    return f"{timeline:08X}.history"


def switch_point(history: str) -> str:
    """The position at which the newest timeline of a history file begins."""
    lines = [line.split("\t") for line in history.splitlines() if line and not line.startswith("#")]
    return lines[-1][1]
