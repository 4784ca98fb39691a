"""Answers that a client must survive, ordered in advance: which requests they meet, how often, and what they do.

A fault is a rule. The rules are looked at in the order in which they were set; the first that matches a request, and
has something left, is the one that it meets. One that has requests to skip lets them go on to the rules after it.
"""

from __future__ import annotations

import functools
import itertools
import re
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from neon_emulator.errors import NotAllowed

if TYPE_CHECKING:
    from collections.abc import Sequence

ANY = "*"
MOST = 1000


@dataclass(frozen=True)
class Effect:
    """What happens to a request that meets a fault.

    `status` is answered in place of the work, or, with `done`, after it. `body` replaces what Neon would say; None
    stands for that. The delays, and `retry_after`, are in seconds. `close` ends the connection without an answer.
    """

    status: int | None = None
    retry_after: int | None = None
    body: object = None
    done: bool = False
    delay_before: float = 0.0
    delay_after: float = 0.0
    close: Literal["before", "after"] | None = None

    @property
    def works(self) -> bool:
        """Whether the work that was asked for is done."""
        return self.close != "before" and (self.status is None or self.done)


@dataclass(frozen=True)
class Fault:
    """A rule: the requests of a method (`*` for any) whose path below `/api/v2` fits a pattern meet an effect.

    `skip` and `left` count the matching requests that still pass, and those that will meet the effect after them.
    """

    method: str
    path: str
    skip: int
    left: int
    effect: Effect
    id: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Whether a request, by its path below `/api/v2`, is one that the rule is about."""
        return self.method in {ANY, method} and _pattern(self.path).fullmatch(path) is not None


class Faults:
    """The rules that are in force; safe to be used by several threads, each match counts once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[int, Fault] = {}
        self._ids = itertools.count(1)

    def add(self, faults: Sequence[Fault]) -> list[Fault]:
        """Put rules after those that are there, and return them with their ids.

        Raises:
            NotAllowed: where it would be more than a thousand; none of them is added then.
        """
        with self._lock:
            if len(self._rules) + len(faults) > MOST:
                raise NotAllowed(
                    f"there are {len(self._rules)} faults, and at most {MOST} are kept: clear them with DELETE first"
                )
            added = [replace(fault, id=next(self._ids)) for fault in faults]
            self._rules.update({fault.id: fault for fault in added})
            return added

    def all(self) -> list[Fault]:
        """Every rule with what is left of it, those with nothing left too."""
        with self._lock:
            return list(self._rules.values())

    def clear(self) -> None:
        """Forget every rule."""
        with self._lock:
            self._rules.clear()

    def meet(self, method: str, path: str) -> Fault | None:
        """The rule that a request meets, counted as met; None for a request that nothing happens to."""
        with self._lock:
            for fault in self._rules.values():
                if not fault.left or not fault.matches(method, path):
                    continue
                if not fault.skip:
                    self._rules[fault.id] = replace(fault, left=fault.left - 1)
                    return fault
                self._rules[fault.id] = replace(fault, skip=fault.skip - 1)
            return None


@functools.lru_cache(maxsize=MOST)
def _pattern(path: str) -> re.Pattern[str]:
    """A path pattern as a regular expression: `**` is any number of segments, `*` one, or a part of one."""
    words = "".join(_segment(segment) for segment in path.removeprefix("/").split("/"))
    return re.compile(words, re.DOTALL)


def _segment(segment: str) -> str:
    if segment == "**":
        return "(?:/[^/]*)*"
    if segment == "*":
        return "/[^/]+"
    return "/" + "[^/]*".join(re.escape(part) for part in segment.split("*"))
