"""Database URLs: their kind, their driver, and what Neon asks of them. No message here ever repeats a URL."""

from __future__ import annotations

from ipaddress import ip_address

import sqlalchemy as sa

_DRIVERS = {
    "sqlite": {"sqlite", "sqlite+pysqlite"},
    "postgresql": {"postgres", "postgresql", "postgresql+psycopg"},
}
_WRITTEN_AS = {"sqlite": "sqlite:///path/to/file.sqlite", "postgresql": "postgresql://user:password@host/database"}
_ENCRYPTED = {"require", "verify-ca", "verify-full"}


def normalised(url: str, dialect: str) -> str:
    """The URL with the driver that this project uses: psycopg 3 for every way to write a Postgres URL.

    Raises:
        ValueError: for what is no URL, or one of another kind of database or driver.
    """
    remedy = f"write it as {_WRITTEN_AS[dialect]}"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise ValueError(f"is not a database URL; {remedy}") from None
    if parsed.drivername not in _DRIVERS[dialect]:
        raise ValueError(f"is a {parsed.drivername} URL where this environment needs {dialect}; {remedy}")
    drivername = "postgresql+psycopg" if dialect == "postgresql" else "sqlite"
    return parsed.set(drivername=drivername).render_as_string(hide_password=False)


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
    """Whether the server is on this machine: a loopback name or address, or a Unix socket."""
    host = url.host or str(url.query.get("host", ""))
    return host in {"", "localhost"} or host.startswith("/") or is_loopback_address(host)


def is_loopback_address(host: str) -> bool:
    """Whether a host is written as an address in 127.0.0.0/8, or as ::1."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_pooled(url: sa.URL) -> bool:
    """Whether the host is Neon's transaction pooler: it ends the first label of its name in ``-pooler``."""
    return (url.host or "").partition(".")[0].endswith("-pooler")


def direct(url: sa.URL) -> sa.URL:
    """The same branch without its pooler."""
    if not is_pooled(url):
        return url
    label, dot, rest = str(url.host).partition(".")
    return url.set(host=label.removesuffix("-pooler") + dot + rest)
