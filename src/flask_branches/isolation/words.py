"""Long lists of words, written as text."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text, which as a list would fill a page."""
    return frozenset(text.split())
