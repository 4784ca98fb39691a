"""What was asked of the API, in order, without anybody's secrets."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from neon_emulator import strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 10_000
LONGEST_BODY = 16_384

_MASK = "***"
_SECRET = re.compile(r"password|passwd|secret|token|api_?key|credential|authorization", re.IGNORECASE)
_IN_URL = re.compile(r"(://[^\s:/@]*:)[^\s/]+@")  # up to the last @ of the authority: a password may have one


@dataclass(frozen=True)
class Asked:
    """A request to the API.

    `path` is the one below `/api/v2`; `body` is what its JSON says, None for a request without, or longer than 16 KiB.
    `status` is None while it is at work, `closed` where the connection was closed in place of an answer. `fault` is the
    id of the fault that it met. `started` and `ended` are the machine's time, in UTC.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    body: object
    request_id: str
    started: datetime
    number: int = 0
    fault: int | None = None
    status: int | Literal["closed"] | None = None
    ended: datetime | None = None


class RequestsLog:
    """The last ten thousand requests; safe to be used by several threads. Numbers begin at 1, and never again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._kept: dict[int, Asked] = {}

    def begin(self, asked: Asked) -> int:
        """Write down a request that has come, and return its number."""
        with self._lock:
            self._last += 1
            self._kept[self._last] = replace(asked, number=self._last)
            self._kept.pop(self._last - MOST, None)
            return self._last

    def end(self, number: int, status: int | Literal["closed"]) -> None:
        """Write down how a request ended; without effect where it has been forgotten meanwhile."""
        with self._lock:
            if asked := self._kept.get(number):
                self._kept[number] = replace(asked, status=status, ended=datetime.now(UTC))

    def since(self, number: int) -> list[Asked]:
        """The requests after the one of that number, in the order in which they came."""
        with self._lock:
            return [asked for asked in self._kept.values() if asked.number > number]

    def clear(self) -> None:
        """Forget every request."""
        with self._lock:
            self._kept.clear()


def readable_query(query: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """A query's values by name, with what may be a secret masked."""
    return {name: [str(masked(value, name)) for value in values] for name, values in query.items()}


def readable_body(body: bytes) -> object:
    """What a JSON body says, with what may be a secret masked; None for one that is no JSON, or longer than 16 KiB."""
    if len(body) > LONGEST_BODY:
        return None
    try:
        return masked(strict_json.loads(body))
    except (ValueError, RecursionError):  # a body that nobody can read is nobody's to keep
        return None


def masked(value: object, name: str = "") -> object:
    """A value without secrets: hidden whole where its name speaks of one, else the passwords in its URLs.

    Args:
        value: what JSON has: objects, arrays, texts, numbers, true and false, null.
        name: the key that it stands under.
    """
    if value is None or isinstance(value, bool):  # `store_passwords` is a wish, not a password
        return value
    if _SECRET.search(name):
        return _MASK
    if isinstance(value, dict):
        return {key: masked(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [masked(part) for part in value]
    return _IN_URL.sub(rf"\1{_MASK}@", value) if isinstance(value, str) else value
