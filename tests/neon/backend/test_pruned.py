"""Which branches of Neon are ours to delete, and which are never touched."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from flask_branches import Branch, record
from flask_branches.backends.neon import marks
from flask_branches.branch import now
from flask_branches.record import PLACE, RUN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World
    from tests.emulator.running import Emulator, Project

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]


def _names(branches: Any) -> list[str]:
    return sorted(each.name for each in branches)


def _dead(world: World, name: str = "dead", **labels: str) -> Branch:
    """A branch of a run that does not live."""
    return world.branches._create(name, {RUN: "x", **labels})


def _made_elsewhere(project: Project, made: record.Record, **changes: Any) -> None:
    """A branch with an annotation like ours."""
    branch = {"name": made.name, "expires_at": (now() + timedelta(days=1)).isoformat()} | changes
    project.client.post(f"{project.path}/branches", {"branch": branch, "annotation_value": marks.annotation(made)})
    project.settle()


def _record(name: str, **labels: str) -> record.Record:
    return record.made(name, parent="main", main=None, expires_at=None, **labels)


def test_the_branches_of_a_dead_run_are_pruned(world: World) -> None:
    """Named first; what lives, and what belongs to no run, stays."""
    _dead(world)
    world.branches.create("mine")
    with world.branches.temporary("alive"):
        assert _names(world.branches.prune()) == ["dead"]
        assert _names(world.branches.list()) == ["alive", "dead", "mine"]
        assert _names(world.branches.prune(dry_run=False)) == ["dead"]
        assert _names(world.branches.list()) == ["alive", "mine"]


def test_a_branch_without_our_annotation_is_never_pruned(world: World, project: Project) -> None:
    """It is listed, and anything can be done with it by name."""
    project.branch(name="theirs")
    project.client.post(
        f"{project.path}/branches",
        {"branch": {"name": "noted"}, "annotation_value": {"label.run": "x", "name": "noted"}},
    )
    project.settle()

    assert world.branches.prune(dry_run=False) == []
    found = [(each.name, each.has_record, each.labels) for each in world.branches.list()]
    assert sorted(found, key=str) == [("noted", False, {}), ("theirs", False, {})]
    world.branches.delete("theirs")
    assert _names(world.branches.list()) == ["noted"]


def test_a_branch_that_somebody_has_renamed_is_his(world: World, project: Project) -> None:
    """He wanted to keep it."""
    branch = _dead(world)
    project.client.patch(f"{project.path}/branches/{branch.id}", {"branch": {"name": "precious"}})

    assert world.branches.prune(dry_run=False) == []
    assert [(each.name, each.has_record) for each in world.branches.list()] == [("precious", False)]


@pytest.mark.parametrize("away", [timedelta(days=-1), timedelta(days=1)])
def test_a_branch_whose_age_disagrees_is_not_ours(world: World, project: Project, away: timedelta) -> None:
    """An annotation that was copied to another branch tells of another day."""
    made = _record("dead", **{RUN: "x", PLACE: world.backend.place or ""})
    _made_elsewhere(project, replace(made, created_at=made.created_at + away))

    assert world.branches.prune(dry_run=False) == []
    assert [(each.name, each.has_record) for each in world.branches.list()] == [("dead", False)]


@pytest.mark.parametrize("text", ["", "yesterday", "2001-01-01T00:00:00"])
def test_an_annotation_without_an_age_proves_nothing(world: World, project: Project, text: str) -> None:
    """Whatever stands there."""
    note = marks.annotation(_record("dead", **{RUN: "x"})) | {"created_at": text}
    project.client.post(f"{project.path}/branches", {"branch": {"name": "dead"}, "annotation_value": note})
    project.settle()

    assert world.branches.prune(dry_run=False) == []
    assert [each.has_record for each in world.branches.list()] == [False]


def test_another_machine_s_run_is_left_until_it_expires(
    own_emulator: Callable[..., Emulator], make_world: MakeWorld, places: Any
) -> None:
    """Whether it lives cannot be seen from here; Neon deletes its branches in time."""
    emulator = own_emulator()
    world = make_world("neon")
    _made_elsewhere(places.projects["app"], _record("theirs", **{RUN: "x", PLACE: "elsewhere"}))

    assert world.branches.prune(dry_run=False) == []
    assert _names(world.branches.list()) == ["theirs"]

    emulator.client().advance(2 * 24 * 3600)
    assert world.branches.list() == []


def test_what_a_run_keeps_is_told_by_its_name(two: World, at: At) -> None:
    """An annotation cannot be changed; the branch has lost its run, its URL is the same, and nobody prunes it."""
    branch = _dead(two)
    there = two.branches.databases
    later = now() + timedelta(days=7)

    kept = there.update(branch, later, {})

    assert (kept.name, kept.expires_at, RUN in kept.labels) == ("kept-dead", later, False)
    found = two.branches.get("kept-dead")
    assert (found.id, found.url, found.expires_at) == (branch.id, branch.url, later)
    assert (RUN in found.labels, found.has_record) == (False, True)
    assert at(found.binds["second"]).texts("tag") == ["red", "green"]
    assert two.branches.prune(dry_run=False) == []
    assert there.update(kept, later, {}).name == "kept-dead"


def test_what_has_expired_is_gone(own_emulator: Callable[..., Emulator], make_world: MakeWorld) -> None:
    """Neon deletes it by itself; there is nothing to prune."""
    emulator = own_emulator()
    world = make_world("neon")
    world.branches.create("young", expires_in="2h")
    world.branches.create("old", expires_in="1h")

    emulator.client().advance(3700)

    assert _names(world.branches.list()) == ["young"]
    assert world.branches.prune() == []


def test_what_is_deleted_already_may_be_deleted(world: World) -> None:
    """Two processes may prune at the same time."""
    branch = world.branches.create("mine")
    world.branches.delete("mine")

    world.backend.delete(branch)

    assert world.branches.list() == []


def test_the_commands_name_and_delete_what_is_nobody_s(world: World, project: Project) -> None:
    """Half-built ones too."""
    _dead(world)
    made = _record("mine", **{PLACE: world.backend.place or ""})
    project.client.post(
        f"{project.path}/branches",
        {"branch": {"name": f"{marks.HALF_BUILT}0123"}, "annotation_value": marks.annotation(made)},
    )
    project.settle()
    runner = world.app.test_cli_runner()

    lines = runner.invoke(args=["branches", "prune"]).stdout.splitlines()

    assert [line.split("  ")[0] for line in lines[:2]] == ["dead", f"{marks.HALF_BUILT}0123"]
    assert lines[2] == "2 branches to delete; say --yes to do so."
    assert runner.invoke(args=["branches", "prune", "--yes"]).stdout.endswith("2 branches deleted.\n")
    assert [each["name"] for each in project.branches()] == ["main"]
