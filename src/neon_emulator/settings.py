"""What the emulator is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The choices of one emulator.

    Args:
        home: the folder of the state and of the clusters.
        plan: whose limits hold: `free`, `launch` or `scale`.
        branch_delay: seconds that an operation takes after its request was answered; with 0 it is done by then.
        api_key: what every request has to bring.
        pg_version: the major version of the Postgres that the clusters run on.
    """

    home: Path
    plan: str
    branch_delay: float
    api_key: str = field(repr=False)
    pg_version: int
