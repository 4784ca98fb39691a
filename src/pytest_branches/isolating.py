"""One test kept from the next, as its marker says."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flask_branches import urls
from flask_branches.binding import bound, is_on
from flask_branches.configured import engines_of
from flask_branches.contexts import apart
from flask_branches.errors import ConfigurationError, IsolationError
from flask_branches.isolation import REMEDY, Isolation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest
    from flask import Flask
    from sqlalchemy import Engine

    from flask_branches.branch import Branch

IsolationKind = Literal["rollback", "branch", "none"]
Data = Literal["copy", "empty"]

_WRONG = "the marker branches is wrong"


@dataclass(frozen=True)
class Wish:
    """What a marker asks for."""

    isolation: IsolationKind = "rollback"
    data: Data = "copy"


def _marker(*, isolation: IsolationKind = "rollback", data: Data = "copy") -> Wish:
    if isolation not in {"rollback", "branch", "none"}:
        raise ValueError(f"isolation is {isolation!r}: say 'rollback', 'branch' or 'none'.")
    if data not in {"copy", "empty"}:
        raise ValueError(f"data is {data!r}: say 'copy' or 'empty'.")
    return Wish(isolation, data)


def wish(item: pytest.Item) -> Wish:
    """What the markers of a test ask for; of two that name the same word, the nearer one counts.

    Raises:
        ConfigurationError: for a word that the marker does not have.
    """
    named: dict[str, object] = {}
    for marker in reversed(list(item.iter_markers("branches"))):
        if marker.args:
            raise ConfigurationError(f"{item.nodeid}: {_WRONG}: it takes its words by name, isolation=… and data=….")
        named |= marker.kwargs
    try:
        return _marker(**named)  # type: ignore[arg-type]  # the call is the check: TypeError, below
    except TypeError as error:
        said = str(error).removeprefix("_marker() ").rstrip(".?")
        raise ConfigurationError(f"{item.nodeid}: {_WRONG}: {said}: it takes isolation=… and data=….") from None
    except ValueError as error:
        raise ConfigurationError(f"{item.nodeid}: {_WRONG}: {error}") from None


def branch_for(request: pytest.FixtureRequest, wanted: Wish, app: Flask | None) -> Branch:
    """The branch that a test works on: the session's, unless it asks for one of its own or has made its app on that."""
    if wanted.isolation == "branch":
        own: Branch = request.getfixturevalue("own_branch")
        return own
    if "own_branch" in request.fixturenames and app is not None:
        own = request.getfixturevalue("own_branch")
        if is_on(app, own):
            return own
    shared: Branch = request.getfixturevalue("branch")
    return shared


@contextmanager
def isolated(app: Flask, branch: Branch, wanted: Wish) -> Iterator[None]:
    """Let an application work on a branch for the time of a test."""
    with ExitStack() as undo:
        undo.enter_context(bound(app, branch))
        if wanted.isolation == "rollback":
            isolation = undo.enter_context(Isolation(app, empty=wanted.data == "empty"))
            check = partial(isolation.raise_swallowed, has_reached_the_test)
            undo.callback(check)
            undo.enter_context(apart(app, check))
        else:
            # A branch of the test's own is deleted next, and an existing one may be copied.
            engines = list(engines_of(app).values())
            undo.callback(close_pools, engines)
            if wanted.data == "empty":
                _empty(app)
            close_pools(engines)  # a live_server would inherit what is in them
            undo.enter_context(apart(app))
        yield


def refuse_without_app(item: pytest.Item, wanted: Wish) -> None:
    """Refuse a test that is to be rolled back and has nothing that could be.

    Raises:
        ConfigurationError: with the remedy.
    """
    if wanted.isolation == "rollback" and any(marker.name == "branches" for marker in item.own_markers):
        raise ConfigurationError(
            f"{item.nodeid}: {_WRONG}: what is rolled back is what the application of the fixture app does, and "
            "the test has none: call your fixture app, or say isolation='branch' and use database_url."
        )


def has_reached_the_test(error: BaseException) -> bool:
    """Whether a test, or pytest, has met an error, so that nobody need tell it at the test's end."""
    failure: BaseException | None = getattr(sys, "last_value", None)  # what pytest has seen a test's body fail with
    while failure is not None:
        if failure is error:
            return True
        failure = failure.__cause__ or failure.__context__
    if error.__traceback__ is None:
        return False
    caught_in = Path(error.__traceback__.tb_frame.f_code.co_filename)
    test = Path(os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0])
    return caught_in.name == "conftest.py" or caught_in.parts[-len(test.parts) :] == test.parts or _is_pytest(caught_in)


def _is_pytest(file: Path) -> bool:
    return not {"_pytest", "pluggy"}.isdisjoint(file.parts) or file.parts[-2:] == ("unittest", "case.py")


def close_pools(engines: Iterable[Engine]) -> None:
    """Close idle connections; not by ``Engine.dispose``, of which listeners hear."""
    for engine in engines:
        if not urls.is_memory(engine.url):
            engine.pool.dispose()
            engine.pool = engine.pool.recreate()


def refuse_live_server(request: pytest.FixtureRequest, wanted: Wish) -> None:
    """Refuse a server in another process where it would serve another database, or break this one's transaction.

    Raises:
        IsolationError: with the remedy.
    """
    if "live_server" not in request.fixturenames:
        return
    if wanted.isolation == "rollback":
        raise IsolationError(
            f"live_server answers from another process, which sees nothing of a test's transaction. {REMEDY}"
        )
    if wanted.isolation == "branch" and _live_server_scope(request) not in {"function", None}:
        raise IsolationError(
            "live_server lives as long as its scope, and each test has another branch: "
            "set live_server_scope = function in pytest's ini file."
        )


def _live_server_scope(request: pytest.FixtureRequest) -> str | None:
    """The scope of pytest-flask's; None for a project's own."""
    try:
        return str(request.config.getini("live_server_scope"))
    except ValueError:
        return None


def _empty(app: Flask) -> None:
    from flask_branches.masks import Masking
    from flask_branches.preparing import prepare

    for engine in engines_of(app).values():
        with engine.connect() as connection:
            prepare(connection, "empty", Masking({}, ""), last=True)
