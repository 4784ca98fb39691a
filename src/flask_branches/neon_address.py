"""Which of Neon's endpoints a URL leads to, however it is written."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator

POOLER = "-pooler"

_PORT = 5432
_DOMAINS = (".neon.tech", ".neon.build")
_HOST = re.compile(r"(ep-[a-z0-9-]+?)(?:-pooler)?")
# Neon's own ways to name an endpoint where the client's TLS does not: options, their older word, and the password.
_OPTION = re.compile(r"(?:^|\s)(?:endpoint|project)=([a-z0-9-]+)")
_PASSWORD = re.compile(r"(?:endpoint|project)=([a-z0-9-]+)[;$]")


def named(url: sa.URL) -> frozenset[str]:
    """The ids of all the endpoints that a URL names: by its hosts, its options, its password."""
    options = " ".join(url.normalized_query.get("options", ()))
    return named_in(",".join(hosts(url)), options, str(url.password or ""))


def named_in(host: str, options: str, password: str = "") -> frozenset[str]:
    """The ids of all the endpoints that the parts of an address name, as libpq has them."""
    found = {name for each in host.split(",") if (name := endpoint(each))}
    found |= {each.removesuffix(POOLER) for each in _OPTION.findall(options)}
    if match := _PASSWORD.match(password):
        found.add(match[1].removesuffix(POOLER))
    return frozenset(found)


def endpoint(host: str) -> str | None:
    """The id of the endpoint whose host it is, or whose pooler's; None for every other host."""
    match = _HOST.fullmatch(host.lower().partition(".")[0])
    return match[1] if match else None


def is_neon(url: sa.URL) -> bool:
    """Whether a URL, by itself, says that it leads to Neon."""
    return bool(named(url)) or any(host.endswith(_DOMAINS) for host in hosts(url))


def direct(url: sa.URL) -> sa.URL:
    """The same endpoint past its pooler, which has no sessions."""
    changed = url.set(host=_unpooled(url.host)) if url.host else url
    given = url.normalized_query.get("host", ())
    if given:
        named_hosts = [_unpooled(host) for value in given for host in value.split(",")]
        changed = changed.update_query_dict({"host": ",".join(named_hosts)})
    return changed


def _unpooled(host: str) -> str:
    label, dot, rest = host.partition(".")
    return label.removesuffix(POOLER) + dot + rest if _HOST.fullmatch(label.lower()) else host


def leads_to(url: sa.URL, endpoint: str, host: str) -> bool:
    """Whether a URL leads to one endpoint, and to nothing else.

    Args:
        url: of a Postgres.
        endpoint: the endpoint's id.
        host: where the API says that it is; with a port where that is not the usual one, as on this machine.
    """
    ids = named(url)
    if ids:
        by_host = [_HOST.fullmatch(each.partition(".")[0]) is not None for each in hosts(url)]
        return ids == {endpoint} and (all(by_host) or not any(by_host))  # no other server beside it
    name, port = split(host)
    places = list(_places(url))
    return bool(places) and all(place == (_plain(name), port) for place in places)


def is_same_branch(one: sa.URL, other: sa.URL) -> bool:
    """Whether two URLs lead to one branch of Neon, to whatever database of it, as far as can be told from them."""
    if ids := named(one) or named(other):
        return bool(ids) and not named(one).isdisjoint(named(other))
    return bool(set(_places(one)) & set(_places(other)))


def split(host: str) -> tuple[str, int]:
    """The name and the port of a host as the API writes it."""
    name, colon, port = host.rpartition(":")
    return (name, int(port)) if colon and port.isdigit() else (host, _PORT)


def hosts(url: sa.URL) -> list[str]:
    """Every host that libpq may turn to, in lower case and without its port."""
    given = url.normalized_query.get("host") or ((url.host,) if url.host else ())
    return [each.lower() for value in given for each in value.split(",") if each]


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by name or address."""
    return _plain(host) == "localhost"


def _places(url: sa.URL) -> Iterator[tuple[str, int]]:
    # Where both are given, a host is but a name, and its address is where libpq goes.
    addresses = [each for value in url.normalized_query.get("hostaddr", ()) for each in value.split(",") if each]
    ports = [each for value in url.normalized_query.get("port", ()) for each in value.split(",")]
    ports = ports or [str(url.port or _PORT)]
    for number, each in enumerate(addresses or hosts(url)):
        name, own = split(each) if each.count(":") == 1 else (each, None)  # as SQLAlchemy has it in a query
        port = ports[number] if number < len(ports) else ports[-1]
        if port.isdigit():
            yield _plain(name), own or int(port)


def _plain(host: str) -> str:
    try:
        return "localhost" if ip_address(host.strip("[]")).is_loopback else host
    except ValueError:
        return host


def led(url: sa.URL, endpoint: str, host: str, password: str | None) -> sa.URL:
    """A URL led to another endpoint: directly, past the pooler, with the same role, database and options.

    Args:
        url: of any branch.
        endpoint: the endpoint's id.
        host: where the API says that it is.
        password: the role's over there; None leaves it out.
    """
    name, port = split(host)
    query = {key: value for key, value in url.query.items() if key not in {"host", "hostaddr", "port"}}
    if "options" in query:
        words = _OPTION.sub("", " ".join(url.normalized_query["options"])).strip()
        had = _OPTION.search(" ".join(url.normalized_query["options"])) is not None
        query["options"] = f"{words} endpoint={endpoint}".strip() if had else words
    if not is_loopback(name):
        query.setdefault("sslmode", "require")
    return sa.URL.create(
        url.drivername, url.username, password, name, None if port == _PORT else port, url.database, query
    )
