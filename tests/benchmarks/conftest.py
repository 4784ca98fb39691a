"""Measurements: two figures of one run and their ratio, shown at the run's end. No test asserts a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_LINES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured."""
    if lines := config.stash.get(_LINES, []):
        terminalreporter.section("ratios")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture
def ratio(pytestconfig: pytest.Config) -> Callable[[str, float, float, str], float]:
    """Note two figures, what they are and their unit; gives the second as a multiple of the first."""
    lines = pytestconfig.stash.setdefault(_LINES, [])

    def note(what: str, first: float, second: float, unit: str) -> float:
        lines.append(f"{second / first:8.2f}  {what}: {first:,.4g} and {second:,.4g} {unit}")
        return second / first

    return note
