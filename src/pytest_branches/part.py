"""One process's part in a run: the only one, a worker, or the controller of workers."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pytest

from pytest_branches import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from sqlalchemy import Engine

    from flask_branches import Branch
    from flask_branches.databases import Databases
    from pytest_branches.neon_run import NeonRun
    from pytest_branches.plan import Plan
    from pytest_branches.redaction import Redaction
    from pytest_branches.run import Run
    from pytest_branches.watch import Own

MASTER = "master"
"""The only process of a run, or the controller of its workers."""

WORKER = "worker"
"""The label that says which process of a run has a branch."""

_ASKING = {"branch", "own_branch", "database_url"}


class Part:
    """One process's part in a run: the only one, a worker, or the controller of workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._input: dict[str, Any] | None = getattr(config, "workerinput", {}).get("branches")
        self._plan: Plan | Exception | None = None
        self._run: Run | NeonRun | Exception | None = None
        self._there: Databases | None = None
        self._own: Own = []
        self._branch: Branch | None = None
        self._redaction: Redaction | None = None
        self._handed_out: list[Branch] = []
        self._stack = ExitStack()
        self._apps: WeakSet[Flask] = WeakSet()
        self._engines: tuple[Engine, ...] = ()
        self.is_worker = hasattr(config, "workerinput")
        self.is_set_up = bool(config.getini(options.APP))
        """Whether the project has named its application."""
        self.worker = str(getattr(config, "workerinput", {}).get("workerid", MASTER))
        """This process's name in the run."""
        self.wants_own_branches = False
        """Whether some test of this process is going to ask for a branch of its own."""

    @property
    def plan(self) -> Plan:
        """What the run tests on; from now on, nothing in this process connects to the application's own databases."""
        if self._plan is None:
            from dataclasses import replace

            from sqlalchemy import make_url

            from flask_branches import BranchesError
            from pytest_branches.plan import decide
            from pytest_branches.watch import watched

            try:
                plan = decide(self._config)
                if self._input is not None and self._input["main"]:
                    plan = replace(plan, main=make_url(self._input["main"]))
                if plan.is_on_neon and not self.is_worker and not self.is_for_show:
                    from pytest_branches.neon_survey import surveyed

                    plan, self._there = surveyed(plan)
                self._plan = plan
                self._own = self._stack.enter_context(watched(self._plan))
            except BranchesError as error:
                self._plan = error
        if isinstance(self._plan, Exception):
            raise self._plan
        return self._plan

    @property
    def is_on_neon(self) -> bool:
        """Whether what is tested on is Neon's, as far as that is decided."""
        return self._plan is not None and not isinstance(self._plan, Exception) and self._plan.backend == "neon"

    @property
    def is_for_show(self) -> bool:
        """Whether no test is going to run."""
        option = self._config.option
        return any(getattr(option, name, False) for name in ("collectonly", "setupplan", "showfixtures"))

    @property
    def run(self) -> Run | NeonRun:
        """The run: begun here, or joined."""
        from flask_branches import BranchesError

        if self._run is None:
            try:
                self._run = self._joined() if self.is_worker else self._begun()
            except BranchesError as error:
                self._run = error
        if isinstance(self._run, Exception):
            raise self._run
        return self._run

    @property
    def branch(self) -> Branch:
        """This process's branch; a module-level application works on it until the end."""
        if self._branch is None:
            run = self.run
            if self._input is not None:
                from pytest_branches.run import from_input

                branch = from_input(self._input["branch"])
            else:
                from pytest_branches.watch import let_in

                branch = run.worker_branch(MASTER)
                let_in(self._own, self.plan)
            self._hand_out(branch)
            self._branch = run.prepared(branch)
            if self.plan.module is not None:
                from flask_branches.binding import bound

                self._stack.enter_context(bound(self.plan.app, self._branch))
        return self._branch

    @property
    def branch_made(self) -> Branch | None:
        """This process's branch, if it has one by now."""
        return self._branch

    def own_branch(self) -> Branch:
        """A branch for one test."""
        if self.plan.kind == "existing":
            from flask_branches.configured import engines_of
            from pytest_branches.isolating import close_pools

            for app in self._apps:
                close_pools(engines_of(app).values())  # it is copied from what they are connected to
        return self._hand_out(self.run.own_branch(self.worker))

    def asks(self, item: pytest.Item) -> bool:
        """Whether a test asks for a branch, whatever application it has."""
        names = getattr(item, "fixturenames", ())
        return bool(_ASKING.intersection(names)) or item.get_closest_marker("branches") is not None

    def asks_for_its_own(self, item: pytest.Item) -> bool:
        """Whether a test is going to ask for a branch that nobody else has."""
        if "own_branch" in getattr(item, "fixturenames", ()):
            return True
        return any(marker.kwargs.get("isolation") == "branch" for marker in item.iter_markers("branches"))

    def concerns(self, item: pytest.Item) -> bool:
        """Whether a test has anything to do with the application's database."""
        if not self.is_set_up:
            return item.get_closest_marker("branches") is not None  # which must not pass unnoticed
        # Whatever a test does, it may get at a module-level application.
        return self.asks(item) or "app" in getattr(item, "fixturenames", ()) or self.plan.module is not None

    def app_of(self, request: pytest.FixtureRequest) -> Flask | None:
        """The application that a test works with, if it has a database: its fixture, else the module-level one."""
        from flask import Flask

        plan = self.plan
        if "app" in request.fixturenames:
            found = request.getfixturevalue("app")
        else:
            found = plan.app if plan.module is not None else None
        if not isinstance(found, Flask) or "sqlalchemy" not in found.extensions:
            return None
        self._remember(found)
        return found

    @contextmanager
    def only_isolated(self, item: pytest.Item) -> Iterator[None]:
        """Refuse what reaches this process's branch past the isolation of a test that is rolled back."""
        if self._branch is None:
            yield
            return
        from pytest_branches.isolating import has_reached_the_test, wish
        from pytest_branches.watch import only_isolated

        if wish(item).isolation != "rollback":
            yield
            return
        with only_isolated(self._branch) as refused:
            yield
        for error in refused:
            if not has_reached_the_test(error):
                raise pytest.fail.Exception(str(error), pytrace=False)

    def redaction(self) -> Redaction | None:
        """What hides the passwords that this process knows of; None where it knows of no database."""
        from sqlalchemy import make_url

        from flask_branches import BranchesError
        from pytest_branches.redaction import Redaction

        if self._redaction is None:
            try:
                plan = self.plan
            except BranchesError:
                return None
            made = [url for each in self._handed_out for url in (each.url, *each.binds.values())]
            known = [*plan.own, *filter(None, (plan.url, plan.main)), *map(make_url, made)]
            key = [plan.neon.access.api_key.get_secret_value()] if plan.neon else []
            self._redaction = Redaction(known, key)
        return self._redaction

    def let_go(self) -> None:
        """Let a module-level application have its own database again: its branch is about to be deleted."""
        self._disconnect()
        self._stack.close()

    def leave(self) -> None:
        """Delete what is left of the run, where it has begun here, and let go."""
        run, self._run = self._run, None
        self._stack.close()
        if run is None or isinstance(run, Exception):
            if self._there is not None:
                self._there.close()
            return
        if self.is_worker:
            run.leave()
        else:
            run.end()

    def _hand_out(self, branch: Branch) -> Branch:
        """Let no report show the passwords of a branch that a test gets: Neon may have made new ones for it."""
        self._handed_out.append(branch)
        self._redaction = None
        return branch

    def _remember(self, app: Flask) -> None:
        """Hold what the latest application connects with: an app fixture of each test's leaves that open."""
        from flask_branches.configured import engines_of

        self._apps.add(app)
        engines = tuple(engines_of(app).values())
        if engines != self._engines:
            self._disconnect()
            self._engines = engines

    def _disconnect(self) -> None:
        """Close the idle connections of the latest application, which is of no use any more."""
        if self._engines:
            from pytest_branches.isolating import close_pools

            close_pools(self._engines)
        self._engines = ()

    def _begun(self) -> Run | NeonRun:
        run = self._new_run()
        run.begin()
        return run

    def _joined(self) -> Run | NeonRun:
        assert self._input is not None  # noqa: S101  for mypy: the controller has sent it
        run = self._new_run(self._input)
        run.join()
        return run

    def _new_run(self, sent: dict[str, Any] | None = None) -> Run | NeonRun:
        from pytest_branches.run import Run, from_input

        sent = sent or {}
        if not self.plan.is_on_neon:
            return Run(self.plan, sent.get("run"), sent.get("server"), sent.get("source"))
        from pytest_branches.neon_run import NeonRun, SharedNeonRun
        from pytest_branches.neon_survey import databases

        there = self._there or databases(self.plan)
        if self.plan.shared or sent.get("shared"):
            shared = from_input(sent["shared"]) if sent else None
            return SharedNeonRun(self.plan, there, sent.get("run"), shared)
        return NeonRun(self.plan, there, sent.get("run"), own_branches=self.wants_own_branches)


_PART = pytest.StashKey[Part]()


def part_of(config: pytest.Config) -> Part:
    """The part that this process has."""
    if _PART not in config.stash:
        config.stash[_PART] = Part(config)
    return config.stash[_PART]
