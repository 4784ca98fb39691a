"""The extension: branches of whatever databases an application has."""

from __future__ import annotations

import enum
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakKeyDictionary

from flask.globals import app_ctx

from flask_branches import branch as branches_
from flask_branches import config, configured, record, signals
from flask_branches.branch import EMPTY, MAIN
from flask_branches.cli import branches as commands
from flask_branches.errors import BranchNotFound, ConfigurationError, InvalidValue
from flask_branches.record import RUN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta
    from typing import TypedDict, Unpack

    from flask import Flask

    from flask_branches.branch import Branch, Data, PointInTime
    from flask_branches.config import Config
    from flask_branches.databases import Databases


class _Default(enum.Enum):
    """What stands for ``BRANCHES_EXPIRE``, since None means that a branch never expires."""

    DEFAULT = enum.auto()


DEFAULT: Final = _Default.DEFAULT

if TYPE_CHECKING:
    Lifetime = str | timedelta | None | Literal[_Default.DEFAULT]

    class Options(TypedDict, total=False):
        """What a branch may be made with, beside its name."""

        parent: str | None
        at: str | PointInTime | None
        expires_in: Lifetime
        expires_at: str | datetime | None
        data: Data
        force: bool


class Branches:
    """Branches of an application's databases; it holds no application, and serves any number of them.

    Its methods work on the current application's databases, and need an application context.

    Args:
        app: an application to begin with; the same as :meth:`init_app`.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._configs: WeakKeyDictionary[Flask, Config] = WeakKeyDictionary()
        self._databases: WeakKeyDictionary[Flask, Databases] = WeakKeyDictionary()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Join an application: read its settings and the environment's, and add ``flask branches``.

        Args:
            app: its Flask-SQLAlchemy may come before or after.

        Raises:
            ConfigurationError: for a setting that cannot be used, and for an application that is joined already.
        """
        if "branches" in app.extensions:
            raise ConfigurationError(f"The application {app.name!r} has its branches already: call init_app once.")
        self._configs[app] = config.read(app.config)
        app.extensions["branches"] = self
        app.cli.add_command(commands)

    def create(
        self,
        name: str | None = None,
        *,
        parent: str | None = None,
        at: str | PointInTime | None = None,
        expires_in: Lifetime = DEFAULT,
        expires_at: str | datetime | None = None,
        data: Data = "copy",
        force: bool = False,
    ) -> Branch:
        """Make a branch.

        Args:
            name: what it is called; one is made up where it is left out.
            parent: what it is copied from: a branch's name, ``"main"`` (the default), or ``"empty"`` for a database
                without anything in it.
            at: a point in time, with a zone, or a log position; None for the parent's present.
            expires_in: a span such as ``"12h"`` or a timedelta, None for ever; by default ``BRANCHES_EXPIRE``.
            expires_at: the moment itself, in place of the span.
            data: ``"copy"``, or ``"empty"`` for the parent's schema without a row.
            force: end idle sessions that keep a Postgres parent from being copied; never those of main.

        Raises:
            BranchExists, BranchNotFound, DatabaseFailed, DatabaseInUse, InvalidValue, MaskFailed, NotSupported: as
                their texts say.
        """
        return self._create(
            name,
            {},
            parent=parent,
            at=at,
            expires_in=expires_in,
            expires_at=expires_at,
            data=data,
            force=force,
        )

    def get(self, name: str) -> Branch:
        """The branch of that name.

        Raises:
            BranchNotFound: where there is none.
        """
        return self.databases.get(name)

    def pooled_url(self, name: str) -> str:
        """Where a branch is through its connection pooler, for work that needs no session: Neon's alone have one.

        Raises:
            BranchNotFound: where there is none of that name.
            NotSupported: where the backend has no pooler.
        """
        there = self.databases
        return there.default.pooled(there.get(name))

    def list(self) -> Sequence[Branch]:
        """Every branch of the application's databases, oldest first."""
        return self.databases.branches()

    def delete(self, name: str) -> None:
        """Delete a branch, and end the sessions that it has.

        Raises:
            BranchNotFound: where there is none.
        """
        there = self.databases
        there.delete(there.get(name))

    def reset(self, name: str, *, force: bool = False) -> Branch:
        """Give a branch its parent's present data; its URL stays the same.

        Args:
            name: which one.
            force: end idle sessions that are connected to it.

        Raises:
            BranchNotFound: where it, or its parent, is gone.
            DatabaseInUse: where sessions are connected to a Postgres branch.
        """
        there = self.databases
        return there.reset(there.get(name), force=force)

    def set_expiration(
        self, name: str, *, expires_in: Lifetime = DEFAULT, expires_at: str | datetime | None = None
    ) -> Branch:
        """Put off when a branch goes, or bring it forward; its data stays as it is.

        Args:
            name: which one.
            expires_in: a span from now such as ``"14d"`` or a timedelta, None for never; by default
                ``BRANCHES_EXPIRE``.
            expires_at: the moment itself, in place of the span.

        Raises:
            BranchNotFound: where there is none.
            InvalidValue: for a moment in the past, and on Neon for one that is too far away.
        """
        there = self.databases
        return there.update(there.get(name), self._expiry(expires_in, expires_at))

    def diff(self, name: str, other: str | None = None) -> str:
        """What a branch's schema has that another's has not, as a unified diff of :func:`~flask_branches.schema.dump`.

        Empty where the two do not differ in what that lists: tables and whatever hangs on them, views, functions and
        types, but neither rights nor comments nor what is rarer.

        Args:
            name: a branch.
            other: what it is compared with, a branch or ``"main"``; by default its parent.

        Raises:
            BranchNotFound: where one of them is gone.
        """
        there = self.databases
        found = there.get(name)
        other = other or found.parent
        if other is None:
            raise BranchNotFound(f"The branch {name!r} began empty and has no parent: name what to compare it with.")
        return there.diff(name, other)

    def prune(self, *, dry_run: bool = True) -> Sequence[Branch]:
        """The branches that nobody needs: their time is over, or the test run that they were made for has died.

        Args:
            dry_run: only name them.

        Only what carries this package's record is looked at. What creations that died have left half built goes too.
        """
        there = self.databases
        over = [each for each in there.branches() if there.is_over(each)]
        if not dry_run:
            for each in over:
                there.delete(each)
            there.sweep(dry_run=False)
        return over

    @contextmanager
    def temporary(self, name: str | None = None, **options: Unpack[Options]) -> Iterator[Branch]:
        """A branch for the time of a block: deleted at its end, on an error, on SIGINT and on SIGTERM too.

        Args:
            name: as for :meth:`create`.
            options: the same.
        """
        there = self.databases
        run = secrets.token_hex(8)
        # Held as a test run's lock is: what a killed process leaves behind is known at once to be nobody's.
        with signals.raising(), there.run_alive(run):
            made: Branch | None = None
            try:
                made = self._create(name, {RUN: run}, **options)
                yield made
            finally:
                with signals.held():
                    there.delete_run(run, made)

    @property
    def config(self) -> Config:
        """The current application's settings."""
        app = _app()
        if app not in self._configs:
            raise ConfigurationError(f"The application {app.name!r} has no branches: call branches.init_app(app).")
        return self._configs[app]

    @property
    def databases(self) -> Databases:
        """The current application's databases, as they were configured: later branches of it change nothing here."""
        app, settings = _app(), self.config
        known = self._databases.get(app)
        if known is None or not configured.is_current(known):
            known = self._databases[app] = configured.of_app(app, settings.backend, settings.masks, settings.neon)
        return known

    def _create(
        self,
        name: str | None,
        labels: dict[str, str],
        *,
        parent: str | None = None,
        at: str | PointInTime | None = None,
        expires_in: Lifetime = DEFAULT,
        expires_at: str | datetime | None = None,
        data: Data = "copy",
        force: bool = False,
    ) -> Branch:
        from flask_branches.isolation import refuse_unseen  # which no application needs to start

        there = self.databases
        until = self._expiry(expires_in, expires_at)
        point = None if at is None else branches_.point_in_time(at)
        if data not in {"copy", "empty"}:
            raise InvalidValue(f"data is {data!r}: write 'copy' or 'empty'.")
        name = branches_.check_name(_made_up() if name is None else name, there.longest_name)
        parent = MAIN if parent is None else parent
        if parent == MAIN:
            refuse_unseen(there)
        elif parent != EMPTY:
            there.get(parent)
        made = record.made(name, parent=None if parent == EMPTY else parent, main=None, expires_at=until, **labels)
        return there.create(made, at=point, data=data, force=force)

    def _expiry(self, expires_in: Lifetime, expires_at: str | datetime | None) -> datetime | None:
        if expires_at is not None:
            if expires_in is not DEFAULT:
                raise InvalidValue("expires_in and expires_at are both given: leave one of them out.")
            return branches_.expiry(expires_at=expires_at)
        return branches_.expiry(expires_in=self.config.expires_in if expires_in is DEFAULT else expires_in)


def _made_up() -> str:
    return f"branch-{secrets.token_hex(4)}"


def _app() -> Flask:
    return app_ctx.app
