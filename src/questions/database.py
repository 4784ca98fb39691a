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

from questions.errors import NotMigrated, Unavailable, database_trouble
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


def init_app(app: Flask) -> None:
    """Let no request fail after its answer: join after Flask-SQLAlchemy, which ends a request's session as well."""
    app.teardown_appcontext(_end_transaction)


def _end_transaction(_error: BaseException | None) -> None:
    """End what a request has left open; a suspended compute takes away the connections of those that are answered."""
    try:
        db.session.rollback()
    except sa.exc.DBAPIError as error:
        _log.warning("database: %s", str(error.orig).strip())
        db.session().invalidate()


def require_head() -> None:
    """Refuse a database that is not at the code's newest migration.

    Raises:
        NotMigrated: with the revision that it is at, the one that is needed, and the remedy.
        sqlalchemy.exc.SQLAlchemyError: where it cannot be reached.
    """
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    scripts = _scripts()
    heads = scripts.get_heads()
    if set(current) == set(heads):
        return
    at = ", ".join(current) or "no revision"
    if not {each.revision for each in scripts.walk_revisions()}.issuperset(current):
        raise NotMigrated(f"The database is at {at}, which this code does not know. Run the newer code that made it.")
    raise NotMigrated(
        f"The database is at {at}, this code needs {', '.join(heads)}. Run: flask --app questions db upgrade"
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
        click.ClickException: where the database cannot be used, as :func:`errors_as_messages` tells it.
    """
    engine = db.engine
    with errors_as_messages(migrating=True):
        if config.owns_database and config.environment == "sqlite":
            _make_folder_of(Path(str(engine.url.database)))
        # The engine's URL, not the settings': in a test the application works on a branch.
        if (direct := config.migration_url(engine.url)) != engine.url:
            engine = sa.create_engine(direct, poolclass=sa.NullPool, **config.engine_options)
        with engine.connect() as connection:
            yield connection


@contextmanager
def errors_as_messages(*, migrating: bool = False) -> Iterator[None]:
    """Show the user of a command that the database cannot be used, without a traceback.

    Args:
        migrating: a missing table is then a mistake in a migration, and no reason to migrate.

    Raises:
        click.ClickException: in place of :class:`Unavailable` and of what the driver says of such a database.
    """
    try:
        yield
    except Unavailable as error:
        raise click.ClickException(str(error)) from None
    except sa.exc.SQLAlchemyError as error:
        trouble = database_trouble(error)
        if trouble is None or (migrating and isinstance(trouble, NotMigrated)):
            raise
        raise click.ClickException(f"{trouble} ({str(getattr(error, 'orig', error)).strip()})") from None


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(shipped("migrations")))


def _make_folder_of(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The folder of {path} cannot be made: {error.strerror}.") from None


def _make_sqlite_file(path: Path) -> None:
    """Migrate a private file and link it into place: nobody sees half a database, and the slower one drops its own."""
    if path.exists():
        return
    _make_folder_of(path)
    private = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(private)), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            _upgrade(connection)
            # Kept in the file: readers then go on while somebody writes.
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        os.link(private, path)
        _log.info("made and migrated %s", path)
    except FileExistsError:
        _log.debug("another process made %s first", path)
    except OSError as error:  # a file system without hard links
        raise Unavailable(
            f"{path} cannot be put in place: {error.strerror}. Make it with: flask --app questions db upgrade"
        ) from None
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
