"""What branches of every kind of database do alike."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

import flask_branches
from flask_branches import Branch, Branches, BranchExists, BranchNotFound, NotSupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.conftest import Client, World

    At = Callable[[str | Branch], Client]


def test_a_branch_holds_its_parent_s_rows_and_neither_sees_the_other_s_writes(two: World, at: At) -> None:
    """In the default database and in the bind."""
    branch = two.branches.create("mine")

    there = at(branch)
    assert there.texts() == ["first", "second"]
    there.add("branch's")
    two.add("main's")
    at(branch.binds["second"]).add("blue", "tag")

    assert two.texts() == ["first", "second", "main's"]
    assert there.texts() == ["first", "second", "branch's"]
    assert two.texts(two.Tag) == ["red", "green"]
    assert at(branch.binds["second"]).texts("tag") == ["red", "green", "blue"]


def test_a_branch_of_a_branch(world: World, at: At) -> None:
    """It holds what its parent holds, not what main does."""
    parent = world.branches.create("parent")
    at(parent).add("third")

    child = world.branches.create("child", parent="parent")

    assert child.parent == "parent"
    at(child).add("fourth")
    assert at(child).texts() == ["first", "second", "third", "fourth"]
    assert at(parent).texts() == ["first", "second", "third"]
    assert world.texts() == ["first", "second"]


def test_an_empty_branch_has_not_even_a_table(two: World, at: At) -> None:
    """Nothing is copied, from the binds neither."""
    branch = two.branches.create(parent="empty")

    assert branch.parent is None
    for url in (branch.url, branch.binds["second"]):
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert sa.inspect(connection).get_table_names() == []
