"""What is written down of the requests to the API, and what never is."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from neon_emulator.faults import requests_log
from neon_emulator.faults.requests_log import (
    LONGEST_BODY,
    MOST,
    Asked,
    RequestsLog,
    masked,
    readable_body,
    readable_query,
)


def _request(path: str) -> Asked:
    return Asked("GET", path, {}, None, "an-id", datetime.now(UTC))


def test_a_request_at_work_and_after() -> None:
    """A request stands in the list while it is at work, and has its status and its end afterwards."""
    log = RequestsLog()
    number = log.begin(_request("/projects"))
    assert [(asked.status, asked.ended) for asked in log.since(0)] == [(None, None)]
    log.end(number, 200)
    [asked] = log.since(0)
    assert (asked.number, asked.status) == (1, 200)
    assert asked.ended is not None
    assert asked.ended >= asked.started


def test_numbers_go_on() -> None:
    """After the list has been emptied the numbers go on, so that nobody who asks since one misses anything."""
    log = RequestsLog()
    for path in ("/a", "/b"):
        log.begin(_request(path))
    log.clear()
    log.end(2, 200)
    log.begin(_request("/c"))
    assert [(asked.number, asked.path) for asked in log.since(0)] == [(3, "/c")]
    assert log.since(3) == []


def test_the_oldest_are_forgotten() -> None:
    """The last ten thousand are kept."""
    log = RequestsLog()
    for _ in range(MOST + 5):
        log.begin(_request("/projects"))
    log.end(1, 200)
    kept = log.since(0)
    assert (len(kept), kept[0].number, kept[-1].number) == (MOST, 6, MOST + 5)


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ({"password": "s3cret"}, {"password": "***"}),
        ({"role": {"name": "a", "Password": 17}}, {"role": {"name": "a", "Password": "***"}}),
        ({"api_key": ["s3cret"]}, {"api_key": "***"}),
        ({"project": {"store_passwords": True}}, {"project": {"store_passwords": True}}),
        ([{"token": {"a": "s3cret"}}], [{"token": "***"}]),
        ({"url": "postgresql://a:s3cret@here/b"}, {"url": "postgresql://a:***@here/b"}),
        ({"url": "postgresql://a:s3@cr@et@here/b@c"}, {"url": "postgresql://a:***@here/b@c"}),
        ({"said": "x://a:s3cret@b y://c:s3@cret@d"}, {"said": "x://a:***@b y://c:***@d"}),
        ({"name": "a:b@c"}, {"name": "a:b@c"}),
        ("text", "text"),
    ],
)
def test_a_body_without_secrets(body: object, written: object) -> None:
    """What a key calls a secret, and the password of a URL, is hidden wherever it stands; all else is as it was."""
    assert readable_body(json.dumps(body).encode()) == written


@pytest.mark.parametrize(
    "body", [b"", b"no JSON: s3cret", b"\xff", b"[" * 10_000, b"[NaN]", b'"' + b"a" * LONGEST_BODY + b'"']
)
def test_a_body_that_is_not_kept(body: bytes) -> None:
    """What is no JSON, or too long, or too deep, is left out."""
    assert readable_body(body) is None


def test_a_query_without_secrets() -> None:
    """A query's values are hidden like a body's."""
    assert readable_query({"limit": ["1"], "api_key": ["s3cret"]}) == {"limit": ["1"], "api_key": ["***"]}


def test_null_is_no_secret() -> None:
    """A secret that is not there is not hidden."""
    assert masked(None, "password") is None


def test_no_header_is_written_down() -> None:
    """A request's headers have no place in the list."""
    assert {"headers", "authorization"}.isdisjoint(requests_log.Asked.__dataclass_fields__)
