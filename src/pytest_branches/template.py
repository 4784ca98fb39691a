"""The database that a run's branches are copies of: migrated once, and used again while nothing has changed."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from flask_branches import configured, migrating, record
from flask_branches.branch import EMPTY, now
from flask_branches.databases import lock_of_run
from flask_branches.errors import BranchNotFound
from flask_branches.record import RUN

if TYPE_CHECKING:
    from datetime import datetime

    from flask_branches import Branch
    from flask_branches.databases import Databases
    from pytest_branches.plan import Plan

_NAME = "template"
_COMPLETE = "complete"
_STATE = "state"
_USERS = "users"
_LIFETIME = timedelta(days=7)
_DIGEST = 8


class Template:
    """The template of one run.

    Its name says what it was made from: the migrations and the options, and then the state of the parent. So no run
    ever exchanges what another one, which began before the parent changed, is copying just now.

    Args:
        plan: what is tested on.
        there: where it is made.
        run: the run that wants it.
    """

    def __init__(self, plan: Plan, there: Databases, run: str) -> None:
        self._plan = plan
        self._there = there
        self._run = run

    def ready(self) -> str:
        """The name of a complete one, which is made where there is none."""
        state = self._state()
        if state is None:
            return self._made(f"test-{self._run}-{_NAME}", {RUN: self._run}, now() + self._plan.expires_in).name
        kind = f"{_NAME}-{self._key()}"
        name = f"{kind}-{_digest(state)}"
        with self._there.default.locked(kind):
            self._delete_useless(kind, name)
            return self._of_name(name, state)

    def _state(self) -> str | None:
        """What the parent's rows depend on; None while somebody writes to it, so that nobody can use it again."""
        if self._plan.parent == EMPTY:
            return ""
        state = self._there.state(self._plan.parent)
        return state if state == self._there.state(self._plan.parent) else None

    def _of_name(self, name: str, state: str) -> str:
        until = now() + _LIFETIME
        users = [self._run]
        try:
            found = self._there.get(name)
        except BranchNotFound:
            pass
        else:
            if self._is_complete(found):
                users += self._users(found)
                self._there.update(found, until, {**found.labels, _USERS: " ".join(users)})
                return name
            self._there.delete(found)
        self._made(name, {_STATE: state, _USERS: self._run}, until)
        return name

    def _made(self, name: str, labels: dict[str, str], until: datetime) -> Branch:
        parent = self._plan.parent
        made = record.made(name, parent=None if parent == EMPTY else parent, main=None, expires_at=until, **labels)
        template = self._there.create(made, at=self._plan.at)
        try:
            migrating.migrate(self._plan.app, template, self._plan.root)
        except BaseException:
            self._there.delete(template)
            raise
        return self._there.update(template, until, {**labels, _COMPLETE: "yes"})

    def _delete_useless(self, kind: str, name: str) -> None:
        """Delete those of the same migrations whose parent has changed since, and that no living run copies."""
        for each in self._there.branches():
            if each.name.startswith(f"{kind}-") and each.name != name and not self._users(each):
                self._there.delete(each)

    def _users(self, template: Branch) -> list[str]:
        named = template.labels.get(_USERS, "").split()
        return [run for run in named if self._there.default.is_held(lock_of_run(run))]

    def _is_complete(self, template: Branch) -> bool:
        keys = {key for key in configured.engines_of(self._plan.app) if key is not None}
        return _COMPLETE in template.labels and keys.issubset(template.binds)

    def _key(self) -> str:
        """What the template depends on, beside the state of its parent."""
        plan = self._plan
        masks = sorted(plan.app.config.get("BRANCHES_MASKS", {}).items())
        binds = sorted(str(key) for key in configured.engines_of(plan.app))
        return _digest(migrating.fingerprint(plan.app, plan.root), plan.parent, str(plan.at), repr(masks), *binds)


def _digest(*parts: str) -> str:
    digest = sha256()
    for part in parts:
        digest.update(f"{part}\0".encode())
    return digest.hexdigest()[:_DIGEST]
