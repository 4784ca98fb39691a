"""The hooks and fixtures. At import there is nothing but pytest: what is heavy comes when a test asks for a branch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_branches import options, part
from pytest_branches.part import FAILED, part_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_branches import Branch


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and what carries a run."""
    config.addinivalue_line(
        "markers",
        "branches(isolation='rollback', data='copy'): how the test is kept from the next one ('rollback', 'branch', "
        "'none'), and whether it finds its parent's rows ('copy') or none ('empty')",
    )
    part.register(config)


@contextmanager
def _as_failures(request: pytest.FixtureRequest, *, fatal: bool = False) -> Iterator[None]:
    """Show this package's errors without a traceback; where no test could do better, the session stops."""
    from flask_branches import BranchesError

    try:
        yield
    except BranchesError as error:
        if fatal:
            request.session.shouldfail = "there is no branch to test on"
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def branch(request: pytest.FixtureRequest) -> Branch:
    """The branch of this session, or of this worker: migrated, and nobody else's."""
    with _as_failures(request, fatal=True):
        return part_of(request.config).branch


@pytest.fixture
def own_branch(request: pytest.FixtureRequest) -> Iterator[Branch]:
    """A branch of this test's own, a copy of what the session's one was before any test."""
    mine = part_of(request.config)
    with _as_failures(request, fatal=True):
        run = mine.run
    with _as_failures(request):
        made = run.own_branch(mine.worker)
    yield made
    if mine.keeps(failed=request.node.stash.get(FAILED, False)):
        mine.kept(made)
    else:
        run.delete(made)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of the database that this test works on."""
    from pytest_branches.isolating import wish

    name = "own_branch" if wish(request.node).isolation == "branch" else "branch"
    found: Branch = request.getfixturevalue(name)
    return found.url


@pytest.fixture(autouse=True)
def _branches(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the test from the next one."""
    mine = part_of(request.config)
    if not mine.is_set_up or not mine.concerns(request):
        yield
        return
    from pytest_branches import isolating

    with _as_failures(request):
        wanted = isolating.wish(request.node)
        isolating.refuse_live_server(request, wanted)
    work_on: Branch = request.getfixturevalue("own_branch" if wanted.isolation == "branch" else "branch")
    app = mine.app_of(request)
    if app is None:
        yield
        return
    isolation = isolating.isolated(app, work_on, wanted)
    with _as_failures(request):
        isolation.__enter__()
    try:
        yield
    finally:
        isolation.__exit__(None, None, None)
