"""One test kept from the next, as its marker says."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest

from flask_branches.binding import bound
from flask_branches.configured import engines_of
from flask_branches.contexts import apart
from flask_branches.errors import IsolationError
from flask_branches.isolation import REMEDY, Isolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from flask_branches.branch import Branch

IsolationKind = Literal["rollback", "branch", "none"]
Data = Literal["copy", "empty"]


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
        pytest.UsageError: for a word that the marker does not have.
    """
    named: dict[str, object] = {}
    for marker in reversed(list(item.iter_markers("branches"))):
        if marker.args:
            raise pytest.UsageError(f"{item.nodeid}: branches() takes its words by name: isolation=…, data=….")
        named |= marker.kwargs
    try:
        return _marker(**named)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        said = str(error).removeprefix("_marker() ")
        raise pytest.UsageError(f"{item.nodeid}: the marker branches is wrong: {said}") from None


@contextmanager
def isolated(app: Flask, branch: Branch, wanted: Wish) -> Iterator[None]:
    """Let an application work on a branch for the time of a test."""
    with ExitStack() as undo:
        undo.enter_context(bound(app, branch))
        if wanted.isolation == "rollback":
            isolation = undo.enter_context(Isolation(app, empty=wanted.data == "empty"))
            undo.enter_context(apart(app, isolation.raise_swallowed))
        else:
            if wanted.data == "empty":
                _empty(app)
            undo.enter_context(apart(app))
        try:
            yield
        finally:
            if wanted.isolation != "rollback":
                undo.callback(_close_pools, app)


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
    if request.config.getini("live_server_scope") != "function" and wanted.isolation == "branch":
        raise IsolationError(
            "live_server lives as long as its scope, and each test has another branch: "
            "set live_server_scope = function in pytest's ini file."
        )


def _empty(app: Flask) -> None:
    from flask_branches import emptying

    for engine in engines_of(app).values():
        with engine.begin() as connection:
            emptying.empty(connection)


def _close_pools(app: Flask) -> None:
    """A branch of the test's own is deleted next, and a session's one may be copied."""
    for engine in engines_of(app).values():
        engine.pool.dispose()
