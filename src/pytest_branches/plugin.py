"""The hooks and fixtures. At import there is nothing but pytest: what is heavy comes when a test asks for a branch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from pytest_branches import options
from pytest_branches.course import FAILED, Course
from pytest_branches.part import part_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_branches import Branch

_COURSE = "branches-course"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    options.add(parser)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Let a conftest that imports the application write to no database that somebody has named."""
    if not early_config.getini(options.APP):
        return (yield)
    from flask_branches import BranchesError
    from pytest_branches import loading, plan, watch

    try:
        with watch.read_only(plan.named(early_config), servers=plan.may_look_up(early_config)):
            return (yield)
    except BranchesError as error:
        raise pytest.UsageError(str(error)) from None
    except Exception as error:
        if loading.wrote(error):
            raise pytest.UsageError(loading.WROTE) from None
        raise


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and what follows a run where the project has named its application."""
    config.addinivalue_line(
        "markers",
        "branches(isolation='rollback', data='copy'): how the test is kept from the next one ('rollback', 'branch', "
        "'none'), and whether it finds its parent's rows ('copy') or none ('empty')",
    )
    part = part_of(config)
    if part.is_set_up:
        config.pluginmanager.register(Course(config, part), _COURSE)


@contextmanager
def _as_failures(request: pytest.FixtureRequest, *, fatal: bool = False) -> Iterator[None]:
    """Show this package's errors without a traceback; where no test could do better, the session stops."""
    from flask_branches import BranchesError

    try:
        yield
    except BranchesError as error:
        if fatal:
            request.session.shouldfail = "there is no branch to test on"
        raise pytest.fail.Exception(str(error), pytrace=False) from None


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
        _ = mine.run  # which begins it
    with _as_failures(request):
        made = mine.own_branch()
    yield made
    course = cast("Course", request.config.pluginmanager.get_plugin(_COURSE))
    with _as_failures(request):
        course.finish_own(made, failed=request.node.stash.get(FAILED, False))


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of the database that this test works on."""
    from pytest_branches.isolating import wish

    with _as_failures(request):
        name = "own_branch" if wish(request.node).isolation == "branch" else "branch"
    found: Branch = request.getfixturevalue(name)
    return found.url


@pytest.fixture(autouse=True)
def _branches(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the test from the next one."""
    mine = part_of(request.config)
    if not mine.concerns(request.node):
        yield
        return
    from pytest_branches import isolating

    with _as_failures(request, fatal=True):
        _ = mine.plan  # which decides it
    with _as_failures(request):
        wanted = isolating.wish(request.node)
        isolating.refuse_live_server(request, wanted)
    if mine.plan.module is not None:
        request.getfixturevalue("branch")  # which the application works on from now on
    app = mine.app_of(request)
    if app is None:
        with _as_failures(request):
            isolating.refuse_without_app(request.node, wanted)
    if app is None and not mine.asks(request.node):
        yield
        return
    work_on = isolating.branch_for(request, wanted, app)
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
