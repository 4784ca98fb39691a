"""Ids as Neon makes them: words that people can tell apart, and a part that nobody guesses."""

from __future__ import annotations

import secrets
import string

_FIRST = """
    amber bold brave brisk calm clear crisp curly damp dawn deep dim dry dusty early fancy fast fresh frosty gentle
    green hazy hidden humble icy jolly late little lively long lucky mellow misty muddy noble odd old patient plain
    polished proud purple quiet rapid red rough round royal shiny shy silent small soft spring steep still summer
    sweet tiny warm weathered white wild winter wispy yellow young
"""
_SECOND = """
    band bar base bird block boat bonus bread breeze brook bush butter cake cell cherry cloud credit dew disk dust
    feather field fire firefly fog forest frog frost glade glitter grass hall hat haze heart hill king lab lake leaf
    limit math meadow mode moon morning mouse mud night paper pine poetry pond queen rain resonance rice river salad
    scene sea shadow shape silence sky smoke snow sound star sun sunset surf term thunder tree truth union unit
    violet voice water wave wildflower wind wood
"""
_TAIL = string.ascii_lowercase + string.digits
_TAIL_LENGTH = 8

PASSWORD_BYTES = 18
LONGEST_IDENTIFIER = 63


def project_id() -> str:
    """A project's id, such as `old-violet-32930710`."""
    return f"{_words()}-{_tail(string.digits)}"


def branch_id() -> str:
    """A branch's id, such as `br-noisy-breeze-a5e59rrb`."""
    return f"br-{_words()}-{_tail(_TAIL)}"


def endpoint_id() -> str:
    """An endpoint's id, such as `ep-misty-sea-a5833nbi`."""
    return f"ep-{_words()}-{_tail(_TAIL)}"


def password() -> str:
    """A role's password, which needs no escaping in a URL."""
    return f"npg_{secrets.token_urlsafe(PASSWORD_BYTES)}"


def _words() -> str:
    return f"{secrets.choice(_FIRST.split())}-{secrets.choice(_SECOND.split())}"


def _tail(letters: str) -> str:
    return "".join(secrets.choice(letters) for _ in range(_TAIL_LENGTH))
