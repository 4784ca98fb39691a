"""Projects on which pytest is run as a user runs it, and the databases that they are made for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from flask_branches import configured

if TYPE_CHECKING:
    from pathlib import Path

    from flask_branches import Branch

POSTGRES = os.environ.get("QUESTIONS_CONFIG") == "postgres"
PASSWORD = "hush-hush-7"

_PLUGINS = ("branches", "xdist")

on_files = pytest.mark.skipif(POSTGRES, reason="on SQLite")
on_a_server = pytest.mark.skipif(not POSTGRES, reason="on Postgres")

SHOP_APP = """
    import pytest
    from shop import create_app

    @pytest.fixture(scope="session")
    def app(branch):
        return create_app(branch.url, branch.binds)
"""
NOTES_APP = """
    import notes
    import pytest

    @pytest.fixture
    def app(branch):
        return notes.app
"""
CLIENT = """
    import pytest

    @pytest.fixture
    def client(app):
        return app.test_client()
"""


class Project:
    """A folder with an application and its tests."""

    def __init__(self, pytester: pytest.Pytester, patch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.folder = pytester.path
        self._patch = patch
        self._started: list[subprocess.Popen[bytes]] = []

    def ini(self, *lines: str) -> None:
        """Write pytest's ini file; warnings are errors in every project."""
        self.pytester.makeini("\n".join(["[pytest]", "filterwarnings = error", *lines]))

    def files(self, **texts: str) -> None:
        """Write modules, by name."""
        self.pytester.makepyfile(**texts)

    def variable(self, name: str, value: str | None) -> None:
        """Set a variable of the environment, or take it away."""
        if value is None:
            self._patch.delenv(name, raising=False)
        else:
            self._patch.setenv(name, value)

    def run(self, *arguments: str, plugins: tuple[str, ...] = ("flask",)) -> pytest.RunResult:
        """Run pytest to its end; where all tests pass, so does the run."""
        result = self.pytester.runpytest_subprocess(*_options(plugins), *arguments, timeout=120)
        if "passed" in result.stdout.str() and not {"failed", "errors"}.intersection(result.parseoutcomes()):
            assert result.ret == 0
        return result

    def shown(self, *arguments: str) -> str:
        """Run pytest, in this process for once, where no test is to run; gives what it says."""
        result = self.pytester.runpytest_inprocess("-pbranches", *arguments)
        assert result.ret == pytest.ExitCode.OK
        return result.stdout.str()

    def refused(self, *arguments: str) -> str:
        """Run pytest, in this process too, where it does not come to a test; gives the line that it says."""
        result = self.pytester.runpytest_inprocess("-pbranches", *arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        (line,) = (line for line in result.errlines if line and not line.startswith("INFO "))  # Alembic's
        return line.removeprefix("ERROR: ")

    def start(self, *arguments: str, plugins: tuple[str, ...] = ("flask",)) -> subprocess.Popen[bytes]:
        """Begin to run pytest, in a process group of its own."""
        command = [sys.executable, "-m", "pytest", *_options(plugins), *arguments]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True, env=_environment(self.folder)
            )
        self._started.append(process)
        return process

    def said(self) -> str:
        """What the processes that were begun have said."""
        return (self.folder / "log").read_text()

    def end(self) -> None:
        """Kill whatever was begun and still runs, and what that has started."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def flask(self, *arguments: str, app: str = "shop") -> subprocess.CompletedProcess[str]:
        """Run a command of the application."""
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", app, *arguments],
            cwd=self.folder,
            env=_environment(self.folder),
            capture_output=True,
            text=True,
            check=False,
        )

    def branches(self, url: str | None = None) -> list[Branch]:
        """The branches of a database, by default of the shop's own file."""
        main = sa.make_url(url or os.environ.get("DATABASE_URL") or f"sqlite:///{self.folder}/instance/shop.sqlite")
        backend = configured.backend_for(main)
        try:
            return backend.branches()
        finally:
            backend.close()

    def made(self) -> list[Branch]:
        """The same without the templates."""
        return [each for each in self.branches() if not each.name.startswith("template-")]

    def left(self) -> list[str]:
        """What lies where SQLite's branches are, but for the template."""
        return sorted(
            path.name for path in self.folder.glob("**/*.branches/*") if not path.name.startswith("template-")
        )

    def templates(self) -> list[str]:
        """The templates of the shop."""
        return [each.name for each in self.branches() if each.name.startswith("template-")]


def _options(plugins: tuple[str, ...]) -> list[str]:
    return [f"-p{name}" for name in (*_PLUGINS, *plugins)]


def _environment(folder: Path) -> dict[str, str]:
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
