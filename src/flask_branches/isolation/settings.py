"""Statements that set what is set already, as some applications do for each connection, or each request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flask_branches.isolation.words import words

if TYPE_CHECKING:
    from collections.abc import Callable

_PRAGMA = re.compile(
    r"\s*PRAGMA\s+((?:\w+\s*\.\s*)?(\w+))\s*[=(]\s*(?:([-+]?\w+)|'([^']*)'|\"([^\"]*)\")\s*\)?[\s;]*", re.IGNORECASE
)
_SET = re.compile(
    r"\s*SET\s+(?:SESSION\s+(?!AUTHORIZATION))?"
    r"(?:(TIME\s+ZONE|ROLE|NAMES|SCHEMA|SESSION\s+AUTHORIZATION)\s|([A-Za-z_][\w.]*)\s*(?:=|\sTO\s))[^;]*;?\s*",
    re.IGNORECASE,
)
_SPELT = {
    "time zone": "timezone",
    "names": "client_encoding",
    "schema": "search_path",
    "session authorization": "session_authorization",
}

# Those that answer with their value, and do nothing else when they are asked.
_KNOWN = words(
    """
    analysis_limit application_id auto_vacuum automatic_index busy_timeout cache_size cell_size_check
    checkpoint_fullfsync defer_foreign_keys encoding foreign_keys fullfsync hard_heap_limit ignore_check_constraints
    journal_mode journal_size_limit legacy_alter_table locking_mode max_page_count mmap_size page_size query_only
    read_uncommitted recursive_triggers reverse_unordered_selects secure_delete soft_heap_limit synchronous
    temp_store threads trusted_schema user_version wal_autocheckpoint writable_schema
    """
)
_BEFORE = {"foreign_keys", "synchronous", "temp_store"}
_SWITCH = {"on": "1", "yes": "1", "true": "1", "off": "0", "no": "0", "false": "0"}
_WORDS = {
    "auto_vacuum": {"none": "0", "full": "1", "incremental": "2"},
    "synchronous": _SWITCH | {"normal": "1", "full": "2", "extra": "3"},
    "temp_store": {"default": "0", "file": "1", "memory": "2"},
}


def already_so(text: str, ask: Callable[[str], Any]) -> str | None:
    """The question to which a PRAGMA's value is the present answer: it can stand in its place.

    Args:
        text: the statement.
        ask: answers a query.
    """
    pragma = _PRAGMA.fullmatch(text)
    if pragma is None or (name := pragma[2].lower()) not in _KNOWN:
        return None
    question = f"PRAGMA {pragma[1]}"
    wished = str(pragma[3] or pragma[4] or pragma[5] or "").lower().removeprefix("+")
    present = str(ask(question)).lower()
    return question if present in {wished, _WORDS.get(name, _SWITCH).get(wished)} else None


def comes_before(text: str) -> bool:
    """Whether a PRAGMA takes effect where no transaction has begun, and stays where it is set."""
    pragma = _PRAGMA.fullmatch(text)
    return pragma is not None and pragma[2].lower() in _BEFORE


def question_of(text: str) -> str | None:
    """What tells whether a SET of Postgres' has changed anything."""
    found = _SET.fullmatch(text)
    if found is None:
        return None
    name = " ".join((found[1] or found[2]).lower().split())
    return f"SELECT current_setting('{_SPELT.get(name, name)}', true)"
