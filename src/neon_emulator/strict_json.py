"""JSON as its standard has it: Python's own reader takes numbers that no other reader gets back."""

from __future__ import annotations

import json
import math
from typing import Any


def loads(data: bytes) -> Any:  # noqa: ANN401 - whatever JSON has
    """What a text of JSON says.

    Raises:
        ValueError: where it is none; a number that is not finite makes it none.
        RecursionError: where it is too deep.
    """
    return json.loads(data, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number that JSON can have")
    return number
