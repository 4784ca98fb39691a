"""Branches that nobody needs any more: which they are, how they are found, and what is never touched."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import not_on_neon

from flask_branches import Branch, BranchesError, BranchExists, BranchNotFound, record, urls
from flask_branches.branch import now
from flask_branches.databases import lock_of_run
from flask_branches.record import RUN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, Program, World

    At = Callable[[str | Branch], Client]
    Start = Callable[..., Program]
    Until = Callable[[Callable[[], Any]], Any]

_HOLD = """if True:
    import sys
    from notes import app, branches
    with app.app_context(), branches.temporary("mine") as branch:
        print(branch.name, flush=True)
        sys.stdin.read()
"""
_DIE = """if True:
    import os, signal
    import sqlalchemy as sa
    from notes import app, branches
    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def die(connection, cursor, statement, *_):
        if statement.startswith("UPDATE note"):
            os.kill(os.getpid(), signal.SIGKILL)
    with app.app_context():
        branches.create("mine")
"""


def _expire(world: World, *names: str) -> None:
    for name in names:
        world.branches.databases.update(world.branches.get(name), now())


def _names(branches: Any) -> list[str]:
    return sorted(each.name for each in branches)


@not_on_neon("what has expired is gone")
def test_what_has_expired_is_pruned(two: World) -> None:
    """After a dry run, which only names it; what has time left, or never goes, stays."""
    for name in ("old", "older", "young"):
        two.branches.create(name)
    two.branches.create("eternal", expires_in=None)
    _expire(two, "old", "older")

    assert _names(two.branches.prune()) == ["old", "older"]
    assert len(two.branches.list()) == 4
    assert _names(two.branches.prune(dry_run=False)) == ["old", "older"]
    assert _names(two.branches.list()) == ["eternal", "young"]
    assert [_names(each.backend.branches()) for each in two.branches.databases.all] == [["eternal", "young"]] * 2
    assert two.branches.prune(dry_run=False) == []


def test_the_branches_of_a_run_live_as_long_as_it_does(world: World) -> None:
    """Its clock may have stood still: while it lives they stay though their time is over, and then they go at once."""
    there = world.branches.databases
    branch = world.branches._create("mine", {RUN: "x"}, expires_in="7d")
    world.branches._create("other", {RUN: "y"}, expires_in="7d")
    if world.kind != "neon":  # which deletes what has expired
        there.update(branch, now())

    with there.run_alive("x"):
        assert there.default.is_held(lock_of_run("x"))
        assert _names(world.branches.prune(dry_run=False)) == ["other"]
        assert _names(world.branches.list()) == ["mine"]
    assert not there.default.is_held(lock_of_run("x"))
    assert _names(world.branches.prune(dry_run=False)) == ["mine"]
    assert world.branches.list() == []


@not_on_neon("a record is an annotation, which goes with no database")
def test_a_record_that_was_copied_to_another_database_proves_nothing(world: World, at: At) -> None:
    """It makes no branch of it: it is not listed, not pruned, not vouched for."""
    branch = world.branches.create("mine")
    _expire(world, "mine")
    if world.backend.name == "sqlite":
        foreign = Path(branch.id).with_name("foreign.sqlite")
        shutil.copyfile(branch.id, foreign)
        shutil.copyfile(f"{branch.id}.branch", f"{foreign}.branch")
        url = sa.URL.create("sqlite", database=str(foreign))
    else:
        url = sa.make_url(branch.url).set(database=f"{branch.id}2")
        admin = at(urls.plain(url.set(database="postgres")))
        comments = admin.run("SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database")
        comment = dict(comments)[branch.id]
        admin.run(f"CREATE DATABASE {url.database} TEMPLATE {branch.id}")
        admin.run(f"COMMENT ON DATABASE {url.database} IS '{comment}'")

    assert world.backend.vouch(url) is None
    assert world.backend.vouch(sa.make_url(branch.url)) is not None
    assert _names(world.branches.list()) == ["mine"]
    assert _names(world.branches.prune(dry_run=False)) == ["mine"]
    assert at(urls.plain(url)).texts() == ["first", "second"]
    if world.backend.name == "postgres":
        admin.run(f"DROP DATABASE {url.database}")


_RECORD = record.made("a", parent=None, main=None, expires_at=None).dumps()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a comment about flask_branches",
        "[]",
        "{}",
        "null",
        _RECORD.replace('"flask_branches": 1', '"flask_branches": 2'),
        _RECORD.replace('"name": "a"', '"name": 7'),
        _RECORD.replace('"name": "a", ', ""),
        _RECORD.replace('"labels": {}', '"labels": []'),
        _RECORD.replace('"labels": {}', '"labels": {}, "more": 1'),
        _RECORD.replace('"expires_at": null', '"expires_at": 7'),
        _RECORD.replace('"expires_at": null', '"expires_at": "2100-01-01T00:00:00"'),
    ],
)
def test_what_only_looks_like_a_record_is_none(text: str) -> None:
    """Anybody may write anything into a comment."""
    assert record.loads(text) is None
    assert record.loads(_RECORD) is not None


def test_a_temporary_branch_is_there_for_a_block(two: World, at: At) -> None:
    """It can be worked with, and is gone afterwards, from the binds too; a finished run's is nobody else's."""
    with two.branches.temporary("mine", expires_in="1h") as branch:
        at(branch).add("third")
        assert at(two.branches.get("mine")).texts() == ["first", "second", "third"]
        assert _names(two.branches.prune(dry_run=False)) == []
    assert [each.backend.branches() for each in two.branches.databases.all] == [[], []]


def test_a_temporary_branch_is_deleted_on_an_error(world: World) -> None:
    """The error is the block's own, a database's too."""
    with pytest.raises(sa.exc.OperationalError, match="of the block"), world.branches.temporary("mine"):
        raise sa.exc.OperationalError("of the block", None, Exception("of the block"))
    assert world.branches.list() == []


def test_a_temporary_branch_may_be_gone_already(world: World) -> None:
    """Whoever deletes it by himself is not told off for it."""
    with world.branches.temporary("mine"):
        world.branches.delete("mine")
    assert world.branches.list() == []


def test_a_temporary_branch_leaves_another_of_its_name_alone(world: World) -> None:
    """Where it could not be made there is nothing to delete."""
    world.branches.create("mine")

    with pytest.raises(BranchExists), world.branches.temporary("mine"):
        pytest.fail("it was made")
    assert _names(world.branches.list()) == ["mine"]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_temporary_branch_is_deleted_when_its_process_is_ended(
    world: World, start: Start, number: int, status: int
) -> None:
    """By Ctrl-C, as CI ends a job, and by a terminal that is closed."""
    process = start(world, "-c", _HOLD)
    process.says("mine")
    assert _names(world.branches.list()) == ["mine"]

    process.send_signal(number)
    _, said = process.communicate(timeout=60)

    assert process.returncode == status, said
    assert world.branches.list() == []


def test_what_a_killed_process_made_for_itself_is_pruned_at_once(world: World, start: Start, until: Until) -> None:
    """It has left a branch that would last for a day; while it lives nobody else prunes it."""
    process = start(world, "-c", _HOLD)
    process.says("mine")
    assert world.branches.prune(dry_run=False) == []

    process.kill()
    process.wait(60)

    # A server notices a moment later that a client of its is gone.
    assert _names(until(world.branches.prune)) == ["mine"]
    assert _names(world.branches.prune(dry_run=False)) == ["mine"]
    assert world.branches.list() == []


def test_what_a_killed_creation_left_half_built_is_no_branch_and_goes(
    world: World, start: Start, until: Until, at: At
) -> None:
    """Nobody sees it, a dry run names it, pruning removes it, and so would the next creation, but on Neon."""
    there = world.branches.databases

    for end in ("pruned", "made anew"):
        world.let_go()
        process = start(world, "-c", _DIE, NOTES_MASKS='{"note.text": "upper(text)"}')
        _, said = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, said
        # A server notices a moment later that a client of its is gone.
        left = until(lambda: there.sweep(dry_run=True))

        assert len(left) == 1
        assert world.branches.list() == []
        with pytest.raises(BranchNotFound):
            world.branches.get("mine")
        if end == "pruned":
            world.branches.prune(dry_run=False)
        else:
            assert at(world.branches.create("mine")).texts() == ["first", "second"]
        if end != "pruned" and world.kind == "neon":
            world.branches.prune(dry_run=False)
        assert there.sweep(dry_run=True) == []


def test_nothing_is_called_half_built_while_somebody_builds(world: World) -> None:
    """A creation in progress looks the same to everybody else."""
    seen = []

    def look(_url: sa.URL) -> None:
        seen.append((_names(world.branches.list()), world.branches.databases.sweep(dry_run=True)))
        raise BranchesError("stop")

    made = record.made("mine", parent="main", main=str(world.main.database), expires_at=None)
    with pytest.raises(BranchesError, match="stop"):
        world.backend.create(made, prepare=look)
    assert seen == [([], [])]
    assert world.branches.databases.sweep(dry_run=True) == []
    assert world.branches.list() == []
