"""The course of a run, from pytest's first hook to its last: who makes what, who deletes it, and what is said of it."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_branches.part import MASTER, Part

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import FrameType

    from flask_branches import Branch

FIXTURE = "_branches"
"""What keeps a test from the next one."""
FAILED = pytest.StashKey[bool]()

_KEPT = "branches_kept"
_REQUESTS = "branches_requests"
_SIGNALS = ("SIGTERM", "SIGHUP")


class Course:
    """The hooks of one process, whose part is known."""

    def __init__(self, config: pytest.Config, part: Part) -> None:
        self._config = config
        self._part = part
        self._given: dict[str, Branch] = {}
        self._failed: set[str] = set()
        self._kept: list[str] = []
        self._requests = 0
        self._lost = False
        self._complaint = ""
        self._signals: dict[int, Any] = {}

    def pytest_report_header(self) -> str | None:
        """Which database, from which parent, and why."""
        if self._part.is_worker:
            return None
        from flask_branches import BranchesError

        try:
            return f"branches: {self._part.plan.describe()}"
        except BranchesError as error:
            return f"branches: {error}"

    def pytest_sessionstart(self) -> None:
        """Refuse options that cannot be used before anything runs."""
        if not self._part.is_worker and not self._part.is_for_show:
            with _as_usage_errors():
                _ = self._part.plan  # which decides it
            self._listen()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Without workers: make the branch, so that what is in the way of it is said once."""
        if self._part.is_worker or self._part.is_for_show or session.testsfailed:
            return
        if any(self._part.concerns(item) for item in getattr(session, "items", ())):
            with _as_usage_errors():
                _ = self._part.branch  # which makes it

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep a test from the next before any other fixture of its own works: pytest-flask's would start a server."""
        for item in items:
            _put_first(item)
        self._part.wants_own_branches = any(self._part.asks_for_its_own(item) for item in items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401  of xdist, which need not be there
        """In the controller: make a worker's branch before there is a worker."""
        from pytest_branches.run import as_input

        worker = node.workerinput["workerid"]
        with _as_usage_errors():
            branch = self._given[worker] = self._part.run.worker_branch(worker)
        node.workerinput["branches"] = as_input(self._part.run, branch)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:  # noqa: ANN401  of xdist, which need not be there
        """In the controller: delete what a worker has left, however it ended."""
        worker = node.workerinput["workerid"]
        said = getattr(node, "workeroutput", {})
        self._kept += said.get(_KEPT, [])
        self._requests += said.get(_REQUESTS, 0)
        if branch := self._given.pop(worker, None):
            self._finish(worker, branch, failed=error is not None or worker in self._failed, crashed=error is not None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Let nothing reach the branch past what isolates the test."""
        with self._part.only_isolated(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Remember which tests have failed, and let no report show a password."""
        report = yield
        if report.failed:
            item.stash[FAILED] = True
        self._redact(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Let no report show a password."""
        report = yield
        self._redact(report)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember which worker has met a failure."""
        if report.failed:
            self._failed.add(str(getattr(report, "worker_id", MASTER)))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Delete the branch, or keep it, once every fixture is gone; a worker says what it has kept."""
        self._part.let_go()
        if self._part.is_worker:
            said = self._config.workeroutput  # type: ignore[attr-defined]  # xdist's own
            said[_KEPT], said[_REQUESTS] = self._kept, _requests()
        elif (branch := self._part.branch_made) is not None:
            self._finish(MASTER, branch, failed=bool(self._failed))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the branches that are kept, and say how often Neon was asked."""
        if self._part.is_on_neon and (sent := self._requests + _requests()):
            terminalreporter.write_line(f"branches: {sent} requests to Neon's API")
        if not self._kept and not self._lost:
            return
        terminalreporter.section("branches")
        for line in self._kept:
            terminalreporter.write_line(line)
        if self._kept:
            terminalreporter.write_line(
                "with the password: flask branches url NAME; flask branches delete NAME ends it"
            )
        if self._lost:
            terminalreporter.write_line("nothing is kept of a server that was this run's own: set DATABASE_URL")

    def pytest_unconfigure(self) -> None:
        """Delete what is left, and let go."""
        from flask_branches import BranchesError

        try:
            self._part.leave()
        except BranchesError as error:
            self._complain(error)
        finally:
            for number, handler in self._signals.items():
                signal.signal(number, handler)

    def finish_own(self, branch: Branch, *, failed: bool) -> None:
        """Delete the branch of a test, or keep it."""
        if not self._keep(branch, failed=failed):
            self._part.run.delete(branch)

    def _finish(self, worker: str, branch: Branch, *, failed: bool, crashed: bool = False) -> None:
        from flask_branches import BranchesError

        run = self._part.run
        if run.plan.kind == "existing" and worker == MASTER:
            return
        try:
            self._keep(branch, failed=failed)
        except BranchesError as error:
            self._complain(error, f"{branch.name} could not be kept")
        try:
            if crashed:
                run.doubt()
            run.delete_all_of(worker)
        except BranchesError as error:
            self._complain(error)

    def _complain(self, error: Exception, what: str = "what is left of the run could not be deleted") -> None:
        if str(error) != self._complaint:
            self._complaint = str(error)
            sys.stderr.write(f"branches: {what}: {error}\n")

    def _keep(self, branch: Branch, *, failed: bool) -> bool:
        from flask_branches.branch import written

        run = self._part.run
        if not (run.plan.keep == "always" or (run.plan.keep == "failed" and failed)):
            return False
        if not run.outlives_its_process:
            self._lost = True
            return False
        kept = run.keep(branch)
        self._kept.append(f"kept {kept.name} until {written(kept.expires_at)}: {kept.safe_url}")
        return True

    def _redact(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if (report.longrepr or report.sections) and (redaction := self._part.redaction()) is not None:
            redaction.report(report)

    def _listen(self) -> None:
        """Let what ends a process end the run in order, unless somebody else has a use for it."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                self._signals[number] = signal.signal(number, _end)


def _requests() -> int:
    """How many requests this process has sent to Neon's API."""
    from flask_branches.tally import REQUESTS

    return REQUESTS.number


def _put_first(item: pytest.Item) -> None:
    """Move our fixture before all others of the same scope; those of wider ones are not a test's own."""
    names: list[str] = getattr(item, "fixturenames", [])
    if FIXTURE not in names:
        return
    known = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]  # noqa: SLF001  pytest tells the scope of a fixture nowhere else
    names.remove(FIXTURE)
    wider = [number for number, name in enumerate(names, 1) if name in known and known[name][-1].scope != "function"]
    names.insert(max(wider, default=0), FIXTURE)


@contextmanager
def _as_usage_errors() -> Iterator[None]:
    from flask_branches import BranchesError

    try:
        yield
    except BranchesError as error:
        raise pytest.UsageError(str(error)) from None


def _end(number: int, _frame: FrameType | None) -> None:
    pytest.exit(signal.Signals(number).name, returncode=128 + number)
