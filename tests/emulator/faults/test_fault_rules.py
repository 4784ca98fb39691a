"""The rules of faults: which requests they are about, and how often they are met."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from neon_emulator.errors import NotAllowed
from neon_emulator.faults.rules import Effect, Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 60.0


@pytest.fixture
def often_switched() -> Iterator[None]:
    """Threads take turns as often as can be, so that they meet in every place."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-7)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/projects", "/projects", True),
        ("/projects", "/projects/a", False),
        ("/projects/*/branches", "/projects/old-violet-1/branches", True),
        ("/projects/*/branches", "/projects/old-violet-1/branches/br-a", False),
        ("/projects/*/branches", "/projects/a/b/branches", False),
        ("/projects/*/branches", "/projects/branches", False),
        ("/projects/*/branches", "/projects//branches", False),
        ("/projects/old-*/branches", "/projects/old-violet-1/branches", True),
        ("/projects/old-*/branches", "/projects/a/b/branches", False),
        ("/projects/**", "/projects/a/branches/b", True),
        ("/projects/**", "/projects", True),
        ("/projects/**", "/projectsabc", False),
        ("/**/restore", "/projects/a/branches/b/restore", True),
        ("/**/restore", "/projects/a/branches/b/restores", False),
        ("/a.b", "/axb", False),
    ],
)
def test_a_path_pattern(pattern: str, path: str, *, fits: bool) -> None:
    """`*` is one segment or a part of it, `**` any number of them, everything else stands for itself."""
    assert Fault("*", pattern, 0, 1, Effect()).matches("GET", path) is fits


@pytest.mark.parametrize(("method", "fits"), [("GET", True), ("*", True), ("POST", False)])
def test_a_method(method: str, *, fits: bool) -> None:
    """A fault meets its own method, or every one."""
    assert Fault(method, "/**", 0, 1, Effect()).matches("GET", "/projects") is fits


def test_faults_under_threads(often_switched: None) -> None:
    """However many threads ask at once, a fault skips and meets as many as it was set for."""
    faults = Faults()
    faults.add([Fault("*", "/**", 300, 500, Effect(status=500))])
    start = threading.Barrier(8)

    def ask() -> int:
        start.wait(DEADLINE)
        return sum(faults.meet("GET", "/projects") is not None for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        met = sum(future.result(DEADLINE) for future in [pool.submit(ask) for _ in range(8)])
    assert (met, faults.all()[0].left) == (500, 0)


def test_too_many_faults() -> None:
    """Beyond a thousand faults none is added, not even those that there would be room for."""
    faults = Faults()
    faults.add([Fault("*", "/**", 0, 1, Effect(status=500))] * 999)
    with pytest.raises(NotAllowed, match=r"there are 999 faults, and at most 1000 are kept"):
        faults.add([Fault("*", "/**", 0, 1, Effect(status=500))] * 2)
    assert len(faults.all()) == 999
