"""One process's part in a run: the only one, a worker, or the controller of workers."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_branches import options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from flask import Flask

    from flask_branches import Branch
    from pytest_branches.plan import Plan
    from pytest_branches.run import Run

_ASKING = {"app", "branch", "own_branch", "database_url"}
_MASTER = "master"
_NAME = "branches-run"

FAILED = pytest.StashKey[bool]()


class Part:
    """One process's part in a run: the only one, a worker, or the controller of workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._input: dict[str, Any] | None = getattr(config, "workerinput", {}).get("branches")
        self._is_worker = hasattr(config, "workerinput")
        self._plan: Plan | Exception | None = None
        self._run: Run | Exception | None = None
        self._branch: Branch | None = None
        self._failed: set[str] = set()
        self._kept: list[Branch] = []
        self._given: dict[str, Branch] = {}

    @property
    def is_set_up(self) -> bool:
        """Whether the project has named its application."""
        return bool(self._config.getini(options.APP))

    @property
    def plan(self) -> Plan:
        """What the run tests on."""
        if self._plan is None:
            from flask_branches import BranchesError
            from pytest_branches.plan import decide

            try:
                self._plan = decide(self._config)
            except BranchesError as error:
                self._plan = error
        if isinstance(self._plan, Exception):
            raise self._plan
        return self._plan

    @property
    def worker(self) -> str:
        """This process's name in the run."""
        return str(getattr(self._config, "workerinput", {}).get("workerid", _MASTER))

    @property
    def run(self) -> Run:
        """The run: begun here, or joined."""
        from flask_branches import BranchesError

        if self._run is None:
            try:
                self._run = self._joined() if self._is_worker else self._begun()
            except BranchesError as error:
                self._run = error
        if isinstance(self._run, Exception):
            raise self._run
        return self._run

    @property
    def branch(self) -> Branch:
        """This process's branch."""
        if self._branch is None:
            run = self.run
            if self._input is not None:
                from pytest_branches.run import from_input

                self._branch = from_input(self._input["branch"])
            else:
                self._branch = self._given[_MASTER] = run.worker_branch(_MASTER)
        return self._branch

    def concerns(self, request: pytest.FixtureRequest) -> bool:
        """Whether a test has anything to do with the application's database."""
        asked = _ASKING.intersection(request.fixturenames)
        return bool(asked) or request.node.get_closest_marker("branches") is not None

    def app_of(self, request: pytest.FixtureRequest) -> Flask | None:
        """The application that a test works with: its fixture, else the one that the ini names, if tests have it."""
        if "app" in request.fixturenames:
            found: Flask = request.getfixturevalue("app")
            return found
        return self.plan.app if self.plan.is_module_level else None

    def kept(self, branch: Branch) -> None:
        """Let a branch outlive the run, and say so at its end."""
        self._kept.append(self.run.keep(branch))

    def keeps(self, *, failed: bool) -> bool:
        """Whether a branch is to outlive the run."""
        return self.plan.keep == "always" or (self.plan.keep == "failed" and failed)

    def pytest_report_header(self) -> str | None:
        """Which database, from which parent, and why."""
        if not self.is_set_up or self._is_worker:
            return None
        return f"branches: {self.plan.describe()}"

    def pytest_sessionstart(self) -> None:
        """Refuse options that cannot be used before anything runs, and before a test changes what they are read from."""
        if self.is_set_up:
            with _as_usage_errors():
                self.plan  # noqa: B018  decided now

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Remember which tests have failed."""
        report: pytest.TestReport = yield  # type: ignore[assignment]
        if report.failed:
            item.stash[FAILED] = True
        return report  # type: ignore[return-value]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember which worker has met a failure."""
        if report.failed:
            self._failed.add(str(getattr(report, "worker_id", _MASTER)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401  xdist's
        """In the controller: make a worker's branch before there is a worker."""
        if not self.is_set_up:
            return
        from pytest_branches.run import as_input

        worker = node.workerinput["workerid"]
        with _as_usage_errors():
            branch = self._given[worker] = self.run.worker_branch(worker)
        node.workerinput["branches"] = as_input(self.run, branch)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:  # noqa: ANN401  xdist's
        """In the controller: delete what a worker has left, however it ended."""
        worker = node.workerinput["workerid"]
        if worker in self._given:
            failed = error is not None or worker in self._failed
            self._finish(worker, failed=failed)

    def pytest_sessionfinish(self) -> None:
        """Without workers: delete the branch, or keep it."""
        if _MASTER in self._given:
            self._finish(_MASTER, failed=bool(self._failed))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the branches that are kept."""
        if self._kept:
            terminalreporter.section("branches")
            for each in self._kept:
                terminalreporter.write_line(f"kept {each.name} until {each.expires_at}: {each.safe_url}")
            terminalreporter.write_line(
                "with the password: flask branches url NAME; flask branches delete NAME ends it"
            )

    def pytest_unconfigure(self) -> None:
        """Delete what is left, and let go."""
        run, self._run = self._run, None
        if run is None or isinstance(run, Exception):
            return
        from flask_branches import BranchesError

        try:
            run.leave() if self._is_worker else run.end()
        except BranchesError as error:
            sys.stderr.write(f"branches: what is left of the run could not be deleted: {error}\n")

    def _begun(self) -> Run:
        from pytest_branches.run import Run

        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _end)
        run = Run(self.plan)
        run.begin()
        return run

    def _joined(self) -> Run:
        from pytest_branches.run import Run

        assert self._input is not None  # noqa: S101  the controller has the same ini file
        run = Run(self.plan, self._input["run"], self._input["server"])
        run.join(self._input["source"])
        return run

    def _finish(self, worker: str, *, failed: bool) -> None:
        branch = self._given.pop(worker)
        if self.run.plan.kind == "existing" and worker == _MASTER:
            return
        if self.keeps(failed=failed):
            self.kept(branch)
        self.run.delete_all_of(worker)


def register(config: pytest.Config) -> None:
    """Let the process have its part."""
    config.pluginmanager.register(Part(config), _NAME)


def part_of(config: pytest.Config) -> Part:
    """The part that this process has."""
    found: Part = config.pluginmanager.get_plugin(_NAME)  # type: ignore[assignment]
    return found


@contextmanager
def _as_usage_errors() -> Iterator[None]:
    from flask_branches import BranchesError

    try:
        yield
    except BranchesError as error:
        raise pytest.UsageError(str(error)) from None


def _end(_number: int, _frame: FrameType | None) -> None:
    pytest.exit("SIGTERM", returncode=128 + signal.SIGTERM)
