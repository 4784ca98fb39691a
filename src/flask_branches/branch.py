"""What a branch is, and how its name, its lifetime and its point in time are written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from flask_branches import urls
from flask_branches.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Mapping

Data = Literal["copy", "empty"]

MAIN = "main"
EMPTY = "empty"

_RESERVED = (MAIN, EMPTY)
_SPANS = "write for example 30m, 12h or 7d"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_LSN = re.compile(r"[0-9A-F]{1,8}/[0-9A-F]{1,8}", re.IGNORECASE)


@dataclass(frozen=True)
class Branch:
    """An isolated copy of a database that can be written to without touching its parent."""

    id: str
    """What the backend knows it by: a file, a database, an id of the service."""
    name: str
    parent: str | None
    """The name of what it was copied from; None where it began as an empty database."""
    url: str = field(repr=False)
    """Where to connect, the password included; hidden in ``repr``; empty where Neon has no compute for it."""
    created_at: datetime
    expires_at: datetime | None
    backend: str
    binds: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """The URLs of the other databases of the application, by bind key."""
    labels: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """What its record says beside: the test run that it belongs to, the state that a template was made from."""
    has_record: bool = True
    """Whether a record says that this package made it; on Neon there are others too."""

    def __repr__(self) -> str:
        """Everything that identifies it, without the password."""
        return (
            f"Branch(id={self.id!r}, name={self.name!r}, parent={self.parent!r}, url={self.safe_url!r}, "
            f"created_at={written(self.created_at)!r}, expires_at={written(self.expires_at)!r}, "
            f"backend={self.backend!r})"
        )

    @property
    def safe_url(self) -> str:
        """The URL with its password hidden."""
        return urls.shown(sa.make_url(self.url)) if self.url else ""

    @property
    def age(self) -> timedelta:
        """How long ago it was made; nothing where another clock says that it will be."""
        return max(now() - self.created_at.replace(microsecond=0), timedelta(0))

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now()

    def as_dict(self) -> dict[str, Any]:
        """What may be shown of it, for JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "parent": self.parent,
            "url": self.safe_url,
            "created_at": written(self.created_at),
            "expires_at": written(self.expires_at),
            "backend": self.backend,
        }


@dataclass(frozen=True)
class Lsn:
    """A position in Postgres' write-ahead log."""

    text: str


PointInTime = datetime | Lsn


def now() -> datetime:
    """This moment, in UTC, to the second: what backends keep."""
    return datetime.now(UTC).replace(microsecond=0)


def written(moment: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC; None stays None."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def in_short(span: timedelta) -> str:
    """A span of time as people say it, by its largest unit: ``45s``, ``12m``, ``3h``, ``2d``."""
    seconds = int(span.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def check_name(name: str, longest: int) -> str:
    """A name that a new branch can have.

    Args:
        name: any printable text; slashes are welcome (``preview/pr-12``).
        longest: the backend's limit in bytes of UTF-8.

    Raises:
        InvalidValue: for a name that is empty, too long, reserved, or cannot be typed as an argument.
    """
    if not name.strip():
        raise InvalidValue("The branch's name is empty: give it one, or leave it out to have one made.")
    if name in _RESERVED:
        raise InvalidValue(
            f"A branch cannot be called {name!r}, which is what a parent is called: choose another name."
        )
    if not name.isprintable() or name != name.strip() or name.startswith("-"):
        raise InvalidValue(
            f"The branch's name {name!r} begins with a dash, or has spaces around it or characters that cannot be "
            "printed: choose another name."
        )
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidValue(f"The branch's name {name!r} is no text: choose another name.") from None
    if size > longest:
        raise InvalidValue(f"The branch's name {name!r} has {size} bytes, and there is room for {longest}: shorten it.")
    return name


def duration(value: object, what: str = "expires_in") -> timedelta:
    """A span of time, such as ``90s``, ``30m``, ``12h``, ``7d`` or ``2w``.

    Args:
        value: the text, or a timedelta that is checked only; from a configuration it may be anything.
        what: the option or setting that a message is to name.

    Raises:
        InvalidValue: for what cannot be read, and for nothing or less.
    """
    try:
        span = value if isinstance(value, timedelta) else _read_span(value)
        datetime.now(UTC) + span
    except (TypeError, ValueError):
        raise InvalidValue(f"{what} {value!r} is not a duration: {_SPANS}.") from None
    except OverflowError:
        raise InvalidValue(f"{what} {str(value)!r} is longer than time: {_SPANS}.") from None
    if span <= timedelta(0):
        raise InvalidValue(f"{what} {str(value)!r} is over before it begins: {_SPANS}.")
    return span


def _read_span(value: object) -> timedelta:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(value)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def moment(value: str | datetime, what: str) -> datetime:
    """A timestamp with a time zone, as RFC 3339 writes it: ``2026-12-01T09:00:00Z``.

    Raises:
        InvalidValue: for what cannot be read, and where the zone is missing.
    """
    try:
        made = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        in_utc = made.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidValue(f"{what} {str(value)!r} is not a time: write for example 2026-12-01T09:00:00Z.") from None
    if made.tzinfo is None:
        raise InvalidValue(f"{what} {str(value)!r} has no time zone: write for example 2026-12-01T09:00:00Z.")
    return in_utc


def expiry(*, expires_in: str | timedelta | None = None, expires_at: str | datetime | None = None) -> datetime | None:
    """When a branch is to go, from either way to say it; None where neither is given.

    Raises:
        InvalidValue: for what cannot be read, and for a moment in the past.
    """
    if expires_at is not None:
        at = moment(expires_at, "expires_at")
        if at <= now():
            raise InvalidValue(f"expires_at {written(at)!r} is in the past: name a moment to come.")
        return at
    return None if expires_in is None else now() + duration(expires_in)


def point_in_time(value: str | PointInTime) -> PointInTime:
    """A past moment with a time zone, or a log position such as ``0/1DE2850``.

    Raises:
        InvalidValue: for what cannot be read, and for a moment that has not come.
    """
    if isinstance(value, Lsn):
        return value
    if isinstance(value, str) and _LSN.fullmatch(value.strip()):
        return Lsn(value.strip().upper())
    at = moment(value, "The point in time")
    if at > datetime.now(UTC):
        raise InvalidValue(f"The point in time {written(at)!r} is still to come: name one in the past.")
    return at
