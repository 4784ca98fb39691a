"""Cursors: where a list goes on, in a form that clients hand back and do not read."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

from neon_emulator.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping


def encode(place: Mapping[str, str]) -> str:
    """A place in a list as a cursor."""
    return base64.b64encode(json.dumps(dict(place), separators=(",", ":")).encode()).decode()


def decode(cursor: str, *keys: str) -> dict[str, str]:
    """The place that a cursor stands for.

    Args:
        cursor: what the client has handed back.
        keys: what it has to say.

    Raises:
        InvalidRequest: where it is no cursor of this list.
    """
    try:
        place = json.loads(base64.b64decode(cursor.encode(), validate=True))
    except (ValueError, binascii.Error, RecursionError):
        place = None
    if not isinstance(place, dict) or not all(isinstance(place.get(key), str) for key in keys):
        raise foreign(cursor)
    return {key: place[key] for key in keys}


def foreign(cursor: str) -> InvalidRequest:
    """What is said about a cursor that is none of the list."""
    return InvalidRequest(f'invalid request: the cursor "{cursor}" is none of this list: hand back what it gave you')
