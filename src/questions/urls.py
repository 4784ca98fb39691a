"""Database URLs: their kind, their driver, and what Neon asks of them. No message here ever repeats a URL."""

from __future__ import annotations

from ipaddress import ip_address

import sqlalchemy as sa
from psycopg import pq

_DRIVERS = {
    "sqlite": {"sqlite", "sqlite+pysqlite"},
    "postgresql": {"postgres", "postgresql", "postgresql+psycopg"},
}
_WRITTEN_AS = {"sqlite": "sqlite:///path/to/file.sqlite", "postgresql": "postgresql://user:password@host/database"}
_ENCRYPTED = {"require", "verify-ca", "verify-full"}


def normalised(url: str, dialect: str) -> str:
    """The URL with the driver that this project uses: psycopg 3 for every way to write a Postgres URL.

    Raises:
        ValueError: for what is no URL, one of another kind of database or driver, or one with an option that Postgres
            does not have.
    """
    remedy = f"write it as {_WRITTEN_AS[dialect]}"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise ValueError(f"is not a database URL; {remedy}") from None
    if parsed.drivername not in _DRIVERS[dialect]:
        raise ValueError(f"is a {parsed.drivername} URL where this environment needs {dialect}; {remedy}")
    if dialect == "sqlite":
        return parsed.set(drivername="sqlite").render_as_string(hide_password=False)
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if unknown := sorted(parsed.query.keys() - known):
        raise ValueError(f"has the option {unknown[0]!r}, which is none of libpq's; leave it out")
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def with_tls(url: str) -> str:
    """The URL with ``sslmode=require`` where it says nothing and its host is not on this machine.

    Raises:
        ValueError: where it switches encryption off, or leaves it to chance, for another machine. Neon refuses both.
    """
    parsed = sa.make_url(url)
    mode = parsed.query.get("sslmode")
    if is_loopback(parsed) or mode in _ENCRYPTED:
        return url
    if mode is not None:
        raise ValueError("has an sslmode that allows an unencrypted connection; write sslmode=require, or leave it out")
    return parsed.update_query_dict({"sslmode": "require"}).render_as_string(hide_password=False)


def is_loopback(url: sa.URL) -> bool:
    """Whether the server is on this machine: every host is a loopback name or address, or a Unix socket's folder.

    Where no host is named, libpq takes ``PGHOST``, which nobody here has looked at.
    """
    hosts = _hosts(url)
    return bool(hosts) and all(host == "localhost" or host[0] in "/@" or is_loopback_address(host) for host in hosts)


def is_loopback_address(host: str) -> bool:
    """Whether a host is written as an address in 127.0.0.0/8, or as ::1."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_pooled(url: sa.URL) -> bool:
    """Whether a host is Neon's transaction pooler: it ends the first label of its name in ``-pooler``."""
    return any(_direct(host) != host for host in _hosts(url))


def direct(url: sa.URL) -> sa.URL:
    """The same branch without its pooler."""
    if url.host:
        url = url.set(host=_direct(url.host))
    if named := _listed(url, "host"):
        url = url.update_query_dict({"host": ",".join(map(_direct, named))})
    return url


def _hosts(url: sa.URL) -> list[str]:
    """Every host that the driver may turn to, without ports: libpq takes lists, and takes them from the query first."""
    named = [*([url.host] if url.host else []), *_listed(url, "host"), *_listed(url, "hostaddr")]
    return [name.partition(":")[0] if name.count(":") == 1 else name for name in named]


def _listed(url: sa.URL, key: str) -> list[str]:
    return [name for value in url.normalized_query.get(key, ()) for name in value.split(",") if name]


def _direct(host: str) -> str:
    label, dot, rest = host.partition(".")
    return label.removesuffix("-pooler") + dot + rest
