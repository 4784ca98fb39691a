"""Passwords in SQL: those of roles, of connections and of URLs.

What stands in code is told from what stands in texts and comments: ``password = new`` is a column's value in the one,
and gives a password away in the others. A statement may carry a megabyte, so no pattern here goes back over what it
has read. Groups are atomic for that; possessive ones do not match all that they should until Python 3.11.5:
https://github.com/python/cpython/issues/106052.
"""

from __future__ import annotations

import re

from flask_branches.redaction import HIDDEN

_LEVELS = 5
"""How deep texts in texts are read: what stands deeper, and speaks of passwords, is hidden as a whole."""
_COMMENT = r"(?P<line>--[^\n]*+)|(?P<block>/\*)"
_NAME = r'(?P<name>"(?>(?:[^"]++|"")*)(?:"|\Z))'
_ESCAPED = r"(?P<escaped>(?<![\w$])[eE]'(?>(?:[^'\\]++|\\.?|'')*)(?:'|\Z))"
_DOLLARS = r"(?P<dollars>(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*+)?)\$.*?(?:\$(?P=tag)\$|\Z))"
_UNICODE = r"(?:(?<![\w$])[uU]&)?"
_IN_CODE = re.compile(
    rf"{_COMMENT}|{_NAME}|{_ESCAPED}|{_DOLLARS}|(?P<plain>{_UNICODE}'(?>(?:[^']++|'')*)(?:'|\Z))", re.DOTALL
)
_IN_PROSE = re.compile(
    r"(?P<apostrophe>(?<=\w)'(?:s\b|(?<!(?i:password)')))"
    # A connection's settings have a quote behind a backslash.
    rf"|{_COMMENT}|{_NAME}|{_ESCAPED}|{_DOLLARS}|(?P<plain>{_UNICODE}'(?>(?:[^'\\]++|\\.?|'')*)(?:'|\Z))",
    re.DOTALL,
)
_EDGE = re.compile(r"/\*|\*/")
_ASKING = re.compile(r"(?<![\w$])\"?(?:ssl)?password\"?\s*+=?\s*+\Z", re.IGNORECASE)
_PROGRAM = re.compile(r"\b(?:DO|AS)(?:\s++LANGUAGE\s++\w++)?\s*+\Z", re.IGNORECASE)
_BARE = re.compile(
    r"(\b(?:ssl|pg)?password\s*+=\s*+)(?![\"']|E'|U&'|\$\w*+\$)(?>(?:[^\s'&;]|['&;](?=\w)(?!\w++=))+)", re.IGNORECASE
)
_OPEN = re.compile(
    r"(\b(?:ssl|pg)?password\"?(?:\s++=?|=)\s*+)'(?>(?:[^'\\]++|\\.?|'')*)(?:'|\Z)", re.IGNORECASE | re.DOTALL
)
"""What prose has before it may be half of a pair of quotes."""
_AT = r"(?:[^\s@']|''|'(?=\w)|(?<=\\)')"
_URL = re.compile(rf"(://(?>(?:(?![:/]){_AT})*):)(?!\d++[/\"])((?>{_AT}+))(@?)")
"""Matched without a password too, and left as it is then: what was read is not read again."""
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", "\\": "\\"}


def hidden(text: str) -> str:
    """A statement without the passwords that stand in its own text."""
    return in_urls(_shown(text, _LEVELS, is_code=True))


def in_urls(text: str) -> str:
    """Any text without the passwords of URLs."""
    return _URL.sub(lambda found: f"{found[1]}{HIDDEN}@" if found[3] else found[0], text)


def _shown(text: str, levels: int, *, is_code: bool) -> str:
    if "password" not in text.lower():
        return text
    if not levels:
        return HIDDEN
    if not is_code:
        text = _BARE.sub(rf"\1{HIDDEN}", _OPEN.sub(rf"\1'{HIDDEN}'", text))
    parts: list[str] = []
    at, asking = 0, ""
    while found := (_IN_CODE if is_code else _IN_PROSE).search(text, at):
        between = text[at : found.start()]
        asking = _asking(asking + between)  # still so behind a text: its other half may follow on the next line
        at = _end_of_comment(text, found.start()) if found["block"] else found.end()
        token = text[found.start() : at]
        parts += between, _token(found, token, asking, levels, is_code=is_code, between=between)
        if found["name"]:
            asking = _asking(token)
    return "".join([*parts, text[at:]])


def _asking(code: str) -> str:
    """What is left open at the end of some code for a password to follow: the word, with ``=`` or without."""
    found = _ASKING.search(code)
    return "".join(found[0].split()) if found else ""


def _token(found: re.Match[str], token: str, asking: str, levels: int, *, is_code: bool, between: str) -> str:
    kind = found.lastgroup
    if kind == "apostrophe":
        return token
    if kind in {"line", "block"}:
        end = "*/" if kind == "block" and token.endswith("*/") else ""
        return f"{token[:2]}{_shown(token[2:].removesuffix(end), levels - 1, is_code=False)}{end}"
    if kind == "name":
        return f'"{HIDDEN}"' if asking.endswith("=") and not is_code else _inside(token, '"', levels)
    if asking:
        return f"'{HIDDEN}'"
    if kind == "dollars":
        is_program = is_code and _PROGRAM.search(between) is not None
        return _inside(token, f"${found['tag']}$", levels, is_code=is_program)
    return _inside(token, "'", levels, has_escapes=kind == "escaped")


def _inside(token: str, quote: str, levels: int, *, is_code: bool = False, has_escapes: bool = False) -> str:
    """A text without the passwords in it, quoted as it was."""
    begin = token.index(quote) + len(quote)
    body = token[begin:].removesuffix(quote)
    end = token[begin + len(body) :]
    if has_escapes:
        meant = re.sub(r"''|\\(.)", lambda each: _ESCAPES.get(each[1] or "'", each[0]), body)
    else:
        meant = body.replace(quote * 2, quote)
    shown = _shown(meant, levels - 1, is_code=is_code)
    if shown == meant:
        return token
    if has_escapes:
        shown = shown.replace("\\", r"\\")
    return f"{token[:begin]}{shown if quote.startswith('$') else shown.replace(quote, quote * 2)}{end}"


def _end_of_comment(text: str, begin: int) -> int:
    """Where a comment ends, which may have others in it."""
    depth = 0
    for edge in _EDGE.finditer(text, begin):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(text)
