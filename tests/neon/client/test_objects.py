"""What the API tells, read: leniently where it may grow, strictly where a guess could cost a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flask_branches import NeonError
from flask_branches.neon_client import BranchInfo, CreatedBranch, EndpointInfo, ProjectInfo

BRANCH: dict[str, Any] = {
    "id": "br-a-b-c",
    "name": "mine",
    "default": False,
    "protected": False,
    "current_state": "ready",
    "created_at": "2026-01-02T03:04:05Z",
}
ENDPOINT: dict[str, Any] = {
    "id": "ep-a-b-c",
    "branch_id": "br-a-b-c",
    "host": "ep-a-b-c.eu.example:1234",
    "type": "read_write",
    "current_state": "idle",
}
PROJECT: dict[str, Any] = {"id": "old-violet-1", "name": "shop"}
RAW = {BranchInfo: BRANCH, EndpointInfo: ENDPOINT, ProjectInfo: PROJECT}


def test_a_branch_has_what_the_api_tells() -> None:
    """All that it may tell, and None for what it leaves out."""
    more = {
        "parent_id": "br-p-p-p",
        "expires_at": "2026-01-03T03:04:05.123456789+01:00",
    }
    full = BranchInfo.of(BRANCH | more, {"by": "me", "count": 3})
    bare = BranchInfo.of(BRANCH | dict.fromkeys(more))

    assert full.parent_id == "br-p-p-p"
    assert full.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert full.expires_at == datetime(2026, 1, 3, 2, 4, 5, 123456, tzinfo=UTC)
    assert full.annotation == {"by": "me", "count": "3"}
    assert (bare.parent_id, bare.expires_at) == (None, None)
    assert bare.annotation == {}


def test_a_project_has_what_the_api_tells() -> None:
    """The limit is its owner's."""
    full = ProjectInfo.of(PROJECT | {"owner": {"branches_limit": 10}})

    assert full == ProjectInfo("old-violet-1", "shop", 10)
    assert ProjectInfo.of(PROJECT) == ProjectInfo("old-violet-1", "shop", None)


@pytest.mark.parametrize("limit", [-1, 0, None])
def test_a_plan_without_a_limit_has_none(limit: int | None) -> None:
    """Paid plans tell a number that is no number of branches."""
    assert ProjectInfo.of(PROJECT | {"owner": {"branches_limit": limit}}).branches_limit is None


@pytest.mark.parametrize("kind", RAW)
def test_what_comes_within_months_does_no_harm(kind: type[Any]) -> None:
    """Neither fields that are new, nor values of those that are known."""
    raw = RAW[kind] | {"slug": {"deep": [1]}}
    states = {key: "hibernating" for key in ("current_state", "type") if key in raw}

    assert kind.of(raw) == kind.of(RAW[kind])
    assert kind.of(raw | states)


def test_the_older_name_of_default_is_known() -> None:
    """The guard asks it before anything is written."""
    raw = {key: value for key, value in BRANCH.items() if key != "default"}

    assert BranchInfo.of(raw | {"primary": True}).is_default


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, raw in RAW.items() for key in raw])
@pytest.mark.parametrize("value", [None, ["secret"], {"secret": 1}, "missing"])
def test_a_required_field_is_required(kind: type[Any], key: str, value: object) -> None:
    """Where it is missing or of another type, the field is named, and its value is not: it may be a secret."""
    raw = {**RAW[kind], key: value}
    if value == "missing":
        del raw[key]

    with pytest.raises(
        NeonError, match=rf"'{'primary' if value == 'missing' and key == 'default' else key}'"
    ) as caught:
        kind.of(raw)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("created_at", "yesterday"),
        ("created_at", "2026-01-02T03:04:05"),
        ("expires_at", "soon"),
        ("expires_at", 1767322800),
        ("parent_id", 7),
        ("protected", "false"),
        ("default", 0),
    ],
)
def test_a_value_of_another_kind_is_no_guess(key: str, value: object) -> None:
    """A time without a zone is none, and a text is no truth."""
    with pytest.raises(NeonError, match=key):
        BranchInfo.of({**BRANCH, key: value})


@pytest.mark.parametrize("value", [{"a": 1}, ["text"], 1])
@pytest.mark.parametrize("key", ["endpoints", "connection_uris"])
def test_a_list_is_a_list_of_objects(key: str, value: object) -> None:
    """Anything else is not understood."""
    with pytest.raises(NeonError, match=key):
        CreatedBranch.of({"branch": BRANCH, key: value}, {})


def test_a_new_branch_has_its_writing_endpoint_and_hidden_uris() -> None:
    """A replica is not taken for it, and no password is shown."""
    replica = ENDPOINT | {"id": "ep-r-r-r", "type": "read_only"}
    uris = [{"connection_uri": "postgresql://me:secret@host/db"}]
    made = CreatedBranch.of({"branch": BRANCH, "endpoints": [replica, ENDPOINT], "connection_uris": uris}, {"a": "b"})

    assert made.endpoint == EndpointInfo.of(ENDPOINT)
    assert made.branch.annotation == {"a": "b"}
    assert [uri.get_secret_value() for uri in made.uris] == ["postgresql://me:secret@host/db"]
    assert "secret" not in repr(made)
    assert CreatedBranch.of({"branch": BRANCH, "endpoints": [replica]}, {}).endpoint is None
