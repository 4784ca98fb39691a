"""An application's schema brought into a branch: by its migrations, or from its models where it has none."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask_branches import ddl
from flask_branches.binding import bound
from flask_branches.errors import MigrationFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy

    from flask_branches.branch import Branch

_SKIPPED = {"__pycache__"}


def migrate(app: Flask, branch: Branch, root: Path | None = None) -> None:
    """Bring a branch to the newest migration; without Flask-Migrate, make the tables that are missing.

    The application works on the branch meanwhile: whatever its ``env.py`` asks it for, it gets the branch.

    Args:
        app: the application.
        branch: what is migrated.
        root: where its folder of migrations is looked for; by default, the working directory.

    Raises:
        MigrationFailed: with what went wrong.
    """
    migrations = folder(app, root)
    try:
        with at_work(app, branch):
            if migrations is not None:
                _upgrade(migrations)
            else:
                app.extensions["sqlalchemy"].create_all()
    except MigrationFailed:
        raise
    except Exception as error:  # migrations are others' code, and may raise anything; raised again as theirs
        said = str(getattr(error, "orig", error)).strip().split("\n")[0]
        raise MigrationFailed(
            f"The schema could not be brought into the branch {branch.name!r}: {type(error).__name__}: {said}"
        ) from error


@contextmanager
def at_work(app: Flask, branch: Branch) -> Iterator[None]:
    """Let an application be on a branch for the time of a block in which its migrations run, as on the command line."""
    with bound(app, branch), app.app_context(), _loggers_kept(), _as_on_the_command_line():
        yield


def fingerprint(app: Flask, root: Path | None = None) -> str:
    """A digest of what :func:`migrate` would do: of every file of the migrations, or of all that the models make."""
    digest = sha256()
    migrations = folder(app, root)
    if migrations is None:
        for text in _models(app):
            digest.update(f"{text}\0".encode())
    else:
        for path in sorted(migrations.rglob("*")):
            if path.is_file() and not _SKIPPED.intersection(path.parts):
                digest.update(f"{path.relative_to(migrations)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def folder(app: Flask, root: Path | None = None) -> Path | None:
    """Where the migrations are; None for an application without Flask-Migrate, or without a folder yet.

    Flask-Migrate looks in the working directory. Tests may begin in another, so the application's own is tried as well,
    and that above: where ``flask --app`` is usually said.
    """
    configured = app.extensions.get("migrate")
    if configured is None:
        return None
    own = Path(app.root_path)
    for place in (root or Path.cwd(), own, own.parent):
        if (place / configured.directory / "env.py").is_file():
            return place / str(configured.directory)
    return None


def _upgrade(migrations: Path) -> None:
    from flask_migrate import upgrade

    try:
        upgrade(directory=str(migrations))
    except SystemExit as error:  # Flask-Migrate's way to say that Alembic refused
        said = str(error.__context__ or "no reason").strip().split("\n")[0].rstrip(".")
        raise MigrationFailed(f"Alembic refuses the migrations in {migrations}: {said}. Correct them.") from error


def _models(app: Flask) -> Iterator[str]:
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    with app.app_context():
        engines = db.engines
    for key, metadata in sorted(db.metadatas.items(), key=lambda pair: str(pair[0])):
        yield f"{key}: "
        yield from ddl.statements(metadata, engines.get(key, engines[None]).url)


@contextmanager
def _as_on_the_command_line() -> Iterator[None]:
    """A test run's filters are not meant for migrations: Flask-Migrate's own ``env.py`` calls what is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def _loggers_kept() -> Iterator[None]:
    """Undo what a stock ``env.py`` does to logging: ``fileConfig`` switches off every logger that there is."""
    as_new: tuple[Any, ...] = (False, logging.NOTSET, True, [])
    before = {each: (each.disabled, each.level, each.propagate, list(each.handlers)) for each in _loggers()}
    try:
        yield
    finally:
        for each in _loggers():
            each.disabled, level, each.propagate, each.handlers = before.get(each, as_new)
            each.setLevel(level)


def _loggers() -> list[logging.Logger]:
    root = logging.getLogger()
    return [root, *(each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger))]
