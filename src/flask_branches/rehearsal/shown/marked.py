"""Markdown's pieces, out of which the text of others cannot break."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from flask_branches.rehearsal.shown.words import clean, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"[\\`*_\[\]|~!$#]")
_START = re.compile(r"^([-+>]|\d+(?=[.)]))")
_MENTION = re.compile(r"([@#])(?=\w)|(?<=\b)(www)(?=\.)|(:)(?=//)")
_NOTHING = "\u2060"


def prose(text: str) -> str:
    """A text of others as a part of a sentence: no markup, no link, nobody called by name."""
    quiet = _MENTION.sub(lambda found: found[0] + _NOTHING, one_line(text))
    marked = _SPECIAL.sub(lambda found: f"\\{found[0]}", quiet)
    marked = marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _START.sub(lambda found: f"{_NOTHING}{found[0]}", marked)


def cell(text: str) -> str:
    """A text of others as a part of a table's cell."""
    return prose(text)


def code(text: str, *, is_cell: bool = False) -> str:
    """A name or a statement as code in a line."""
    shown = one_line(text) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    padded = f" {shown} " if "`" in (shown[0], shown[-1]) else shown
    return f"{fence}{padded.replace('|', chr(92) + '|') if is_cell else padded}{fence}"


def fenced(text: str, language: str = "") -> str:
    """A text of several lines as code."""
    shown = clean(text).strip("\n")
    fence = "`" * max(max((len(run) for run in re.findall("`+", shown)), default=0) + 1, 3)
    return f"{fence}{language}\n{shown}\n{fence}"


def folded(summary: str, content: str) -> str:
    """What is shown when a reader asks for it."""
    named = escape(_MENTION.sub(lambda found: found[0] + _NOTHING, one_line(summary)))
    return f"<details><summary>{named}</summary>\n\n{content}\n\n</details>"


def bullets(texts: Sequence[str], most: int) -> str:
    """Sentences of others as a list; of many, the first ones."""
    lines = [f"- {prose(each)}" for each in texts[:most]]
    if len(texts) > most:
        lines.append(f"- …and {len(texts) - most} more.")
    return "\n".join(lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are made of :func:`cell`, :func:`code` or our own words."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


def web(address: str) -> str:
    """A link to where something is documented; an address that is none is shown as it is."""
    shown = one_line(address)
    return f"[source](<{shown}>)" if is_web(shown) else code(shown)


def is_web(address: str) -> bool:
    """Whether an address leads to the web, and to nothing that a browser would run."""
    return re.fullmatch(r"https?://[^\s<>\"\\]+", address) is not None
