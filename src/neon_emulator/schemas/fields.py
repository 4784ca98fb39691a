"""The kinds of values that requests are made of; each takes its own JSON type and nothing that merely resembles it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError, fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    Data = Mapping[str, Any] | None

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", re.ASCII)
_ID = re.compile(r"[a-z0-9-]{1,60}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_LARGEST = 1e9
_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})


class Text(fields.String):
    """A text that SQLite and Postgres can both store."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        if _UNSTORABLE.search(text):
            raise ValidationError("holds a NUL character or a lone surrogate, which cannot be stored")
        return text


class Id(Text):
    """The id of a project, a branch or an endpoint."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> str:
        return _matching(_ID, super()._deserialize(value, attr, data, **kwargs), "^[a-z0-9-]{1,60}$")


class Lsn(Text):
    """A position in the write-ahead log."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> str:
        return _matching(_LSN, super()._deserialize(value, attr, data, **kwargs), "an LSN such as 0/1DE2850").upper()


class Instant(fields.Field[datetime]):
    """A time with its zone (RFC 3339)."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> datetime:
        text = Text().deserialize(value)
        found = _RFC_3339.fullmatch(text)
        if not found:
            raise ValidationError(f'"{text}" must be a time with its zone, such as 2026-01-31T12:00:00Z')
        day, time, fraction, zone = found.groups()
        zone = "+00:00" if zone in "Zz" else zone
        try:
            return datetime.fromisoformat(f"{day}T{time}.{(fraction or '0'):0<6}{zone}").astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise ValidationError(f'"{text}" is no time: {error}') from error


class Flag(fields.Boolean):
    """True or false."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class Whole(fields.Integer):
    """A whole number."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("must be a whole number")
        return value


class Decimal(fields.Float):
    """A number."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:  # nor NaN
            raise ValidationError("must be a number")
        return float(value)


class Object(fields.Dict):
    """An object whose fields are not looked at."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("must be an object")
        return value


class QueryWhole(fields.Integer):
    """A whole number in a query."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> int:
        text = str(value)
        if not _NUMBER.fullmatch(text):
            raise ValidationError("must be a whole number")
        return int(text)


class QueryFlag(fields.Boolean):
    """True or false in a query, in any of the spellings that clients of several languages have for them."""

    def _deserialize(self, value: object, attr: str | None, data: Data, **kwargs: Any) -> bool:
        if value not in _TRUE | _FALSE:
            raise ValidationError("must be true or false")
        return value in _TRUE


def _matching(pattern: re.Pattern[str], text: str, description: str) -> str:
    if not pattern.fullmatch(text):
        raise ValidationError(f'"{text}" must be {description}')
    return text
