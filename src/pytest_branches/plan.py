"""What a run tests on, and why: decided once, before anything is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dotenv import dotenv_values

from flask_branches import config as branches_config
from flask_branches import embedded, urls
from flask_branches.branch import EMPTY, MAIN, duration, point_in_time
from flask_branches.configured import engines_of
from flask_branches.errors import ConfigurationError, InvalidValue
from pytest_branches import options
from pytest_branches.loading import load_app

if TYPE_CHECKING:
    from datetime import timedelta

    import pytest
    import sqlalchemy as sa
    from flask import Flask

    from flask_branches.branch import PointInTime

Kind = Literal["own", "new", "existing"]

_KEEP = ("never", "failed", "always")
_DEFAULT_EXPIRY = "1h"


@dataclass(frozen=True)
class Plan:
    """A run's decisions."""

    app: Flask
    is_module_level: bool
    """Whether the tests can get at the very same application object."""
    kind: Kind
    """Branches of the application's own databases; new ones of another kind; or an existing branch."""
    backend: str
    parent: str
    why: str
    keep: str
    expires_in: timedelta
    at: PointInTime | None = None
    url: sa.URL | None = None

    def describe(self) -> str:
        """One line for the report's header."""
        if self.kind == "existing" and self.url is not None:
            return f"{self.backend}, on {self.url.render_as_string()} itself, because {self.why}"
        source = "nothing, a new database" if self.parent == EMPTY else f"{self.parent} ({self._main()})"
        return f"{self.backend}, a branch of {source}, because {self.why}"

    def _main(self) -> str:
        url = engines_of(self.app)[None].url
        return url.render_as_string() if self.parent == MAIN else f"a branch of {url.render_as_string()}"


def decide(config: pytest.Config) -> Plan:
    """Read the options, load the application, and decide.

    Raises:
        BranchesError: for an option that cannot be used, and an application that cannot be loaded.
    """
    spec = config.getini(options.APP)
    if not spec:
        raise ConfigurationError(
            f"{options.APP} is not set: write {options.APP} = package:create_app in pytest's ini file."
        )
    branches_config.refuse_unknown("the environment", os.environ)
    keep, expires_in, at = _keep(config), _expires_in(config), _at(config)
    app, is_module_level = load_app(spec, config.rootpath)
    own = engines_of(app)[None]
    backend = options.get(config, "backend")
    chosen = branches_config.check_backend(backend.value or None, backend.source) or urls.backend_of(own.url)
    existing = _existing(config)
    if existing:
        url = urls.parsed(existing.value or "", existing.source)
        if backend and chosen != urls.backend_of(url):
            raise ConfigurationError(
                f"{backend.source} is {chosen}, and {existing.source} leads to another kind of database."
            )
        url = url.set(drivername=own.url.drivername) if url.get_backend_name() == own.dialect.name else url
        return Plan(
            app,
            is_module_level,
            "existing",
            urls.backend_of(url),
            MAIN,
            f"{existing.source} names it",
            keep,
            expires_in,
            at,
            url,
        )
    parent, why = _parent(config, own, chosen, backend)
    kind: Kind = "new" if chosen != urls.backend_of(own.url) or embedded.is_served(own) else "own"
    if kind == "new" and parent != EMPTY:
        raise ConfigurationError(
            f"{options.get(config, 'parent').source} is {parent!r}, and there is no {chosen} database of that name: "
            "leave it out, or say empty."
        )
    return Plan(app, is_module_level, kind, chosen, parent, why, keep, expires_in, at)


def _existing(config: pytest.Config) -> options.Option:
    given = options.get(config, "url")
    if given.source != "branches_url" or given:
        return given
    written = dotenv_values(config.rootpath / ".env.test")
    for name in ("BRANCHES_URL", "DATABASE_URL"):
        if written.get(name):
            return options.Option(written[name], f"{name} in .env.test")
    named = dotenv_values(config.rootpath / ".env").get("BRANCHES_URL")
    return options.Option(named, "BRANCHES_URL in .env") if named else given


def _parent(config: pytest.Config, own: sa.Engine, backend: str, chosen: options.Option) -> tuple[str, str]:
    given = options.get(config, "parent")
    if given.value:
        return given.value, f"{given.source} says so"
    if backend != urls.backend_of(own.url):
        return EMPTY, f"{chosen.source} is {backend}"
    if embedded.is_served(own):
        return EMPTY, "no DATABASE_URL is set"
    return _named(config, backend)


def _named(config: pytest.Config, backend: str) -> tuple[str, str]:
    """A database that somebody has named is a parent; a SQLite file that an application has by itself is none."""
    if os.environ.get("DATABASE_URL"):
        return MAIN, "DATABASE_URL names its parent"
    if dotenv_values(config.rootpath / ".env").get("DATABASE_URL"):
        return MAIN, "DATABASE_URL in .env names its parent"
    if backend == "sqlite":
        return EMPTY, "no DATABASE_URL is set"
    return MAIN, "the application is configured with its parent"


def _keep(config: pytest.Config) -> str:
    given = options.get(config, "keep")
    if given.value not in {None, "", *_KEEP}:
        raise ConfigurationError(f"{given.source} is {given.value!r}: say never, failed or always.")
    return given.value or _KEEP[0]


def _expires_in(config: pytest.Config) -> timedelta:
    given = options.get(config, "expire")
    try:
        return duration(_DEFAULT_EXPIRY if given.value is None else given.value, given.source)
    except InvalidValue as error:
        raise ConfigurationError(str(error)) from None


def _at(config: pytest.Config) -> PointInTime | None:
    given = options.get(config, "at")
    return point_in_time(given.value) if given.value else None
