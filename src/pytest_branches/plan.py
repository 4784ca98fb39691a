"""What a run tests on, and why: decided once, before anything is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from flask_branches import config as branches_config
from flask_branches import embedded, migrating, neon_address, neon_settings, urls
from flask_branches.branch import EMPTY, MAIN, duration, point_in_time
from flask_branches.configured import engines_of, kind_of
from flask_branches.errors import ConfigurationError, InvalidValue, Refused
from flask_branches.guard import OWN
from pytest_branches import options
from pytest_branches.isolating import close_pools
from pytest_branches.loading import load_app
from pytest_branches.watch import read_only

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path
    from types import ModuleType

    import pytest
    import sqlalchemy as sa
    from flask import Flask

    from flask_branches.branch import PointInTime
    from flask_branches.neon_settings import NeonSettings

Kind = Literal["own", "new", "existing"]

_DEFAULT_EXPIRY = "1h"


@dataclass(frozen=True)
class Plan:
    """A run's decisions."""

    app: Flask
    module: ModuleType | None
    """Whose own the application is: then the tests can get at the very same object."""
    root: Path
    """The folder of the ini file."""
    own: tuple[sa.URL, ...]
    """The application's own databases, which nothing may be written to."""
    keep: str
    expires_in: timedelta
    kind: Kind
    """Branches of the application's own databases; new ones in their place; or an existing branch."""
    backend: str
    backend_from: str
    """What has named the backend; nothing where it is the application's own."""
    why: str = ""
    parent: str = MAIN
    at: PointInTime | None = None
    url: sa.URL | None = None
    url_from: str = ""
    neon: NeonSettings | None = None
    """How Neon is asked, where that is set."""
    own_backend: str | None = None
    """What the application's own ``BRANCHES_BACKEND`` says."""
    migrates: bool = True
    """Whether an existing branch is migrated; the code of an earlier release does not know the revision it is at."""
    workers: int = 1
    """How many processes test at the same time."""
    looks_up_main: bool = False
    """Whether the application is configured with another kind of database, and Neon's settings name the parent."""
    main: sa.URL | None = None
    """What they name, once it is looked up."""
    shared: str = ""
    """Why all workers have one branch of Neon; nothing where each has its own."""

    @property
    def is_on_neon(self) -> bool:
        """Whether Neon makes the run's branches."""
        return self.backend == "neon" and self.kind == "own"

    def require_neon(self) -> NeonSettings:
        """How Neon is asked, for a run that has to ask.

        Raises:
            ConfigurationError: where that is not set.
        """
        if self.neon is None:
            raise ConfigurationError(f"{self.backend_from or 'BRANCHES_BACKEND'} is neon. {neon_settings.MISSING}")
        return self.neon

    def describe(self) -> str:
        """One line for the report's header."""
        if self.kind == "existing" and self.url is not None:
            as_it_is = "" if self.migrates else ", not migrated"
            return f"{self.backend}, on {urls.shown(self.url)} itself{as_it_is}, because {self.why}"
        source = "nothing, a new database" if self.parent == EMPTY else f"{self.parent} ({self._main()})"
        what = "a branch"
        if self.is_on_neon and self.workers > 1:
            what = f"{'a database in one branch' if self.shared else 'a branch'} for each of {self.workers} workers,"
        return f"{self.backend}, {what} of {source}, because {self.why}{self._shared()}{self._schema()}"

    def _shared(self) -> str:
        return f"; {self.shared}" if self.shared else ""

    def _schema(self) -> str:
        """What a run without migrations has to be told, where some are to be expected."""
        if "migrate" not in self.app.extensions or migrating.folder(self.app, self.root) is not None:
            return ""
        return "; no folder of migrations was found, so its tables are made from the models"

    def _main(self) -> str:
        if self.looks_up_main and self.main is None:
            return "of the Neon project"
        url = urls.shown(self.main or self.own[0])
        return url if self.parent == MAIN else f"a branch of {url}"


