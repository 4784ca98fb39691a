"""An application's migrations, run step by step by its own ``env.py``."""

from __future__ import annotations

import io
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from flask_branches import migrating, signals, urls
from flask_branches.configured import engines_of
from flask_branches.errors import BranchesError, MigrationFailed, NotSupported
from flask_branches.rehearsal import passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import Script
    from flask import Flask
    from sqlalchemy.engine import Connection

    Heads = tuple[str, ...]
    Steps = Callable[[Heads], Iterable[RevisionStep]]


class Watcher(Protocol):
    """Whoever is told of the steps of a run."""

    def before(self, step: RevisionStep, context: MigrationContext) -> None:
        """A step is to begin; where each has a transaction of its own, before that is opened."""

    def after(self, step: RevisionStep, context: MigrationContext) -> None:
        """It has ended; where each has a transaction of its own, that is over too."""


class Migrations:
    """The migrations of an application that works on a branch; see :func:`~flask_branches.migrating.at_work`.

    Args:
        app: the application.
        root: where its folder of migrations is looked for; by default, the working directory.

    Raises:
        NotSupported: for an application without any.
    """

    def __init__(self, app: Flask, root: Path | None = None) -> None:
        folder = migrating.folder(app, root)
        if folder is None:
            raise NotSupported(
                f"The application {app.name!r} has no folder of migrations here, so there is nothing to rehearse: join "
                "Flask-Migrate, and say flask db init."
            )
        self.app = app
        self.folder = folder
        self.version_table = "alembic_version"
        """Where Alembic notes down the revision; an ``env.py`` may call it otherwise, as :meth:`current` finds out."""
        self.visits: list[tuple[str | None, Heads]] = []
        """Where ``env.py`` was, as :meth:`current` finds out: in one database several times, where each tenant has a
        schema there."""

    def current(self) -> dict[str | None, Heads]:
        """The revisions that each database is at, by bind key; of all its schemas where it has several.

        Raises:
            MigrationFailed: where the application's ``env.py`` cannot be run, or cannot read what it needs.
        """
        found: dict[str | None, Heads] = {}
        self.visits = []

        def look(heads: Heads, context: MigrationContext) -> None:
            key = self.key_of(context)
            self.visits.append((key, heads))
            found[key] = tuple(dict.fromkeys((*found.get(key, ()), *heads)))
            self.version_table = context.version_table

        try:
            self.visit(look)
        except BranchesError:
            raise
        except (Exception, SystemExit) as error:  # env.py is others' code, and may raise anything
            if signals.is_exit(error):
                raise
            raise MigrationFailed(
                f"{self.folder / 'env.py'} cannot be run on the branch: {_named(error)}. Correct what it says, and see "
                "that flask db current goes through."
            ) from error
        return found

    def visit(self, look: Callable[[Heads, MigrationContext], None]) -> None:
        """Be in each database as ``env.py`` has it, and run nothing.

        Args:
            look: is told the revisions that a database is at, and how Alembic is set up for it.

        Raises:
            MigrationFailed: where Alembic refuses; whatever ``look`` and ``env.py`` raise is raised.
        """

        def looked(heads: Heads, context: MigrationContext) -> list[RevisionStep]:
            look(heads, context)
            return []

        self._run(looked)

    def history(self) -> list[str]:
        """All revisions that there are files for, each after those that it comes from."""
        with self._told():
            return [each.revision for each in self._loaded().walk_revisions()][::-1]

    def pending(self, current: Heads, to: str = "heads") -> list[RevisionStep]:
        """What is between the revisions that a database is at and another one, in the order of a run.

        Raises:
            MigrationFailed: for a revision without a file, one that is not the only one of its name, several heads
                where one is asked for, a file that cannot be read, and ``base``, which nothing leads up to.
        """
        if to == "base":
            raise MigrationFailed("Nothing is pending up to base, which is what a downgrade goes to: name a revision.")
        with self._told():
            script = self._loaded()
            known = {each.revision for each in script.walk_revisions()}
            if unknown := sorted(set(current) - known):
                raise MigrationFailed(
                    f"The database is at {', '.join(unknown)}, which is in no file of {self.folder}: rehearse with the "
                    "code that made it, or newer code."
                )
            heads = script.get_heads()
            if to == "head" and len(heads) > 1:
                raise MigrationFailed(
                    f"The migrations in {self.folder} have several heads, {', '.join(sorted(heads))}: join them with "
                    "flask db merge, or name one with --to."
                )
            return script._upgrade_revs(to, cast("str", current))  # noqa: SLF001  alembic.command has no other word for it

    def upgrade(self, to: str, watcher: Watcher | None = None) -> None:
        """Run what is pending, up to a revision.

        Raises:
            MigrationFailed: where Alembic refuses; whatever a migration raises is raised.
        """
        self._run(self._stepping(lambda heads: self.pending(heads, to), watcher))

    def undo(self, script: Script, keys: Collection[str | None] | None = None) -> None:
        """Undo one revision and no other, also where it has several before it, or others beside it.

        Args:
            script: the revision.
            keys: the databases that it is undone in; by default, all.

        Raises:
            MigrationFailed: where Alembic refuses; whatever a migration raises is raised.
        """
        step = MigrationStep.downgrade_from_script(self._script().revision_map, script)

        def steps(heads: Heads, context: MigrationContext) -> list[RevisionStep]:
            is_meant = keys is None or self.key_of(context) in keys
            return [step] if is_meant and script.revision in heads else []

        self._run(steps)

    def key_of(self, context: MigrationContext) -> str | None:
        """Which of the application's databases a run is in: its bind key, None for the default one."""
        engine = cast("Connection", context.connection).engine  # there is one but in offline runs
        for key, each in engines_of(self.app).items():
            if each is engine or urls.key(each.url) == urls.key(engine.url):
                return key
        return None  # by another address, as past a pooler

    def config(self) -> Config:
        """Alembic's configuration, as ``flask db`` has it, which prints nothing."""
        made: Config = self.app.extensions["migrate"].migrate.get_config(str(self.folder))
        made.stdout = io.StringIO()
        return made

    def _script(self) -> ScriptDirectory:
        return ScriptDirectory.from_config(self.config())

    def _loaded(self) -> ScriptDirectory:
        """With every revision's file read."""
        script = self._script()
        try:
            script.get_heads()
        except CommandError:
            raise
        except (Exception, SystemExit) as error:  # revisions are others' code, and may raise anything
            if signals.is_exit(error):
                raise
            raise MigrationFailed(
                f"The migrations in {self.folder} cannot be read: {_named(error)}{_place(error)}. Correct them."
            ) from error
        return script

    def _stepping(
        self, steps: Steps, watcher: Watcher | None
    ) -> Callable[[Heads, MigrationContext], Iterable[RevisionStep]]:
        """Alembic asks for one step after the other, and commits in between."""

        def each(heads: Heads, context: MigrationContext) -> Iterator[RevisionStep]:
            for step in steps(heads):
                if watcher is not None:
                    watcher.before(step, context)
                yield step
                if watcher is not None:
                    watcher.after(step, context)

        return each

    def _run(self, steps: Callable[[Heads, MigrationContext], Iterable[RevisionStep]]) -> None:
        config = self.config()
        script = ScriptDirectory.from_config(config)
        connections: list[Connection] = []

        def noted(heads: Heads, context: MigrationContext) -> Iterable[RevisionStep]:
            connections.append(cast("Connection", context.connection))
            return steps(heads, context)

        with self._told(), EnvironmentContext(config, script, fn=noted, as_sql=False, tag=None):
            script.run_env()
        for connection in connections:
            _roll_back(connection)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except CommandError as error:
            said = str(error).strip().split("\n")[0].rstrip(".")
            raise MigrationFailed(f"Alembic refuses the migrations in {self.folder}: {said}. Correct them.") from error


def _roll_back(connection: Connection) -> None:
    """End the transaction that ``env.py`` has left open, as the end of its process does for ``flask db``."""
    if not (connection.closed or connection.invalidated) and connection.in_transaction():
        connection.rollback()


def _named(error: BaseException) -> str:
    """An error in one line, with its kind."""
    said = passwords.in_urls(str(getattr(error, "orig", error)).strip().split("\n")[0].rstrip("."))
    return f"{type(getattr(error, 'orig', error)).__name__}: {said}" if said else type(error).__name__


def _place(error: BaseException) -> str:
    """The line that an error comes from, but of a mistake in the writing, which says it itself."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "" if isinstance(error, SyntaxError) else f" ({Path(last.filename).name}, line {last.lineno})"
