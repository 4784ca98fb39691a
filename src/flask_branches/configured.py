"""The databases that an application is configured with, and new ones in their place."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from flask_branches import embedded, neon_address, neon_settings, urls
from flask_branches.backends.postgres import Postgres
from flask_branches.backends.sqlite import SQLite
from flask_branches.backends.sqlite_files import folder_of, lent
from flask_branches.databases import Database, Databases
from flask_branches.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

    import sqlalchemy as sa
    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy

    from flask_branches.backends import Backend
    from flask_branches.neon_settings import NeonSettings

# By these libpq finds a server, a database or a role, whatever a URL says.
_LEADING = frozenset(
    {"conninfo", "database", "dbname", "dsn", "host", "hostaddr", "password", "port", "service", "user"}
)


def of_app(app: Flask, backend: str | None, masked: Mapping[str, str], neon: NeonSettings | None = None) -> Databases:
    """The databases that an application is configured with.

    Args:
        app: with Flask-SQLAlchemy.
        backend: what ``BRANCHES_BACKEND`` says.
        masked: the masks.
        neon: how Neon is asked, where that is set.

    Raises:
        ConfigurationError: for a database that cannot be branched, and where there is none.
    """
    found: dict[Any, Database] = {}
    engines = engines_of(app)
    for key in _default_first(engines):
        engine, url = _origins.get(engines[key], (engines[key], engines[key].url))
        served = embedded.is_served(engine)
        if served:
            url = embedded.reachable(engine)
        kind = kind_of(url, None if served and backend == "neon" else backend, None if served else neon)
        if key is None and backend not in {None, kind}:
            raise ConfigurationError(
                f"BRANCHES_BACKEND is {backend!r}, and the application's database is {kind}: "
                "leave it out, or give the application such a database."
            )
        same = _same(kind, url) if not urls.is_memory(url) else key
        if same in found:
            there = found[same]
            found[same] = replace(
                there, keys=(*there.keys, key), own={**there.own, key: url}, engines=(*there.engines, engine)
            )
        else:
            connect_args = _connect_args(app, key)
            if kind == "neon":
                made = _on_neon(url, neon, connect_args, [each.backend for each in found.values()])
            else:
                made = _backend(app, key, url, connect_args, engine)
            found[same] = Database((key,), made, connect_args, (engine,))
    return Databases(list(found.values()), masked, neon)


def kind_of(url: sa.URL, backend: str | None = None, neon: NeonSettings | None = None) -> str:
    """The name of the backend that makes branches of a database.

    A Postgres is Neon's where its URL says so, and wherever Neon's key and project are set: what is on none of that
    project's branches is then an error, and never a database made somewhere by mistake.

    Args:
        url: where it is.
        backend: what ``BRANCHES_BACKEND`` says.
        neon: how Neon is asked, where that is set.

    Raises:
        ConfigurationError: for another kind of database, and one on Neon while nobody has said how that is asked.
    """
    kind = urls.backend_of(url)
    if kind != "postgres" or backend == "postgres":
        return kind
    if neon is not None:
        return "neon"
    if backend == "neon" or neon_address.is_neon(url):
        raise ConfigurationError(f"{urls.shown(url)} is to be branched by Neon. {neon_settings.MISSING}")
    return kind


def on_neon(app: Flask, main: sa.URL, neon: NeonSettings, masked: Mapping[str, str]) -> Databases:
    """The databases of an application that is to be tested on Neon, and is configured with another kind.

    Raises:
        ConfigurationError: where it has binds: nobody can say which of Neon's databases they are.
    """
    if binds := [str(key) for key in engines_of(app) if key is not None]:
        raise ConfigurationError(
            f"The application {app.name!r} has the bind {binds[0]!r}, of which nothing says where it is on Neon: "
            "configure the application with its databases there."
        )
    return Databases([Database((None,), _on_neon(main, neon, {}), {})], masked, neon)


@contextmanager
def led_elsewhere(engine: sa.Engine, origin: sa.Engine) -> Iterator[None]:
    """Remember, for the time of a block, what an application is configured with in an engine's place.

    Args:
        engine: what the application has now.
        origin: the same before it connects elsewhere, or the one whose place it takes.
    """
    before = _origins.get(engine)
    _origins[engine] = _origins.get(origin, (origin, origin.url))
    try:
        yield
    finally:
        if before is None:
            del _origins[engine]
        else:
            _origins[engine] = before  # another block goes on around this one


_origins: WeakKeyDictionary[sa.Engine, tuple[sa.Engine, sa.URL]] = WeakKeyDictionary()


def is_current(databases: Databases) -> bool:
    """Whether they are still where they were; a server of the application's own is started where it has stopped."""
    return all(
        embedded.reachable(engine) == database.backend.main
        for database in databases.all
        for engine in database.engines
        if embedded.is_served(engine)
    )


