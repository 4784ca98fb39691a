"""What is asked of the API, what it answers, and what to tell the user where that is an error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from flask_branches.errors import BranchesError, BranchExists, NeonError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 300
_LONGEST_READ = 4096
_CHARACTERS_OF_NO_TEXT = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_URI = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/@]*@\S*|\bpostgres(?:ql)?(?:\+\w+)?://\S*", re.IGNORECASE)

_HOST = "Is NEON_API_HOST right (its path ends with /api/v2), or is there a proxy in between?"
_STATUS_PAGE = "Try again later; https://neonstatus.com tells of troubles."
_REMEDIES = {
    HTTPStatus.UNAUTHORIZED: "Correct NEON_API_KEY: Neon does not know this key.",
    HTTPStatus.FORBIDDEN: "Set NEON_API_KEY to a key that may do this in this project.",
    HTTPStatus.LOCKED: "Other work on the project goes on: try again when it has ended.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too much was asked of this account at once: run less in parallel, or try later.",
}
_REMEDIES_BY_CODE = {
    "BRANCHES_LIMIT_EXCEEDED": "Delete some branches: flask branches prune.",
    "ROOT_BRANCHES_LIMIT_EXCEEDED": "Delete some root branches (schema-only ones count): flask branches prune.",
}
_NO_PROJECT = (
    "Correct NEON_PROJECT_ID, or set NEON_API_KEY to a key of the account or organisation that the project is in."
)
_NOTHING = "Correct NEON_PROJECT_ID, or NEON_API_HOST, whose path ends with /api/v2."
_NOT_THERE = (
    "Correct what it names; it may have been deleted meanwhile: flask branches list tells which branches there are."
)
_NOT_IN_WINDOW = "Name a point inside of the history that the project keeps, or none for the parent as it is now."
_OTHER = "Correct what it names."


@dataclass(frozen=True)
class Ask:
    """A request: its path below the project's, and what is wanted in plain words, such as ``list the branches``."""

    method: str
    path: str
    what: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None

    @property
    def branch(self) -> Mapping[str, Any]:
        """What its body says of a branch."""
        return (self.body or {}).get("branch") or {}


@dataclass(frozen=True)
class Answer:
    """An answer, read to its end."""

    status: int
    request_id: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether what was asked for was done."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def object(self) -> dict[str, Any] | None:
        """The JSON object of its body; None where there is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


class Told(NamedTuple):
    """What an answer says, in one line and without secrets, and what can be done about it."""

    said: str
    remedy: str
    code: str
    request_id: str


def error(ask: Ask, answer: Answer, key: str) -> BranchesError:
    """The error that an answer amounts to."""
    told = tell(ask, answer, key)
    where = f"{answer.status} {told.code}".strip()
    text = f"Neon did not {ask.what}: {told.said} ({where}, request {told.request_id}). {told.remedy}"
    if answer.status == HTTPStatus.CONFLICT and "name" in ask.branch:
        return BranchExists(
            f"Neon did not {ask.what}: {told.said} ({where}, request {told.request_id}). Choose another name."
        )
    return NeonError(text, status=answer.status, code=told.code, request_id=told.request_id)


def tell(ask: Ask, answer: Answer, key: str) -> Told:
    """What an answer says.

    Args:
        ask: what was asked.
        answer: an error, or a success without the JSON that was due.
        key: the API's key, which an answer might repeat.
    """
    raw = answer.object()
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        said = f"it points to {one_line(_place(answer.headers.get('location', '')), key)}, where the key must not go"
        return Told(said, _HOST, "", answer.request_id)
    if raw is None or answer.is_success:
        return Told(_no_json(answer), _remedy_without_json(answer.status), "", answer.request_id)
    message, code, request_id = (one_line(raw.get(name), key) for name in ("message", "code", "request_id"))
    return Told(
        message.rstrip(".") or "it gave no reason",
        _remedy(ask, answer.status, code, message),
        code,
        request_id or answer.request_id,
    )


def one_line(text: object, key: str = "") -> str:
    """A text of somebody else's, fit for a message: in one line, not too long, without the key and without URIs."""
    if not isinstance(text, str):
        return ""
    whole = text.replace(key, "***") if key else text
    line = _URI.sub("***", _CHARACTERS_OF_NO_TEXT.sub(" ", whole[:_LONGEST_READ]).strip())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _no_json(answer: Answer) -> str:
    if not answer.body.strip():
        return "it answered with nothing where JSON was due"
    is_page = "html" in answer.headers.get("content-type", "").lower() or answer.body.lstrip().startswith(b"<")
    return f"it answered with {'a page of HTML' if is_page else 'something else'} where JSON was due"


def _remedy_without_json(status: int) -> str:
    return _STATUS_PAGE if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _HOST


def _place(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return "another place"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl() or "another place"


def _remedy(ask: Ask, status: int, code: str, message: str) -> str:
    if code in _REMEDIES_BY_CODE:
        return _REMEDIES_BY_CODE[code]
    if status == HTTPStatus.NOT_FOUND:
        return _remedy_not_found(ask, message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _STATUS_PAGE
    if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY} and _names_point(ask):
        return _NOT_IN_WINDOW
    known = {each.value: text for each, text in _REMEDIES.items()}
    return known.get(status, _OTHER)


def _remedy_not_found(ask: Ask, message: str) -> str:
    if "project" in message.lower():
        return _NO_PROJECT
    names_nothing = ask.method == "GET" and ask.path.count("/") <= 1 and "branch_id" not in ask.params
    return _NOTHING if names_nothing else _NOT_THERE


def _names_point(ask: Ask) -> bool:
    return "parent_timestamp" in ask.branch or "parent_lsn" in ask.branch
