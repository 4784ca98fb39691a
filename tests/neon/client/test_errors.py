"""What an error of the API tells, and what it never tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.neon.client.stubs import KEY

from flask_branches import NeonError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.neon.client.stubs import Stub

    from flask_branches.neon_client import NeonClient

URI = "postgresql://me:secret@host/db"


@pytest.mark.parametrize("where", ["body", "header", "own"])
def test_the_request_is_named_as_neon_names_it(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], where: str
) -> None:
    """By the answer, its header, or the id that was sent."""
    body = {"message": "no"} | ({"request_id": "from-body"} if where == "body" else {})
    server = stub((400, body, {} if where == "own" else {"x-neon-ret-request-id": "from-header"}))
    with pytest.raises(NeonError) as caught:
        connect(server.host).project()

    assert caught.value.request_id == (server.asked[0][2]["x-request-id"] if where == "own" else f"from-{where}")


SECRETS = [
    f"bad key {KEY}",
    f"at {URI} and postgres://me:secret@host",
    "https://me:secret@example.com/x",
    "x" * 290 + KEY,
    "x" * 4090 + KEY,
    "y " * 5000 + URI,
]


@pytest.mark.parametrize("message", SECRETS, ids=range(len(SECRETS)))
@pytest.mark.parametrize("status", [400, 503])
def test_an_error_repeats_no_secret(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], status: int, message: str
) -> None:
    """Whatever the API says; neither in its text, nor in what it came from."""
    server = stub((status, {"message": message, "code": KEY, "request_id": KEY}, {"x-neon-ret-request-id": KEY}))
    with pytest.raises(NeonError) as caught:
        connect(server.host, patience=0.3).project()

    error = caught.value
    told = f"{error} {error!r} {error.code} {error.request_id}"
    assert "secret" not in told
    assert KEY[:12] not in told
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_an_error_is_one_short_line(stub: Callable[..., Stub], connect: Callable[..., NeonClient]) -> None:
    """A terminal shows it as it is."""
    server = stub((400, {"message": "first\nsecond\x1b[31m\r\n" + "a.b" * 2_000_000}))
    with pytest.raises(NeonError, match=r"first second \[31m a\.b") as caught:
        connect(server.host, timeout=30, patience=30).project()

    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("body", [{}, {"message": 5}, {"message": ""}, {"message": None, "code": ["x"]}])
def test_an_error_without_a_reason_is_told(
    stub: Callable[..., Stub], connect: Callable[..., NeonClient], body: object
) -> None:
    """By its status."""
    with pytest.raises(NeonError, match=r"it gave no reason \(403, request .*a key that may"):
        connect(stub((403, body)).host).project()
