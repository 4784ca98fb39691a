"""Which database a URL leads to, however it is written."""

from __future__ import annotations

import getpass
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from flask_branches.errors import ConfigurationError, InvalidValue

if TYPE_CHECKING:
    from collections.abc import Hashable

_BACKENDS = {"sqlite": "sqlite", "postgresql": "postgres"}
_PORT = "5432"
_DRIVERS = ("psycopg", "psycopg2")
# libpq takes these from the query as well.
_SECRETS = ("password", "sslpassword")


def parsed(url: str | sa.URL, what: str = "The database URL") -> sa.URL:
    """A URL, for which ``postgres://`` is another word for ``postgresql://``, with a driver that is installed.

    Raises:
        ConfigurationError: for what is none; the text is not repeated, since it may hold a password.
    """
    if isinstance(url, sa.URL):
        return url
    try:
        made = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise ConfigurationError(
            f"{what} cannot be read: write sqlite:///file or postgresql://user:password@host/database."
        ) from None
    if made.drivername in {"postgres", "postgresql"}:
        return made.set(drivername=_postgres())
    if made.get_backend_name() in _BACKENDS:
        _require_driver(made, what)
    return made


def backend_of(url: sa.URL) -> str:
    """The name of the backend that branches such a database.

    Raises:
        ConfigurationError: for another kind of database.
    """
    kind = url.get_backend_name()
    if kind not in _BACKENDS:
        raise ConfigurationError(f"A {kind} database cannot be branched: there are backends for SQLite and Postgres.")
    if "@" in (url.host or ""):
        raise ConfigurationError("The database URL has an @ in its password, which ends there: write it as %40.")
    return _BACKENDS[kind]


def is_memory(url: sa.URL) -> bool:
    """Whether a SQLite URL names no file."""
    return (
        url.database in {None, "", ":memory:"}
        or "mode=memory" in str(url.database)
        or url.query.get("mode") == "memory"
    )


def sqlite_file(url: sa.URL) -> Path:
    """The file of a SQLite URL.

    Raises:
        ConfigurationError: for a URI of SQLite's own, whose meaning depends on its options.
    """
    if str(url.database).startswith("file:"):
        raise ConfigurationError("A SQLite URI (file:…) cannot be branched: write the path as sqlite:///path/to/file.")
    return Path(str(url.database)).absolute()


def key(url: sa.URL) -> Hashable:
    """Equal for two URLs that lead to the same database, as far as can be told from them."""
    if url.get_backend_name() == "sqlite":
        return ("sqlite", None if is_memory(url) else os.path.realpath(sqlite_file(url)))
    query = url.normalized_query
    hosts = query.get("host") or ((url.host,) if url.host else (os.environ.get("PGHOST", ""),))
    ports = query.get("port") or (str(url.port or os.environ.get("PGPORT") or _PORT),)
    return (url.get_backend_name(), hosts, ports, database(url))


def database(url: sa.URL) -> str:
    """The database of a Postgres URL: where none is named, the one that libpq takes."""
    named = url.database or os.environ.get("PGDATABASE") or url.username or os.environ.get("PGUSER")
    return named or getpass.getuser()


def plain(url: sa.URL) -> str:
    """A URL as text, its password included."""
    return url.render_as_string(hide_password=False)


def require_written(url: sa.URL) -> None:
    """Refuse a database whose name does not survive being written in a URL: SQLAlchemy 2.0 escapes nothing in it.

    Raises:
        InvalidValue: with what it would be read as.
    """
    read = sa.make_url(plain(url)).database
    if read != url.database:
        raise InvalidValue(
            f"{url.database!r} cannot be written in a URL, SQLAlchemy {sa.__version__} reads {read!r}: choose a name "
            "without a question mark, for the database and the branch."
        )


def shown(url: sa.URL) -> str:
    """A URL as text for people, without any password."""
    hidden = url.update_query_dict({key: "***" for key in url.query if key in _SECRETS})
    return hidden.render_as_string().replace("%2A%2A%2A", "***")


def _require_driver(url: sa.URL, what: str) -> None:
    try:
        url.get_dialect().import_dbapi()
    except (sa.exc.NoSuchModuleError, ImportError):
        raise ConfigurationError(
            f"{what} names the driver {url.drivername!r}, which is not installed: install it, or leave it out."
        ) from None


def _postgres() -> str:
    """SQLAlchemy 2.0 and 2.1 mean different drivers where a URL names none."""
    meant = sa.make_url("postgresql://").get_driver_name()
    installed = [driver for driver in (meant, *_DRIVERS) if find_spec(driver)]
    return "postgresql" if meant in installed or not installed else f"postgresql+{installed[0]}"
