"""Branches of every kind of database where there are several: binds, applications, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import not_on_neon

from flask_branches import Branch, BranchExists, IsolationError, MaskFailed
from flask_branches.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]


def test_two_binds_of_one_database_share_its_branch(make_world: MakeWorld, world: World) -> None:
    """It is branched once, and both keys lead there."""
    if world.kind == "memory":
        pytest.skip("two in-memory databases are never the same")
    url = world.db.engine.url
    world.db.engine.dispose()
    shared = make_world(world.kind, url=url, binds={"again": url, "third": url})

    branch = shared.branches.create("mine")

    assert len(shared.branches.databases.all) == 1
    assert dict(branch.binds) == {"again": branch.url, "third": branch.url}
    assert shared.branches.get("mine").binds == branch.binds


def test_two_applications_on_one_extension_have_branches_of_their_own(
    world: World, make_world: MakeWorld, at: At
) -> None:
    """The current application's are meant; their names do not meet."""
    other = make_world(world.kind, name="other", branches=world.branches)

    with world.app.app_context():
        world.add("third")
        mine = world.branches.create("same")
    with other.app.app_context():
        theirs = other.branches.create("same")
        assert [each.url for each in other.branches.list()] == [theirs.url]
    with world.app.app_context():
        assert [each.url for each in world.branches.list()] == [mine.url]

    assert at(mine).texts() == ["first", "second", "third"]
    assert at(theirs).texts() == ["first", "second"]


def test_many_branches_are_made_at_once(world: World, at: At) -> None:
    """By several threads; of those that want one name, one gets it."""

    def make(name: str) -> Branch | None:
        with world.app.app_context():
            try:
                return world.branches.create(name)
            except BranchExists:
                return None

    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(make, ["same", "a", "same", "b", "same", "c"]))

    assert sorted(each.name for each in made if each) == ["a", "b", "c", "same"]
    assert all(at(each).texts() == ["first", "second"] for each in made if each)


@not_on_neon("a branch with masks is not reset")
def test_a_reset_is_of_all_databases_or_of_none(make_world: MakeWorld, kind: str, at: At) -> None:
    """Where a mask of the second one fails, the first one is as it was."""
    world = make_world(kind, binds=True, BRANCHES_MASKS={"tag.text": "'x'"})
    branch = world.branches.create("mine")
    at(branch).add("third")
    world.let_go()
    rename = "ALTER TABLE tag RENAME TO label"
    with world.db.engines["second"].begin() as connection:
        connection.exec_driver_sql(rename)
    world.let_go()

    with pytest.raises(MaskFailed, match=r"the branch 'mine' was not reset"):
        world.branches.reset("mine")

    assert at(branch).texts() == ["first", "second", "third"]
    assert at(branch.binds["second"]).texts("tag") == ["x", "x"]
    assert world.branches.databases.sweep(dry_run=True) == []


def test_a_branch_inside_a_test_that_is_rolled_back_is_refused(one: World) -> None:
    """It would lack what the test has committed; one of another branch, or of nothing, lacks nothing."""
    one.branches.create("before", expires_in=None)
    with Isolation(one.app):
        one.db.session.add(one.Note(text="third"))
        one.db.session.commit()
        with pytest.raises(IsolationError, match=r"would lack what the test has committed.*isolation=.branch."):
            one.branches.create("mine")
        assert one.branches.create("child", parent="before").parent == "before"
    assert [each.name for each in one.branches.list()] == ["before", "child"]
