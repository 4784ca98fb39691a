from __future__ import annotations

import subprocess
import sys

import local_postgres

_WINDOWS = """
import subprocess, sys, pathlib, importlib.util, importlib.metadata, tempfile, dataclasses
sys.platform = "win32"
sys.modules["fcntl"] = sys.modules["pwd"] = None
import local_postgres
try:
    local_postgres.{call}
except local_postgres.PlatformError as error:
    print(error)
"""


def test_the_public_names_are_sorted_and_complete() -> None:
    """What the package offers is what stands in `__all__`."""
    offered = {name for name, value in vars(local_postgres).items() if callable(value)}
    assert local_postgres.__all__ == sorted(local_postgres.__all__)
    assert {name for name in offered if not name.startswith("_")} <= set(local_postgres.__all__)


def test_every_error_is_drawn_in_the_tree() -> None:
    """Every error is a child of the root, and stands in the drawing."""
    errors = [name for name in local_postgres.__all__ if name.endswith("Error")]
    for name in errors:
        assert issubclass(getattr(local_postgres, name), local_postgres.LocalPostgresError)
        assert name in str(sys.modules["local_postgres.errors"].__doc__)


def test_windows_is_refused_when_it_is_used() -> None:
    """Importing works everywhere; using says what is needed and what to do instead."""
    for call in ("find_binaries()", "lease('x')", "Cluster('x')", "throwaway_folder()"):
        script = _WINDOWS.format(call=call)
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert "needs a POSIX system, and this is Windows: set DATABASE_URL" in result.stdout
