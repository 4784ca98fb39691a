"""What the API tells of projects, branches and endpoints, read leniently: new fields and states come within months."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import SecretStr

from flask_branches.errors import NeonError

if TYPE_CHECKING:
    from collections.abc import Mapping

_T = TypeVar("_T")


@dataclass(frozen=True)
class ProjectInfo:
    """A project."""

    id: str
    name: str
    branches_limit: int | None
    """How many branches its owner's plan lets a project have; None where there is no limit, or none is told."""

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read what the API tells of a project."""
        owner = _maybe(raw, "owner", dict, "project") or {}
        limit = _maybe(owner, "branches_limit", int, "project's owner")  # -1 on paid plans
        return cls(
            id=required(raw, "id", str, "project"),
            name=required(raw, "name", str, "project"),
            branches_limit=limit if limit and limit > 0 else None,
        )


@dataclass(frozen=True)
class BranchInfo:
    """A branch."""

    id: str
    name: str
    parent_id: str | None
    is_default: bool
    is_protected: bool
    state: str
    created_at: datetime
    expires_at: datetime | None
    annotation: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What was noted about it when it was made."""

    @classmethod
    def of(cls, raw: Mapping[str, Any], annotation: Mapping[str, Any] | None = None) -> Self:
        """Read what the API tells of a branch, and apart from it of its annotation."""
        # The older name of the same; that neither is told must not pass for "not the default branch".
        default = "default" if "default" in raw else "primary"
        return cls(
            id=required(raw, "id", str, "branch"),
            name=required(raw, "name", str, "branch"),
            parent_id=_maybe(raw, "parent_id", str, "branch"),
            is_default=required(raw, default, bool, "branch"),
            is_protected=required(raw, "protected", bool, "branch"),
            state=required(raw, "current_state", str, "branch"),
            created_at=_moment(required(raw, "created_at", str, "branch"), "created_at"),
            expires_at=_moment_or_none(_maybe(raw, "expires_at", str, "branch"), "expires_at"),
            annotation={key: _text(value) for key, value in (annotation or {}).items()},
        )


@dataclass(frozen=True)
class EndpointInfo:
    """An endpoint: the server that a branch is reached through."""

    id: str
    branch_id: str
    host: str
    """As the API tells it; a port may follow after a colon."""
    type: str
    state: str

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read what the API tells of an endpoint."""
        return cls(
            id=required(raw, "id", str, "endpoint"),
            branch_id=required(raw, "branch_id", str, "endpoint"),
            host=required(raw, "host", str, "endpoint"),
            type=required(raw, "type", str, "endpoint"),
            state=required(raw, "current_state", str, "endpoint"),
        )


@dataclass(frozen=True)
class CreatedBranch:
    """A branch that was made, and what came with it."""

    branch: BranchInfo
    endpoint: EndpointInfo | None
    uris: tuple[SecretStr, ...]
    """Connection URIs; none where the parent has several roles or databases, or the first answer was lost."""

    @classmethod
    def of(cls, raw: Mapping[str, Any], annotation: Mapping[str, str]) -> Self:
        """Read the answer to a new branch, which does not repeat the annotation."""
        branch = BranchInfo.of(required(raw, "branch", dict, "answer"), annotation)
        endpoints = [EndpointInfo.of(one) for one in objects(raw, "endpoints")]
        uris = [required(one, "connection_uri", str, "connection") for one in objects(raw, "connection_uris")]
        return cls(branch, read_write(endpoints), tuple(SecretStr(uri) for uri in uris))


def read_write(endpoints: list[EndpointInfo]) -> EndpointInfo | None:
    """The endpoint that can write: a branch has one at most."""
    return next((one for one in endpoints if one.type == "read_write"), None)


def annotation_of(raw: object) -> Mapping[str, Any]:
    """The value of an annotation, as the API wraps it; empty where there is none."""
    value = raw.get("value") if isinstance(raw, dict) else None
    return value if isinstance(value, dict) else {}


def objects(raw: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects; a list that is missing is empty.

    Raises:
        NeonError: for anything else.
    """
    found = _maybe(raw, key, list, "answer") or []
    if not all(isinstance(one, dict) for one in found):
        raise _not_understood("answer", key, "a list of objects")
    return found


def required(raw: Mapping[str, Any], key: str, kind: type[_T], owner: str) -> _T:
    """A field that must be there.

    Raises:
        NeonError: where it is missing, or of another type; the value is never told, it may be a secret.
    """
    value = _maybe(raw, key, kind, owner)
    if value is None:
        raise _not_understood(owner, key, kind.__name__)
    return value


def _maybe(raw: Mapping[str, Any], key: str, kind: type[_T], owner: str) -> _T | None:
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _not_understood(owner, key, kind.__name__)
    return value


def _moment_or_none(text: str | None, key: str) -> datetime | None:
    return None if text is None else _moment(text, key)


def _moment(text: str, key: str) -> datetime:
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        raise _not_understood("branch", key, "a time") from None
    if made.tzinfo is None:
        raise _not_understood("branch", key, "a time with its zone")
    return made


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _not_understood(owner: str, key: str, kind: str) -> NeonError:
    return NeonError(
        f"Neon's API told of a {owner} whose {key!r} is missing or is not {kind}: is NEON_API_HOST an API of Neon's, "
        "version 2? Else this client is too old for it."
    )
