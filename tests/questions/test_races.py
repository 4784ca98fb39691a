"""Two clients at once: real threads, and a database that decides."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from questions.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from werkzeug.test import TestResponse

    Ask = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.branches(isolation="branch")

CLIENTS = 6


@pytest.fixture
def at_once(app: Flask) -> Callable[..., list[TestResponse]]:
    """Send a request from several threads, each of which has read the question before any of them writes."""
    token = {"HTTP_AUTHORIZATION": "Bearer a-token-for-tests"}

    def run(method: str, url: str, bodies: list[dict[str, str] | None], headers: dict[str, str]) -> list[TestResponse]:
        barrier = Barrier(len(bodies), timeout=60)

        def request(body: dict[str, str] | None) -> TestResponse:
            client = app.test_client()
            barrier.wait()
            return client.open(url, method=method, json=body, headers=headers, environ_overrides=token)

        with app.app_context():
            waiting = Barrier(len(bodies), timeout=60)
            first: set[int] = set()

            def both_have_read(session: Any, *_: object) -> None:
                # The first flush of each session waits until every session has come as far.
                if id(session) not in first:
                    first.add(id(session))
                    waiting.wait()

            event.listen(db.session, "before_flush", both_have_read)
            try:
                with ThreadPoolExecutor(len(bodies)) as threads:
                    return list(threads.map(request, bodies))
            finally:
                event.remove(db.session, "before_flush", both_have_read)

    return run


def test_of_two_that_patch_with_if_match_one_wins(at_once: Callable[..., Any], app: Flask, ask: Ask) -> None:
    """One answer is 200; whoever lost the race gets 412, and the question is the winner's."""
    asked = ask()
    bodies = [{"title": f"From {number}"} for number in range(CLIENTS)]

    answers = at_once("PATCH", asked["url"], bodies, {"If-Match": asked["etag"]})

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * (CLIENTS - 1)
    winner = next(answer for answer in answers if answer.status_code == 200)
    stored = app.test_client().get(asked["url"])
    assert stored.get_json() == winner.get_json()
    assert stored.headers["ETag"] == winner.headers["ETag"]


def test_of_two_that_delete_with_if_match_one_wins(at_once: Callable[..., Any], ask: Ask) -> None:
    """Whoever finds the question gone, or changed, is told."""
    asked = ask()

    answers = at_once("DELETE", asked["url"], [None] * CLIENTS, {"If-Match": asked["etag"]})

    assert sorted(answer.status_code for answer in answers) == [204] + [412] * (CLIENTS - 1)


def test_without_if_match_every_patch_is_stored_whole(at_once: Callable[..., Any], app: Flask, ask: Ask) -> None:
    """Nobody set a condition, so nobody is refused, and no change of another field is lost."""
    asked = ask()
    bodies = [{"title": "New title"}, {"description": "New description"}] * (CLIENTS // 2)

    answers = at_once("PATCH", asked["url"], bodies, {})

    assert [answer.status_code for answer in answers] == [200] * CLIENTS
    assert len({answer.headers["ETag"] for answer in answers} - {asked["etag"]}) >= 2
    stored = app.test_client().get(asked["url"]).get_json()
    assert stored == {"id": asked["id"], "title": "New title", "description": "New description"}


def test_without_if_match_a_second_delete_finds_nothing(at_once: Callable[..., Any], ask: Ask) -> None:
    """One deletes; to the others there is no such question any more."""
    asked = ask()

    answers = at_once("DELETE", asked["url"], [None] * CLIENTS, {})

    assert sorted(answer.status_code for answer in answers) == [204] + [404] * (CLIENTS - 1)
