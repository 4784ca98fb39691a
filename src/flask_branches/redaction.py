"""Passwords kept out of what others' programs say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

HIDDEN = "***"


class Redaction:
    """Hides the passwords of some URLs, and other secrets.

    Args:
        urls: of the databases that a run knows.
        others: what else nobody is to see.
    """

    def __init__(self, urls: Iterable[sa.URL], others: Iterable[str] = ()) -> None:
        """Collect them, as they are and as a URL writes them."""
        found = {_word(each) for each in others}
        for url in urls:
            for secret in (url.password, *url.normalized_query.get("password", ())):
                if secret:
                    forms = {str(secret), quote(str(secret), safe=""), quote_plus(str(secret)), repr(secret)[1:-1]}
                    # A password that the URL also has as a name is none; only its place in the URL is hidden then.
                    plain = {url.username, url.database, url.host}.isdisjoint({secret})
                    found |= {_word(form) if plain else f"(?<=:){re.escape(form)}(?=@)" for form in forms}
        longest_first = sorted(found, key=len, reverse=True)
        self._secret = re.compile("|".join(longest_first)) if found else None

    @property
    def hides(self) -> bool:
        """Whether there is anything to hide."""
        return self._secret is not None

    def text(self, text: str) -> str:
        """The same without a password."""
        return self._secret.sub(HIDDEN, text) if self._secret else text


def _word(text: str) -> str:
    """A pattern for a text that is no part of a longer word."""
    return rf"(?<!\w){re.escape(text)}(?!\w)"
