"""Requests of a test have contexts of their own, and its body has one."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest
from flask import Flask, current_app, g, has_app_context, request, session, stream_with_context

from flask_branches.contexts import apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient
    from tests.isolation.conftest import World

SEEN: ContextVar[str] = ContextVar("SEEN", default="nothing")


def test_requests_share_no_g_and_are_torn_down(world: World, http: FlaskClient) -> None:
    """Not even inside a request context of the test's, which pytest-flask pushes."""
    torn: list[object] = []
    world.app.teardown_appcontext_funcs.append(torn.append)
    try:
        with world.app.test_request_context():
            g.seen = 7
            assert [http.post("/forget/a").text, http.post("/forget/a").text] == ["1", "1"]
            assert len(torn) == 2
            assert g.seen == 7
    finally:
        world.app.teardown_appcontext_funcs.remove(torn.append)


def test_the_test_s_body_has_a_context(world: World) -> None:
    """`db.session` works without one of the test's own."""
    assert has_app_context()
    assert current_app == world.app
    assert world.count() == 1


def test_a_client_that_keeps_its_context_keeps_it(http: FlaskClient) -> None:
    """`with client:` shows the request, and the session, after it was answered."""
    with http:
        http.post("/forget/kept")
        assert (session["text"], request.path) == ("kept", "/forget/kept")
        http.get("/count")
        assert request.path == "/count"
    with http.session_transaction() as stored:
        stored["text"] = "changed"
    with http:
        http.get("/count")
        assert session["text"] == "changed"


@pytest.fixture
def plain() -> Flask:
    """An application without a database."""
    app = Flask("plain")

    @app.get("/streamed")
    def streamed() -> Iterator[str]:
        def parts() -> Iterator[str]:
            yield request.path
            yield g.setdefault("word", " is still here")

        return stream_with_context(parts())

    @app.get("/seen")
    def seen() -> str:
        before = SEEN.get()
        SEEN.set("a request")
        return before

    return app


def test_a_streamed_answer_has_its_request_to_the_end(plain: Flask) -> None:
    """Its context is pushed and popped where it was made."""
    with apart(plain):
        assert plain.test_client().get("/streamed").text == "/streamed is still here"
        with plain.test_request_context():
            assert plain.test_client().get("/streamed").text == "/streamed is still here"


def test_a_client_that_keeps_its_context_can_read_a_stream(plain: Flask) -> None:
    """pytest-flask's client is one; what the request has put into `g` meanwhile is there."""
    with apart(plain), plain.test_client() as client:
        assert client.get("/streamed").text == "/streamed is still here"
        assert g.word == " is still here"


def test_context_variables_are_not_shared(plain: Flask) -> None:
    """Neither with the test nor with the next request."""
    SEEN.set("the test")
    with apart(plain):
        client = plain.test_client()
        assert [client.get("/seen").text, client.get("/seen").text] == ["nothing", "nothing"]
    assert SEEN.get() == "the test"


def test_afterwards_the_application_is_as_before(plain: Flask) -> None:
    """Its WSGI application is its own again, and no context is left."""
    before = plain.wsgi_app
    with apart(plain):
        assert plain.wsgi_app != before
    assert plain.wsgi_app == before
    assert not has_app_context()
