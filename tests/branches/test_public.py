"""What the package shows: its names, a branch as a value, the order of a list."""

from __future__ import annotations

import dataclasses

import pytest

import flask_branches
from flask_branches import Branch, Branches
from flask_branches.backends import tree


def test_a_branch_is_frozen_and_shows_no_password() -> None:
    """Neither where URLs have it, nor where libpq also looks."""
    url = "postgresql://user:secret@host/db?sslmode=require&password=secret"
    branch = Branch("db", "mine", "main", url, flask_branches.branch.now(), None, "postgres", {"second": url})

    assert "secret" not in f"{branch!r} {branch} {branch.as_dict()} {branch.safe_url}"
    assert branch.safe_url == "postgresql://user:***@host/db?password=***&sslmode=require"
    assert branch.url == url
    assert len({branch, dataclasses.replace(branch)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        branch.name = "other"  # type: ignore[misc]


def test_the_public_names_are_complete_and_sorted() -> None:
    """Everything that a user may need comes from the package itself."""
    public = {name for name in vars(flask_branches) if isinstance(getattr(flask_branches, name), type)}
    errors = {name for name, value in vars(flask_branches.errors).items() if isinstance(value, type)}

    assert set(flask_branches.__all__) == public
    assert errors - {"NoAppException"} <= public
    assert flask_branches.__all__ == sorted(flask_branches.__all__)
    assert Branches.__doc__


def test_the_tree_shows_every_branch_once() -> None:
    """Children under their parents; the orphans as roots, and two that are each other's parents too."""
    age = flask_branches.branch.now()

    def of(name: str, parent: str | None) -> Branch:
        return Branch(name, name, parent, "sqlite:///x", age, None, "sqlite")

    found = [of("b", "a"), of("a", "main"), of("c", "b"), of("d", "gone"), of("e", None), of("f", "g"), of("g", "f")]

    rows = [(depth, each.name) for depth, each in tree(found, "main")]
    assert rows == [(1, "a"), (2, "b"), (3, "c"), (0, "d"), (0, "e"), (0, "f"), (1, "g")]
