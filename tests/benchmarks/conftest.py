"""Measurements: two figures of one run and their ratio, shown at the run's end. No test asserts a time."""

from __future__ import annotations

import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import local_postgres

if TYPE_CHECKING:
    from collections.abc import Callable

    Side = Callable[[], float | None]

_LINES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured, and on what machine."""
    if lines := config.stash.get(_LINES, []):
        terminalreporter.section("ratios")
        terminalreporter.write_line("\n".join([*lines, _machine()]))


@pytest.fixture
def ratio(pytestconfig: pytest.Config) -> Callable[[str, float, float, str], float]:
    """Note two figures, what they are and their unit; gives the second as a multiple of the first."""
    lines = pytestconfig.stash.setdefault(_LINES, [])

    def note(what: str, first: float, second: float, unit: str) -> float:
        lines.append(f"{second / first:8.2f}  {what}: {first:,.4g} and {second:,.4g} {unit}")
        return second / first

    return note


@pytest.fixture(scope="session")
def kind() -> str:
    """The kind of database that the run measures."""
    return os.environ.get("QUESTIONS_CONFIG") or "sqlite"


@pytest.fixture(scope="session")
def service() -> Any:
    """The module of a small application, as the benchmarks' own pytest runs import it."""
    spec = importlib.util.spec_from_file_location("service", Path(__file__).with_name("service.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_pytest(working_directory: Path) -> Callable[..., str]:
    """Run pytest for real in a folder, with the plugins that are named; gives what it says."""
    # As everywhere but where bytecode is switched off: what has been imported once is not compiled again.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(working_directory / "compiled")}

    def run(folder: Path, *arguments: str, **variables: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=folder,
            env={**os.environ, **compiled, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


@pytest.fixture(scope="session")
def medians() -> Callable[..., dict[str, float]]:
    """Run several sides in turn, so that what else the machine does meets all of them; the median seconds of each."""

    def measure(rounds: int, **sides: Side) -> dict[str, float]:
        took: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                began = time.perf_counter()
                told = side()
                took[name].append(time.perf_counter() - began if told is None else told)
        return {name: statistics.median(seconds) for name, seconds in took.items()}

    return measure


def _machine() -> str:
    cpus = Path("/proc/cpuinfo")
    models = [line for line in cpus.read_text().splitlines() if line.startswith("model name")] if cpus.exists() else []
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    try:
        postgres = f"PostgreSQL {local_postgres.find_binaries().version}"
    except local_postgres.LocalPostgresError:
        postgres = "no PostgreSQL"
    return (
        f"on {os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, SQLAlchemy {version('sqlalchemy')}, {postgres}"
    )
