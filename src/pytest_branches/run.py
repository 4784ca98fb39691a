"""One test run's branches: a template that is migrated once, a copy for each worker, a copy for a test that asks."""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from flask_branches import configured, databases, embedded, guard, migrating, record, urls
from flask_branches.branch import MAIN, Branch, now
from flask_branches.databases import Databases, lock_of_run
from flask_branches.errors import BranchesError
from flask_branches.record import RUN
from pytest_branches.part import MASTER, WORKER
from pytest_branches.template import Template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pytest_branches.neon_run import NeonRun
    from pytest_branches.plan import Plan

_LOOK_SECONDS = 15.0


class Run:
    """The branches of one test run, which live no longer than the process that made it.

    Args:
        plan: what is tested on.
        run: its name; a new one where it begins here.
        server: the URL of a new server that another process of the run has started.
        source: what that process has made to copy from.
    """

    def __init__(
        self, plan: Plan, run: str | None = None, server: str | None = None, source: str | None = None
    ) -> None:
        self.plan = plan
        self.name = run or secrets.token_hex(4)
        self.server = server
        self._stack = ExitStack()
        self._copies: Databases | None = None
        self._source = source
        self._record: record.Record | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name="branches", daemon=True)

    @property
    def source(self) -> str:
        """What the run's branches are copied from: the template's name, or main for an existing branch."""
        assert self._source is not None  # noqa: S101  for mypy: `begin` or `join` comes first
        return self._source

    @property
    def outlives_its_process(self) -> bool:
        """Whether what it leaves is there afterwards: a new server goes with the run."""
        return self.server is None

    def begin(self) -> None:
        """Make, or find, the template; keep what belongs to the run from expiring while it lives.

        Raises:
            BranchesError: with the reason why there is nothing to test on.
        """
        with self._undone_on_error():
            there = self._databases()
            self._stack.callback(there.close)
            if self.plan.url is not None:
                own = configured.of_app(self.plan.app, self._own_backend(), {}, self.plan.neon)
                self._stack.callback(own.close)
                as_it_is = not self.plan.migrates
                self._record = guard.require_branch(own, self.plan.url, self.plan.url_from, as_it_is=as_it_is)
            self._copies = Databases(there.all, {})
            self._live()
            if self.plan.kind == "existing":
                if self.plan.migrates:
                    migrating.migrate(self.plan.app, self._existing(), self.plan.root)
                self._source = MAIN
            else:
                self._prune(there)
                self._source = Template(self.plan, there, self.name).ready()
            self._thread.start()
            self._stack.callback(self._stop_keeping)

    def join(self) -> None:
        """Be a part of a run that another process has begun."""
        there = self._databases()
        self._copies = Databases(there.all, {})
        self._stack.callback(there.close)

    def prepared(self, branch: Branch) -> Branch:
        """The branch of this process, ready for its tests: it is a copy of what was migrated."""
        return branch

    def worker_branch(self, worker: str) -> Branch:
        """The branch of one worker; an existing branch itself where there is but one."""
        if self.plan.kind == "existing" and worker == MASTER:
            return self._existing()
        return self._copy(f"test-{self.name}-{worker}", worker)

    def own_branch(self, worker: str) -> Branch:
        """A branch for one test."""
        return self._copy(f"test-{self.name}-{worker}-{secrets.token_hex(3)}", worker)

    def delete(self, branch: Branch) -> None:
        """Delete a branch of the run's."""
        self._there.delete(branch)

    def keep(self, branch: Branch) -> Branch:
        """Let a branch outlive the run, until it expires."""
        return self._there.update(branch, self._expiry(), {})

    def doubt(self) -> None:
        """A worker has crashed: what it has made is looked for in any case."""

    def delete_all_of(self, worker: str) -> None:
        """Delete whatever a worker has left behind."""
        for each in self._there.branches():
            if each.labels.get(RUN) == self.name and each.labels.get(WORKER) == worker:
                self._there.delete(each)

    def leave(self) -> None:
        """Let go of a run that was joined."""
        self._stack.close()

    def end(self) -> None:
        """Delete everything that was made for the run, and let go."""
        with self._stack:
            self._stop_keeping()
            for each in self._there.branches():
                if each.labels.get(RUN) == self.name:
                    self._there.delete(each)
            self._there.sweep(dry_run=False)

    @property
    def _there(self) -> Databases:
        assert self._copies is not None  # noqa: S101  for mypy: `begin` or `join` comes first
        return self._copies

    def _databases(self) -> Databases:
        if self.plan.kind == "existing":
            assert self.plan.url is not None  # noqa: S101  for mypy: a plan of this kind has a URL
            backend = configured.backend_for(self.plan.url)
            return Databases([databases.Database((None,), backend, {})], {})
        if self.plan.kind == "new":
            return configured.fresh(self.plan.app, self._new_main)
        with self.plan.app.app_context():
            found: Databases = self.plan.app.extensions["branches"].databases
            return found

    def _new_main(self, name: str) -> sa.URL:
        if self.plan.backend == "sqlite":
            return sa.URL.create("sqlite", database=str(Path(self.plan.app.instance_path) / f"{name}.sqlite"))
        if self.server is None:
            self.server = urls.plain(self._stack.enter_context(embedded.throwaway()))
        return urls.parsed(self.server).set(database=name)

    def _own_backend(self) -> str | None:
        """Only the one that keeps a Postgres from being Neon's; a run on an existing branch makes none of its own."""
        return "postgres" if self.plan.own_backend == "postgres" and self.plan.own[0].drivername != "sqlite" else None

    def _existing(self) -> Branch:
        assert self.plan.url is not None  # noqa: S101  for mypy: a plan of this kind has a URL
        found = self._record
        assert found is not None  # noqa: S101  for mypy: the guard refuses one without a record
        return Branch(
            id=str(self.plan.url.database),
            name=found.name,
            parent=found.parent,
            url=urls.plain(self.plan.url),
            created_at=found.created_at,
            expires_at=found.expires_at,
            backend=self.plan.backend,
        )

    def _copy(self, name: str, worker: str) -> Branch:
        labels = {RUN: self.name, WORKER: worker}
        return self._there.create(record.made(name, parent=self.source, main=None, expires_at=self._expiry(), **labels))

    def _expiry(self) -> datetime:
        return now() + self.plan.expires_in

    def _prune(self, there: Databases) -> None:
        """Delete what has expired, but for the branches of a run that lives: its clock may have stood still."""
        for each in there.branches():
            if each.has_expired and (RUN not in each.labels or there.run_is_dead(each)):
                there.delete(each)
        there.sweep(dry_run=False)

    def _live(self) -> None:
        """Let other runs see that this one lives, also after a server has ended the session that showed it."""
        if not self._there.default.is_held(lock_of_run(self.name)):
            self._stack.enter_context(self._there.run_alive(self.name))

    def _keep_alive(self) -> None:
        put_off = self.plan.expires_in * 2 / 3
        interval = min(max(self.plan.expires_in.total_seconds() / 3, 0.2), _LOOK_SECONDS)
        while not self._stopped.wait(interval):
            try:
                self._live()
                for each in self._there.branches():
                    if each.labels.get(RUN) == self.name and each.expires_at and each.expires_at < now() + put_off:
                        self._there.update(each, self._expiry())
            except BranchesError:
                continue  # deleted meanwhile, or out of reach for a moment; the tests will say so

    def _stop_keeping(self) -> None:
        self._stopped.set()
        self._thread.join()

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._stack.close()
            raise


def as_input(run: Run | NeonRun, branch: Branch) -> dict[str, Any]:
    """What a worker has to know, in words that xdist can send."""
    shared: Branch | None = getattr(run, "shared", None)
    return {
        "run": run.name,
        "server": run.server,
        "source": run.source,
        "branch": _sent(branch),
        "shared": _sent(shared) if shared else None,
        "main": urls.plain(run.plan.main) if run.plan.main is not None else None,
    }


def _sent(branch: Branch) -> dict[str, Any]:
    return {
        "id": branch.id,
        "name": branch.name,
        "parent": branch.parent,
        "url": branch.url,
        "backend": branch.backend,
        "created_at": branch.created_at.isoformat(),
        "binds": dict(branch.binds),
        "expires_at": branch.expires_at.isoformat() if branch.expires_at else None,
    }


def from_input(values: dict[str, Any]) -> Branch:
    """A branch, as it was sent."""
    from datetime import datetime

    expires = values["expires_at"]
    return Branch(
        **values
        | {
            "created_at": datetime.fromisoformat(values["created_at"]),
            "expires_at": datetime.fromisoformat(expires) if expires else None,
        }
    )
