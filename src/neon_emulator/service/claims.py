"""What requests that are under way have laid their hands on, before the state knows of it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neon_emulator.engine import EngineGone
from neon_emulator.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Reserved:
    """A branch that is being made, which counts and keeps its name as if it were there."""

    id: str
    project_id: str
    name: str
    root: bool = False
    protected: bool = False


@dataclass
class Claim:
    """What one request has laid its hands on, until it ends; `generation` is that of the engine it works with."""

    generation: int
    taken: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    reserved: list[Reserved] = field(default_factory=list)


class Claims:
    """The claims of all requests.

    A branch is taken to be changed, by one request at a time, and shared to be copied from. Where a claim depends on
    the state, it is made inside of a session of the store, so that nothing comes between.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: list[Claim] = []
        self._generation = 0

    @contextmanager
    def claim(self) -> Iterator[Claim]:
        """A claim, empty at first, for as long as the block."""
        with self._lock:
            claim = Claim(self._generation)
            self._claims.append(claim)
        try:
            yield claim
        finally:
            with self._lock:
                self._claims = [other for other in self._claims if other is not claim]

    def renew(self) -> None:
        """Say that what is not in the state by now is gone: the engine is another one, or everything was deleted."""
        with self._lock:
            self._generation += 1

    def check_current(self, claim: Claim) -> None:
        """Refuse to write down what an engine has made that is no longer there.

        Raises:
            EngineGone: where another has taken its place since the claim was begun.
        """
        with self._lock:
            if claim.generation != self._generation:
                raise EngineGone("the emulator was reset, or its supervisor has ended, before this was done: try again")

    def take(self, claim: Claim, branch_id: str) -> None:
        """Claim a branch alone.

        Raises:
            Busy: where another request has a hand on it.
        """
        with self._lock:
            if any(branch_id in other.taken | other.shared for other in self._claims if other is not claim):
                raise Busy
            claim.taken.add(branch_id)

    def share(self, claim: Claim, branch_id: str) -> None:
        """Claim a branch together with others who only read it.

        Raises:
            Busy: where another request is changing it.
        """
        with self._lock:
            if any(branch_id in other.taken for other in self._claims if other is not claim):
                raise Busy
            claim.shared.add(branch_id)

    def reserve(self, claim: Claim, branch: Reserved) -> None:
        """Count a branch that is being made, and keep its name."""
        with self._lock:
            claim.reserved.append(branch)

    def reserved(self, project_id: str) -> list[Reserved]:
        """The branches of a project that are being made; some may be in the state already."""
        with self._lock:
            return [one for claim in self._claims for one in claim.reserved if one.project_id == project_id]
