"""Times, sizes and counts as people read them, and the text of others made harmless."""

from __future__ import annotations

import re

_SECOND = 1_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_KILO = 1024
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def duration(milliseconds: float) -> str:
    """A span of time in its own unit: ``0.4 ms``, ``640 ms``, ``1.2 s``, ``3 min 20 s``."""
    if milliseconds < 1:
        return "0 ms" if milliseconds <= 0 else f"{max(milliseconds, 0.1):.1f} ms"
    if round(milliseconds) < _SECOND:
        return f"{milliseconds:.0f} ms"
    if round(milliseconds / _SECOND, 1) < 10:  # noqa: PLR2004 -- two digits say enough
        return f"{milliseconds / _SECOND:.1f} s"
    seconds = round(milliseconds / _SECOND)
    if seconds * _SECOND < _MINUTE:
        return f"{seconds} s"
    if seconds * _SECOND < _HOUR:
        return _two(seconds, 60, "min", "s")
    return _two(round(seconds / 60), 60, "h", "min")


def size(number: int) -> str:
    """Bytes as Postgres says them: ``512 bytes``, ``48 MB``, where 1 kB is 1,024 bytes."""
    value, unit = float(number), "byte" if number == 1 else "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if round(abs(value)) < _KILO:
            break
        value, unit = value / _KILO, larger
    digits = 1 if value != number and abs(value) < 9.95 else 0  # noqa: PLR2004 -- below ten, a tenth matters
    return f"{value:,.{digits}f} {unit}".replace(".0 ", " ")


def count(number: int, one: str, several: str = "") -> str:
    """A number and what it counts: ``1 row``, ``1,000,000 rows``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def listed(names: list[str], most: int = 3) -> str:
    """Names in a sentence: ``a, b and c``; of many, the first ones and how many more."""
    shown = names if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def clean(text: str) -> str:
    """Text of others without what a terminal or a browser would obey: colours are taken out, the rest is spelt out."""
    return _ODD.sub(_spelt, _COLOURS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def one_line(text: str) -> str:
    """Text of others in one line."""
    return " ".join(clean(text).split())


def clipped(text: str, longest: int) -> str:
    """The beginning of a text, and how much of it is left out."""
    if len(text) <= longest:
        return text
    return f"{text[:longest].rstrip()} … ({len(text) - longest:,} characters more)"


def _spelt(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 -- the last of one byte


def _two(number: int, per: int, large: str, small: str) -> str:
    whole, rest = divmod(number, per)
    return f"{whole:,} {large} {rest} {small}" if rest else f"{whole:,} {large}"