def fresh(app: Flask, main_of: Callable[[str], sa.URL]) -> Databases:
    """New databases in place of an application's own, for a run that branches nothing.

    Args:
        app: with Flask-SQLAlchemy; its bind keys count, its URLs do not.
        main_of: gives the URL of a database that need not exist, from a name.
    """
    databases = []
    for key in _default_first(engines_of(app)):
        url = main_of(app.name if key is None else f"{app.name}_{key}")
        made: Backend = SQLite(url) if urls.backend_of(url) == "sqlite" else Postgres(url)
        databases.append(Database((key,), made, {}))
    return Databases(databases, {})


def engines_of(app: Flask) -> dict[str | None, sa.Engine]:
    """An application's engines by bind key: the very dict that Flask-SQLAlchemy looks into.

    Raises:
        ConfigurationError: for an application without Flask-SQLAlchemy, or without a default database.
    """
    db: SQLAlchemy | None = app.extensions.get("sqlalchemy")
    if db is None:
        raise ConfigurationError(
            f"The application {app.name!r} has no Flask-SQLAlchemy: call db.init_app(app) before its branches are used."
        )
    with app.app_context():
        engines = cast("dict[str | None, sa.Engine]", db.engines)  # declared as a mapping, documented as the dict
    if None not in engines:
        raise ConfigurationError(f"SQLALCHEMY_DATABASE_URI of {app.name!r} is not set: name the database to branch.")
    return engines


def backend_for(url: sa.URL, connect_args: Mapping[str, Any] | None = None) -> Backend:
    """The backend of whatever database a URL leads to, past any service that it is from."""
    return SQLite(url) if urls.backend_of(url) == "sqlite" else Postgres(url, dict(connect_args or {}))


def on_neon_at(url: sa.URL, neon: NeonSettings | None) -> Backend:
    """The backend of a database on Neon that is none of an application's.

    Raises:
        ConfigurationError: where nobody has said how Neon is asked.
    """
    return _on_neon(url, neon, {})


def _on_neon(
    url: sa.URL, neon: NeonSettings | None, connect_args: Mapping[str, Any], known: Iterable[Backend] = ()
) -> Backend:
    """The backend of a database on Neon; where the application has another one on the same branch, it goes along."""
    if neon is None:
        raise ConfigurationError(f"{urls.shown(url)} is on Neon. {neon_settings.MISSING}")
    _require_led_by_url(url, connect_args)
    from flask_branches.backends.neon import Beside, Neon  # which needs packages that other databases do not

    for each in known:
        if isinstance(each, Neon):
            if _same("neon", url, with_database=False) != _same("neon", each.main, with_database=False):
                raise ConfigurationError(
                    f"{urls.shown(url)} is on another branch than {urls.shown(each.main)}: the databases of one "
                    "application have to be on one branch of Neon."
                )
            return Beside(each, url, connect_args)
    return Neon(url, neon, connect_args)


def _require_led_by_url(url: sa.URL, connect_args: Mapping[str, Any]) -> None:
    """Refuse what would lead the connections to a branch back to main: on Neon each branch has a host of its own.

    Raises:
        ConfigurationError: with the key.
    """
    leading = sorted(_LEADING.intersection(connect_args))
    if not leading and neon_address.named_in("", str(connect_args.get("options") or "")):
        leading = ["options"]
    if leading:
        raise ConfigurationError(
            f"The connect_args of {urls.shown(url)} say {leading[0]!r}, which would lead to that database from every "
            "branch of it: on Neon, write it in the URL."
        )


def _same(kind: str, url: sa.URL, *, with_database: bool = True) -> Hashable:
    """Equal for two URLs that lead to the same database; Neon's have several names for one place."""
    if kind != "neon":
        return urls.key(url)
    place = neon_address.named(url) or (tuple(neon_address.hosts(url)), str(url.port), url.query.get("port"))
    return ("neon", place, urls.database(url) if with_database else None)


def _backend(
    app: Flask, key: str | None, url: sa.URL, connect_args: Mapping[str, Any], engine: sa.Engine
) -> SQLite | Postgres:
    if urls.backend_of(url) == "postgres":
        return Postgres(url, dict(connect_args))
    if not urls.is_memory(url):
        return SQLite(url)
    name = app.name if key is None else f"{app.name}.{key}"
    return SQLite(url, folder=folder_of(Path(app.instance_path) / f"{name}.memory"), memory=lambda: lent(engine))


def _connect_args(app: Flask, key: str | None) -> dict[str, Any]:
    """What an engine was made with: its options are not kept by SQLAlchemy, so they are read where they came from."""
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    options = {**db._engine_options}  # noqa: SLF001  what SQLAlchemy(engine_options=…) was given is kept nowhere else
    configured = app.config.get("SQLALCHEMY_ENGINE_OPTIONS") if key is None else app.config["SQLALCHEMY_BINDS"].get(key)
    if isinstance(configured, dict):
        options |= configured
    return dict(options.get("connect_args") or {})


def _default_first(engines: Mapping[str | None, sa.Engine]) -> list[str | None]:
    return sorted(engines, key=lambda key: (key is not None, key))
