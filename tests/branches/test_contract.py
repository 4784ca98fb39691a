"""What branches of every kind of database do alike."""

from __future__ import annotations

import dataclasses
from datetime import timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from tests.branches.worlds import not_on_neon

from flask_branches import Branch, BranchExists, BranchNotFound, InvalidValue
from flask_branches.branch import now, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]


def test_neither_a_branch_nor_its_parent_sees_the_other_s_writes(two: World, at: At) -> None:
    """A branch holds its parent's rows, in the default database and in the bind; from then on each goes its way."""
    branch = two.branches.create("mine")

    there, bind = at(branch), at(branch.binds["second"])
    assert (there.texts(), bind.texts("tag")) == (["first", "second"], ["red", "green"])
    there.add("the branch's")
    bind.add("blue", "tag")
    two.add("main's")

    assert two.texts() == ["first", "second", "main's"]
    assert two.texts(two.Tag) == ["red", "green"]
    assert there.texts() == ["first", "second", "the branch's"]
    assert bind.texts("tag") == ["red", "green", "blue"]


def test_a_branch_of_a_branch(world: World, at: At) -> None:
    """It holds what its parent holds, not what main does; on Neon that must not expire."""
    parent = world.branches.create("parent", expires_in=None)
    at(parent).add("third")

    child = world.branches.create("child", parent="parent")

    assert child.parent == "parent"
    at(child).add("fourth")
    assert at(child).texts() == ["first", "second", "third", "fourth"]
    assert at(parent).texts() == ["first", "second", "third"]
    assert world.texts() == ["first", "second"]


def test_from_empty_a_branch_has_not_even_a_table(two: World, at: At) -> None:
    """Nothing is copied, from the binds neither; the parent is nobody."""
    branch = two.branches.create(parent="empty")

    assert branch.parent is None
    assert at(branch).tables() == at(branch.binds["second"]).tables() == []


def test_without_data_a_branch_has_the_schema_alone(two: World, at: At) -> None:
    """Rows are gone and are numbered anew, in the binds too; the revision stays, or all would be migrated again."""
    with two.db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")

    branch = two.branches.create(data="empty")

    there = at(branch)
    assert there.run("SELECT version_num FROM alembic_version") == [("0001",)]
    assert there.texts() == at(branch.binds["second"]).texts("tag") == []
    there.add("new")
    assert there.run("SELECT id FROM note") == [(1,)]
    assert two.texts() == ["first", "second"]


@not_on_neon("a branch without rows is a root, which is not reset")
def test_without_data_a_branch_stays_so_when_it_is_reset(two: World, at: At) -> None:
    """Whoever wanted no rows of production gets none later either, not even after its record was written anew."""
    branch = two.branches.create("mine", data="empty")
    two.branches.databases.update(branch, None, {"other": "label"})
    at(branch).add("mine")

    two.branches.reset("mine")

    assert at(branch).texts() == at(branch.binds["second"]).texts("tag") == []


def test_data_is_copy_or_empty(one: World) -> None:
    """Another word is refused, and the two are named."""
    with pytest.raises(InvalidValue, match=r"^data is 'half': write 'copy' or 'empty'\.$"):
        one.branches.create(data="half")  # type: ignore[arg-type]


def test_a_reset_branch_has_its_parent_s_present_data_at_the_same_url(two: World, at: At) -> None:
    """What was written to it is gone, what has come to the parent is there."""
    branch = two.branches.create("mine", expires_in="2h")
    at(branch).add("mine")
    at(branch).run("CREATE TABLE extra (id INTEGER)")
    at(branch.binds["second"]).add("mine", "tag")
    two.add("later")
    two.add("late", model=two.Tag)

    again = two.branches.reset("mine")

    assert again == branch == two.branches.get("mine")
    assert at(branch).texts() == ["first", "second", "later"]
    assert at(branch.binds["second"]).texts("tag") == ["red", "green", "late"]
    assert at(branch).tables() == ["note"]


def test_an_expiration_is_put_off_for_all_databases_of_a_branch(two: World, at: At) -> None:
    """The next to ask finds it so; what was written to the branch stays."""
    branch = two.branches.create("mine", expires_in="1h")
    at(branch).add("mine")

    later = two.branches.set_expiration("mine", expires_in="14d")

    assert later.expires_at is not None
    assert later.expires_at > branch.expires_at + timedelta(days=13)  # type: ignore[operator]
    assert later == two.branches.get("mine") == dataclasses.replace(branch, expires_at=later.expires_at)
    assert {each.expires_at for there in two.branches.databases.all for each in there.backend.branches()} == {
        later.expires_at
    }
    assert at(branch).texts() == ["first", "second", "mine"]
    assert two.branches.set_expiration("mine", expires_in=None).expires_at is None
    at_last = now() + timedelta(days=29)
    assert two.branches.set_expiration("mine", expires_at=at_last).expires_at == at_last


@not_on_neon("a branch that began empty is a root, which is not reset")
def test_what_began_empty_is_reset_to_nothing(world: World, at: At) -> None:
    """Its parent is the empty database."""
    branch = world.branches.create("mine", parent="empty")
    at(branch).run("CREATE TABLE extra (id INTEGER)")

    world.branches.reset("mine")

    assert at(branch).tables() == []


@not_on_neon("a parent is not deleted before its children")
def test_a_branch_whose_parent_is_gone_cannot_be_reset(world: World, at: At) -> None:
    """The message says so, and the branch keeps what it has."""
    world.branches.create("parent")
    child = world.branches.create("child", parent="parent")
    at(child).add("third")
    world.branches.delete("parent")

    with pytest.raises(BranchNotFound, match=r"'child' cannot be reset: its parent 'parent' is gone\. Make another"):
        world.branches.reset("child")
    assert at(child).texts() == ["first", "second", "third"]


