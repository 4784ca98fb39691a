"""The database's schema against the code's: is it at head, and the first start of a database of our own."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, current_app

from questions.errors import NotMigrated, Unavailable
from questions.extensions import db
from questions.shipped import shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from questions.config import Config

_log = logging.getLogger(__name__)

# Alembic keeps its context in module globals: one upgrade at a time in one process.
_migrating = threading.Lock()
# Any number that no other program on this server locks by.
_FIRST_START = 7_215_640_921


def require_head() -> None:
    """Refuse a database that is not at the code's newest migration.

    Raises:
        NotMigrated: with the revision that it is at, the one that is needed, and the remedy.
        sqlalchemy.exc.SQLAlchemyError: where it cannot be reached.
    """
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    if set(current) != set(_heads()):
        at = ", ".join(current) or "no revision"
        raise NotMigrated(
            f"The database is at {at}, this code needs {', '.join(_heads())}. Run: flask --app questions db upgrade"
        )


def prepare(app: Flask, config: Config) -> None:
    """Make and migrate the application's own database on its first start; do nothing to one that was named.

    Safe to call by many processes at once: one of them makes the database, and all of them find it.

    Raises:
        NotMigrated: where it exists and is behind the code: data that is kept is never migrated unasked.
        Unavailable: where it cannot be made.
    """
    if not config.owns_database:
        return
    with app.app_context():
        if config.environment == "sqlite":
            _make_sqlite_file(Path(str(db.engine.url.database)))
        else:
            _migrate_new_postgres()
        require_head()


@contextmanager
def migration_connection(config: Config) -> Iterator[Connection]:
    """A connection for ``flask db``: by the application's own engine, or the direct way past a pooler.

    Raises:
        click.ClickException: where the database cannot be reached.
    """
    engine = db.engine
    if config.migration_url is not None and config.migration_url != config.url:
        engine = sa.create_engine(config.migration_url, poolclass=sa.NullPool, **config.engine_options)
    try:
        connection = engine.connect()
    except sa.exc.OperationalError as error:
        raise click.ClickException(f"The database cannot be reached: {str(error.orig).strip()}") from None
    with connection:
        yield connection


@cache
def _heads() -> tuple[str, ...]:
    return tuple(ScriptDirectory(str(shipped("migrations"))).get_heads())


def _make_sqlite_file(path: Path) -> None:
    """Migrate a private file and link it into place: nobody sees half a database, and the slower one drops its own."""
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The folder of {path} cannot be made: {error.strerror}.") from None
    private = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    engine = sa.create_engine(f"sqlite:///{private}", poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            _upgrade(connection)
            # Kept in the file: readers then go on while somebody writes.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        os.link(private, path)
        _log.info("made and migrated %s", path)
    except FileExistsError:
        _log.debug("another process made %s first", path)
    finally:
        private.unlink(missing_ok=True)


def _migrate_new_postgres() -> None:
    with db.engine.connect() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(_FIRST_START)))
        connection.commit()
        try:
            if not MigrationContext.configure(connection).get_current_heads():
                connection.rollback()
                _upgrade(connection)
                _log.info("made and migrated the embedded database")
        finally:
            connection.rollback()
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_FIRST_START)))
            connection.commit()


def _upgrade(connection: Connection) -> None:
    config = AlembicConfig()
    config.set_main_option("script_location", str(shipped("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _migrating:
        command.upgrade(config, "head")


def settings() -> Config:
    """The settings of the application at hand."""
    config: Config = current_app.extensions["questions"]
    return config
