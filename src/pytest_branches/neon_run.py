"""One test run's branches on Neon: each worker has one of the parent's, since what expires can have none itself."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from flask_branches import migrating, record
from flask_branches.backends.neon import kept_name
from flask_branches.branch import EMPTY, Branch, now
from flask_branches.errors import BranchesError, NotSupported
from flask_branches.record import RUN
from pytest_branches.inside import Inside
from pytest_branches.part import WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from datetime import datetime

    from flask_branches.databases import Databases
    from pytest_branches.plan import Plan

_LOOK_SECONDS = 15.0
# A database is copied inside its branch page by page; a branch is made as fast however large it is.
_LARGE_BYTES = 256 * 2**20


class NeonRun:
    """The branches of one test run on Neon, which expire soon after the process that made it is gone.

    Args:
        plan: what is tested on.
        there: where its branches are made.
        run: its name; a new one where it begins here.
        own_branches: whether a test of this process is going to ask for a branch of its own.
    """

    server: str | None = None
    outlives_its_process = True

    def __init__(self, plan: Plan, there: Databases, run: str | None = None, *, own_branches: bool = False) -> None:
        self.plan = plan
        self.name = run or secrets.token_hex(4)
        self._own_branches = own_branches
        self._there = there
        self._stack = ExitStack()
        self._stack.callback(there.close)
        self._mine: dict[str, Branch] = {}
        self._coming: dict[str, Future[Branch]] = {}
        self._makers: ThreadPoolExecutor | None = None
        self._inside: Inside | None = None
        self._outer: Branch | None = None
        self._asked: set[str] = set()
        self._doubtful = False
        self._crashed = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name="branches", daemon=True)

    @property
    def source(self) -> str:
        """What the workers' branches are made from."""
        return self.plan.parent

    def begin(self) -> None:
        """Ask for the branches that the workers are going to need, for all of them at once.

        Raises:
            BranchesError: with the reason why there is nothing to test on.
        """
        with self._undone_on_error():
            self._stack.enter_context(self._there.run_alive(self.name))
            self._thread.start()
            self._prepare_workers()

    def join(self) -> None:
        """Be a part of a run that another process has begun."""
        self._thread.start()

    def worker_branch(self, worker: str) -> Branch:
        """The branch of one worker, which migrates it."""
        coming = self._coming.get(worker)
        if coming is None:  # one that takes the place of another, which has crashed
            return self._made(f"test-{self.name}-{worker}", worker)
        return coming.result()

    def prepared(self, branch: Branch) -> Branch:
        """The branch of this process, migrated here: so all workers do that at the same time."""
        migrating.migrate(self.plan.app, branch, self.plan.root)
        self._outer = branch
        if self._own_branches:
            inside = self._inside_of(branch)
            if inside.size() <= _LARGE_BYTES:
                inside.keep_a_template()
                self._inside = inside
        return branch

    def own_branch(self, worker: str) -> Branch:
        """A branch for one test: a database inside the worker's branch; where that is large, another one of Neon's."""
        name = f"test-{self.name}-{worker}-{secrets.token_hex(3)}"
        if self._inside is not None:
            return self._inside.copy(name, self._expiry())
        made = self._made(name, worker)
        migrating.migrate(self.plan.app, made, self.plan.root)
        return made

    def delete(self, branch: Branch) -> None:
        """Delete a branch of the run's."""
        if self._inside is not None and self._inside.has(branch):
            self._inside.delete(branch)
        else:
            self._there.delete(branch)
            self._mine.pop(branch.id, None)

    def keep(self, branch: Branch) -> Branch:
        """Let a branch outlive the run, until it expires.

        A database inside another branch is kept with that, whose name, from when it is kept, is told in its place.
        """
        if self._inside is not None and self._inside.has(branch) and self._outer is not None:
            return replace(branch, name=kept_name(self._outer.name))
        kept = self._there.update(branch, self._expiry(), {})
        self._mine.pop(branch.id, None)
        return kept

    def doubt(self) -> None:
        """A worker has crashed, and may have made more than is known here."""
        self._crashed = self._doubtful = True

    def delete_all_of(self, worker: str) -> None:
        """Delete what a worker has had."""
        for each in list(self._mine.values()):
            if each.labels.get(WORKER) == worker:
                self.delete(each)

    def leave(self) -> None:
        """Let go of a run that was joined, and delete what this process has made and not yet deleted."""
        with self._stack:
            self._stop_keeping()
            self._delete_all()

    def end(self) -> None:
        """Delete everything that was made for the run, and let go."""
        with self._stack:
            self._stop_keeping()
            self._wait_for_makers()
            self._delete_all()

    def _delete_all(self) -> None:
        """Delete what is known, then what is found; what cannot be deleted now expires."""
        complaint: BranchesError | None = None
        for each in list(self._mine.values()):
            try:
                self._there.delete(each)
            except BranchesError as error:
                complaint = error
        for each in self._doubtful_ones():
            self._there.delete(each)
        if complaint is not None:
            raise complaint

    def _prepare_workers(self) -> None:
        if self.plan.workers == 1:
            return
        makers = self._makers = ThreadPoolExecutor(self.plan.workers, thread_name_prefix="branches")
        for worker in (f"gw{number}" for number in range(self.plan.workers)):
            self._coming[worker] = makers.submit(self._made, f"test-{self.name}-{worker}", worker)

    def _made(self, name: str, worker: str) -> Branch:
        parent = None if self.plan.parent == EMPTY else self.plan.parent
        labels = {RUN: self.name, WORKER: worker}
        wanted = record.made(name, parent=parent, main=None, expires_at=self._expiry(), **labels)
        self._asked.add(name)
        try:
            made = self._there.create(wanted, at=self.plan.at)
        except BaseException:
            self._doubtful = True  # what Neon was asked for, it may still make
            raise
        self._mine[made.id] = made
        return made

    def _inside_of(self, branch: Branch) -> Inside:
        inside = Inside(branch, self.name, self._there.all[0].connect_args)
        self._stack.callback(inside.close)
        return inside

    def _wait_for_makers(self) -> None:
        # Not by what is coming: Ctrl-C may have come between a maker's beginning and the note of it.
        if self._makers is not None:
            self._makers.shutdown(cancel_futures=True)

    def _doubtful_ones(self) -> list[Branch]:
        if not self._doubtful:
            return []
        found = [each for each in self._there.branches() if each.labels.get(RUN) == self.name]
        if self._crashed:
            return [each for each in found if each.id not in self._mine]
        return [each for each in found if each.name in self._asked and each.id not in self._mine]

    def _expiry(self) -> datetime:
        return now() + self.plan.expires_in

    def _keep_alive(self) -> None:
        put_off = self.plan.expires_in * 2 / 3
        interval = min(max(self.plan.expires_in.total_seconds() / 3, 0.2), _LOOK_SECONDS)
        while not self._stopped.wait(interval):
            for each in list(self._mine.values()):
                if each.expires_at is None or each.expires_at >= now() + put_off:
                    continue
                try:
                    updated = self._there.update(each, self._expiry())
                except BranchesError:
                    continue  # deleted meanwhile, or Neon is out of reach for a moment; the tests will say so
                if each.id in self._mine:
                    self._mine[each.id] = updated

    def _stop_keeping(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            try:
                self.end()
            except BranchesError as failure:
                if isinstance(error, BranchesError):  # both in one line, the reason first
                    error.args = (f"{error} {failure}",)
            raise


class SharedNeonRun(NeonRun):
    """The same where Neon's plan has no room for a branch of each worker: they have databases in one.

    Args:
        plan: what is tested on.
        there: where the branch is made.
        run: the run's name; a new one where it begins here.
        shared: the branch, which another process of the run has made.
    """

    def __init__(self, plan: Plan, there: Databases, run: str | None = None, shared: Branch | None = None) -> None:
        super().__init__(plan, there, run)
        self.shared = shared
        self._keeps = False

    def join(self) -> None:
        """Be a part of a run that another process has begun."""
        assert self.shared is not None  # noqa: S101  for mypy: who has begun the run has sent it
        super().join()
        self._inside = self._inside_of(self.shared)

    def worker_branch(self, worker: str) -> Branch:
        """A database for one worker; nobody works on the one that the branch came with."""
        assert self._inside is not None  # noqa: S101  for mypy: `begin` or `join` comes first
        return self._inside.copy(worker, self._expiry())

    def prepared(self, branch: Branch) -> Branch:
        """The database of this process, which is a copy of what was migrated."""
        return branch

    def keep(self, branch: Branch) -> Branch:
        """Let a database outlive the run, and so the branch that it is in."""
        self._keeps = True
        assert self.shared is not None  # noqa: S101  for mypy: `begin` or `join` comes first
        return replace(branch, name=kept_name(self.shared.name))

    def doubt(self) -> None:
        """Nothing: a worker makes no branch of Neon's here."""

    def delete_all_of(self, worker: str) -> None:
        """Nothing: what a worker has had goes with the branch."""

    def end(self) -> None:
        """Delete the branch, unless something in it is kept."""
        try:
            if self._keeps and self.shared is not None:
                super().keep(self.shared)
        finally:
            super().end()

    def _prepare_workers(self) -> None:
        self.shared = self._made(f"test-{self.name}-shared", "shared")
        migrating.migrate(self.plan.app, self.shared, self.plan.root)
        self._inside = self._inside_of(self.shared)
        if (size := self._inside.size()) > _LARGE_BYTES:
            raise NotSupported(
                f"The database has {size >> 20} MB, to be copied for each of {self.plan.workers} workers, since "
                f"{self.plan.shared}: run without workers, or delete some branches."
            )