def decide(config: pytest.Config) -> Plan:
    """Read the options, load the application, and decide.

    Raises:
        BranchesError: for an option that cannot be used, and an application that cannot be loaded.
    """
    spec = _application(config)
    migrates = options.one_of(config, "migrate", ("always", "never")) == "always"
    expires_in, at = _expires_in(config), _at(config)
    backend = options.get(config, "backend")
    chosen = branches_config.check_backend(backend.value or None, backend.source)
    with read_only(named(config), servers=True):
        app, module = load_app(spec, config.rootpath)
        engines = engines_of(app)
    close_pools(engines.values())
    with app.app_context():
        own_backend = app.extensions["branches"].config.backend
    neon = branches_config.read_neon(lambda name: _setting(config, app, name))
    plan = Plan(
        app,
        module,
        config.rootpath,
        tuple(engines[key].url for key in sorted(engines, key=lambda key: (key is not None, key))),
        options.one_of(config, "keep", ("never", "failed", "always")),
        expires_in,
        "own",
        chosen or _kind_of(engines[None], neon, own_backend),
        backend.source if chosen else "",
        at=at,
        neon=neon,
        own_backend=own_backend,
        workers=_workers(config),
        migrates=migrates,
    )
    existing = options.existing(config)
    if existing:
        return _on_existing(config, plan, existing)
    if not plan.migrates:
        never = options.get(config, "migrate").source
        raise ConfigurationError(f"{never} is never, and a branch is made for the run: leave it out.")
    return _on_branches(config, plan, engines[None])


def _application(config: pytest.Config) -> str:
    """What names the application; whatever is misspelt beside it is refused first."""
    spec: str = config.getini(options.APP)
    if not spec:
        remedy = f"write {options.APP} = package:create_app in pytest's ini file."
        raise ConfigurationError(f"{options.APP} is not set: {remedy}")
    for where, names in options.variables(config):
        branches_config.refuse_unknown(where.removeprefix(" in ") or "the environment", names)
    return spec


def named(config: pytest.Config) -> Iterator[sa.URL]:
    """The databases that somebody has named as an application's own."""
    for where, values in options.own_variables(config):
        if text := values.get("DATABASE_URL"):
            yield urls.parsed(text, f"DATABASE_URL{where}")


def _setting(config: pytest.Config, app: Flask, name: str) -> object:
    """A setting of Neon's: the application's own before the environment and its files."""
    if value := app.config.get(name):
        return value
    return next((values[name] for _, values in options.variables(config) if values.get(name)), None)


def _kind_of(engine: sa.Engine, neon: NeonSettings | None, own_backend: str | None) -> str:
    """The kind of an application's own database; what is to be Neon's needs a key, whatever its URL looks like."""
    return urls.backend_of(engine.url) if embedded.is_served(engine) else kind_of(engine.url, own_backend, neon)


def _workers(config: pytest.Config) -> int:
    """How many workers pytest-xdist is going to start; 1 where it is not there, or starts none."""
    specs = config.getoption("tx", None) or []
    numbers = (each.partition("*") for each in specs if isinstance(each, str))
    return max(1, sum(int(number) if star and number.isdigit() else 1 for number, star, _ in numbers))


def _is_same(plan: Plan, own: sa.URL, url: sa.URL) -> bool:
    """Whether two URLs lead to the same database; on Neon, to the same branch."""
    on_neon = neon_address.is_neon(url) or (plan.neon is not None and plan.own_backend != "postgres")
    if on_neon and urls.backend_of(own) == urls.backend_of(url) == "postgres":
        return neon_address.is_same_branch(own, url)
    return urls.key(own) == urls.key(url)


def may_look_up(config: pytest.Config) -> bool:
    """Whether an application may have found its database by Neon's settings, so that no variable names it."""
    return any(values.get("NEON_API_KEY") for _, values in options.variables(config))