def test_a_deleted_branch_is_nowhere(two: World) -> None:
    """Neither in the list nor in any of the databases; its name is free again, on Neon for another address."""
    branch = two.branches.create("mine")
    two.branches.create("other")

    two.branches.delete("mine")

    assert [each.name for each in two.branches.list()] == ["other"]
    assert [[each.name for each in there.backend.branches()] for there in two.branches.databases.all] == [["other"]] * 2
    with pytest.raises(BranchNotFound, match=r"^There is no branch 'mine'; there are: 'other'\.$"):
        two.branches.get("mine")
    assert (two.branches.create("mine").url == branch.url) is (two.kind != "neon")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", r"^There is no branch 'nobody'; there are: none\.$"),
        ("main", r"^'main' is the application's own database and no branch, so it is never changed here: name a"),
        ("", r"^There is no branch ''"),
        ("\udcff", r"^There is no branch '\\udcff'"),
        ("nul\0", r"^There is no branch 'nul\\x00'"),
        ("x" * 5000, r"^There is no branch 'xxx"),
    ],
)
def test_an_unknown_branch_is_named_and_so_are_those_there_are(one: World, name: str, said: str) -> None:
    """Whatever was to be done with it; the application's own database is none."""
    for act in (one.branches.get, one.branches.delete, one.branches.reset, one.branches.diff):
        with pytest.raises(BranchNotFound, match=said):
            act(name)


def test_an_unknown_parent_is_named(world: World) -> None:
    """And nothing is made."""
    with pytest.raises(BranchNotFound, match=r"^There is no branch 'nobody'; there are: none\.$"):
        world.branches.create("mine", parent="nobody")
    assert world.branches.list() == []


def test_a_taken_name_is_refused(world: World, at: At) -> None:
    """The branch that has it keeps what it holds."""
    at(world.branches.create("mine")).add("third")

    with pytest.raises(BranchExists, match=r"^There is a branch 'mine' already: choose another name, or delete it\.$"):
        world.branches.create("mine")
    assert at(world.branches.get("mine")).texts() == ["first", "second", "third"]


@not_on_neon("all databases are in one branch")
def test_of_a_branch_that_cannot_be_made_nothing_is_left(two: World) -> None:
    """Not in the databases that came first either."""
    two.branches.create("mine")
    first, second = (there.backend for there in two.branches.databases.all)
    first.delete(first.get("mine"))

    with pytest.raises(BranchExists, match="'mine'"):
        two.branches.create("mine")
    assert first.branches() == []
    assert [each.name for each in second.branches()] == ["mine"]


def test_a_list_says_what_every_branch_is(world: World) -> None:
    """Oldest first; one name is made up where none is given."""
    later = now() + timedelta(days=29)
    made = [
        world.branches.create("b", expires_in=None),
        world.branches.create("a", parent="b", expires_in=None),
        world.branches.create(expires_at=later.astimezone(timezone(timedelta(hours=2))).isoformat()),
    ]

    found = world.branches.list()

    assert sorted(found, key=lambda each: each.name) == sorted(made, key=lambda each: each.name)
    assert [each.created_at for each in found] == sorted(each.created_at for each in made)
    assert [made[0].parent, made[1].parent, made[2].parent] == ["main", "b", "main"]
    assert made[1].expires_at is None
    assert made[2].as_dict()["expires_at"] == written(later)
    assert made[2].name.startswith("branch-")
    assert len({each.id for each in made}) == len({each.url for each in made}) == 3
    assert {each.backend for each in made} == {world.backend.name}


def test_a_diff_shows_what_a_branch_s_schema_has_that_another_s_has_not(two: World, at: At) -> None:
    """As a unified diff, of every database; nothing where they are the same, whatever the rows."""
    branch = two.branches.create("mine", expires_in=None)
    at(branch).add("a row")
    assert two.branches.diff("mine") == ""

    at(branch).run("ALTER TABLE note ADD COLUMN stars INTEGER")
    at(branch.binds["second"]).run("CREATE INDEX tag_text ON tag (text)")

    lines = two.branches.diff("mine").splitlines()
    assert lines[:2] == ["--- main", "+++ mine"]
    assert "--- main (second)" in lines
    added = [line for line in lines if line.startswith("+") and not line.startswith("+++")]
    assert len(added) == 2
    assert "stars" in added[0]
    assert "tag_text" in added[1]
    two.branches.create("child", parent="mine")
    assert two.branches.diff("child") == ""
    assert "tag_text" in two.branches.diff("child", "main")


def test_a_diff_needs_somebody_to_compare_with(one: World) -> None:
    """A branch that began empty has no parent."""
    one.branches.create("mine", parent="empty")

    with pytest.raises(BranchNotFound, match=r"^The branch 'mine' began empty and has no parent: name what to compare"):
        one.branches.diff("mine")
    assert "-" in one.branches.diff("mine", "main")


def test_records_survive_a_restart(two: World, make_world: MakeWorld) -> None:
    """Another process, with another extension, finds what there is in the databases themselves."""
    made = two.branches.create("mine", expires_in="3h")

    engines = two.db.engines
    again = make_world(two.kind, url=engines[None].url, binds={"second": engines["second"].url})

    assert again.branches.list() == [made]
    assert dict(again.branches.get("mine").binds) == dict(made.binds)
