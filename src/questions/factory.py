"""The one place where the parts are joined."""

from __future__ import annotations

import threading
from pathlib import Path

import click
import sqlalchemy as sa
from flask import Flask, request
from flask.cli import run_command

from flask_branches import embedded
from flask_branches.errors import ConfigurationError, NoServer
from questions import cli, database, errors, logs
from questions.blueprints import register_blueprints
from questions.config import Config, load_config
from questions.extensions import branches, db, migrate
from questions.settings_files import ConfigError
from questions.shipped import shipped

_EMBEDDED_DATABASE = "questions"


def create_app(config: Config | str | None = None) -> Flask:
    """The application, for one environment.

    Args:
        config: an environment's name (``"sqlite"``, ``"postgres"``, ``"neon"``), a :class:`~questions.config.Config`,
            or None for the environment that ``QUESTIONS_CONFIG`` names, ``sqlite`` where it is not set.

    Raises:
        ConfigError: for settings that cannot be used; the message names the key and the remedy.
    """
    config = load_config(config).located()
    app = Flask("questions", instance_path=str(Path.cwd() / "instance"))
    app.extensions["questions"] = config
    app.config.from_mapping(
        API_TITLE="Questions",
        API_VERSION="1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        MAX_CONTENT_LENGTH=config.max_body_bytes,
        SQLALCHEMY_DATABASE_URI=config.url or _own_url(app, config),
        SQLALCHEMY_ENGINE_OPTIONS=config.engine_options,
        **config.for_branches,
    )
    logs.init_app(app, config)
    db.init_app(app)
    database.init_app(app)
    migrate.init_app(app, db, directory=shipped("migrations"))
    _join_branches(app)
    register_blueprints(app)
    errors.init_app(app)
    app.cli.add_command(cli.questions)
    if config.owns_database:
        _prepare_on_first_use(app, config)
    return app


def _own_url(app: Flask, config: Config) -> sa.URL:
    if config.environment == "sqlite":
        return sa.URL.create("sqlite", database=str(Path(app.instance_path) / "questions.sqlite"))
    try:
        return embedded.url(_EMBEDDED_DATABASE)
    except NoServer as error:
        raise ConfigError(f"DATABASE_URL is not set, and no Postgres can stand in: {error}") from None


def _join_branches(app: Flask) -> None:
    try:
        branches.init_app(app)
    except ConfigurationError as error:
        raise ConfigError(str(error)) from None


def _prepare_on_first_use(app: Flask, config: Config) -> None:
    """Make the application's own database when it begins to serve, not when a command merely loads it."""
    if config.environment == "postgres":
        with app.app_context():
            embedded.serve(db.engine, Path(app.instance_path) / "postgres")
    prepared = threading.Event()

    @app.before_request
    def prepare() -> None:
        # A service that is alive says so, whatever its database does.
        if request.endpoint != "health.alive" and not prepared.is_set():
            database.prepare(app, config)
            prepared.set()

    context = click.get_current_context(silent=True)
    if context is not None and context.command is run_command:
        with database.errors_as_messages():
            database.prepare(app, config)