def _on_existing(config: pytest.Config, plan: Plan, existing: options.Option) -> Plan:
    url = neon_address.direct(urls.parsed(existing.value or "", existing.source))
    for own in named(config):
        if _is_same(plan, own, url) and not _is_the_guard_s_to_tell(plan, url):
            raise Refused(f"{existing.source} leads to {urls.shown(url)}, {OWN}")
    named_by = existing.source
    if plan.backend_from and plan.backend not in {urls.backend_of(url), "neon"}:
        raise ConfigurationError(
            f"{plan.backend_from} is {plan.backend}, and {named_by} leads to another kind of database: "
            "leave one of them out."
        )
    if plan.at is not None:
        raise ConfigurationError(f"A point in time is asked for, and {named_by} is used as it is: leave one out.")
    if url.get_backend_name() == plan.own[0].get_backend_name():
        url = url.set(drivername=plan.own[0].drivername)
    why = f"{named_by} names it"
    on_neon = plan.backend == "neon" and urls.backend_of(url) == "postgres"
    backend = "neon" if on_neon else urls.backend_of(url)
    return replace(plan, kind="existing", backend=backend, why=why, url=url, url_from=named_by)


def _is_the_guard_s_to_tell(plan: Plan, url: sa.URL) -> bool:
    """Whether an earlier release is configured with the very branch that it is to leave as it is."""
    return not plan.migrates and urls.key(url) in map(urls.key, plan.own)


def _on_branches(config: pytest.Config, plan: Plan, own: sa.Engine) -> Plan:
    if plan.backend == "neon":
        plan.require_neon()
    parent, why = _parent(config, plan, own)
    if plan.backend == "neon":
        return replace(plan, parent=parent, why=why, looks_up_main=not _is_of_kind(plan, own))
    if not _is_of_kind(plan, own):
        if parent != EMPTY:
            raise ConfigurationError(
                f"{options.get(config, 'parent').source} is {parent!r}, and there is no {plan.backend} database of "
                "that name: leave it out, or say empty."
            )
        return replace(plan, kind="new", parent=parent, why=why)
    # A server of the application's own need not be started for a run that wants nothing of what it holds.
    is_new = parent == EMPTY and embedded.is_served(own)
    return replace(plan, kind="new" if is_new else "own", parent=parent, why=why)


def _is_of_kind(plan: Plan, own: sa.Engine) -> bool:
    """Whether the application's own database is of the kind that the run wants."""
    if plan.backend == "neon":
        return _kind_of(own, plan.neon, plan.own_backend) == "neon"
    return plan.backend == urls.backend_of(own.url)


def _parent(config: pytest.Config, plan: Plan, own: sa.Engine) -> tuple[str, str]:
    given = options.get(config, "parent")
    if given.value:
        return given.value, f"{given.source} says so"
    if not _is_of_kind(plan, own):
        # Neon has a database for who names a project; every other kind begins with nothing.
        return MAIN if plan.backend == "neon" else EMPTY, f"{plan.backend_from} is {plan.backend}"
    if embedded.is_served(own):
        return EMPTY, "no DATABASE_URL is set"
    return _named(config, own)


def _named(config: pytest.Config, own: sa.Engine) -> tuple[str, str]:
    """A database that somebody has named is a parent; a SQLite file that an application has by itself is none."""
    if urls.is_memory(own.url) and own.dialect.name == "sqlite":
        return EMPTY, "the application's own is in memory"
    for where, values in options.own_variables(config):
        if _is_like(values.get("DATABASE_URL"), own.url):
            return MAIN, f"DATABASE_URL{where} names its parent"
    if own.dialect.name == "sqlite":
        return EMPTY, "no DATABASE_URL is set"
    return MAIN, "the application is configured with its parent"


def _is_like(named: str | None, own: sa.URL) -> bool:
    """Whether a variable can be where an application has its URL from; not every application reads it."""
    return bool(named) and urls.parsed(named or "", "DATABASE_URL").get_backend_name() == own.get_backend_name()


def _expires_in(config: pytest.Config) -> timedelta:
    given = options.get(config, "expire")
    try:
        return duration(given.value or _DEFAULT_EXPIRY, given.source)
    except InvalidValue as error:
        raise ConfigurationError(str(error)) from None


def _at(config: pytest.Config) -> PointInTime | None:
    given = options.get(config, "at")
    return point_in_time(given.value) if given.value else None
