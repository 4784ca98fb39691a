"""How long a branch of Neon lives: what never expires, and whose clock says another time."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.emulator.running import until

from flask_branches import BranchesError, record
from flask_branches.branch import moment, now
from flask_branches.record import RUN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.branches.worlds import World
    from tests.emulator.running import Emulator, Project

    MakeWorld = Callable[..., World]

_HOUR = 3_600


@pytest.fixture
def ends(project: Project) -> Iterator[list[str | None]]:
    """When each branch was to expire, whenever somebody connected to one."""
    seen: list[str | None] = []

    def look(*_: Any) -> None:
        seen.extend(each.get("expires_at") for each in project.branches() if each["id"] != project.main)

    sa.event.listen(sa.Engine, "do_connect", look)
    yield seen
    sa.event.remove(sa.Engine, "do_connect", look)


@pytest.mark.parametrize("options", [{}, {"data": "empty"}, {"parent": "empty"}])
def test_what_never_expires_has_an_end_until_it_is_complete(
    world: World, ends: list[str | None], options: dict[str, Any]
) -> None:
    """A maker that dies leaves nothing for ever."""
    branch = world.branches.create("mine", expires_in=None, **options)

    assert ends
    for each in ends:
        assert each is not None
        assert moment(each, "expires_at") <= now() + timedelta(hours=1)
    assert branch.expires_at is world.branches.get("mine").expires_at is None


@pytest.mark.parametrize("options", [{}, {"data": "empty"}])
def test_a_run_s_branch_always_has_an_end(world: World, project: Project, options: dict[str, Any]) -> None:
    """Its process may be killed; it is as far away as Neon lets it be by a clock that is not ours."""
    with world.branches.temporary("mine", expires_in=None, **options) as branch:
        (raw,) = [each for each in project.branches() if each["id"] == branch.id]

        assert branch.expires_at is not None
        assert moment(raw["expires_at"], "expires_at") == branch.expires_at
        assert timedelta(days=29) < branch.expires_at - now() < timedelta(days=30)
    assert world.branches.list() == []


def test_a_clean_up_that_fails_is_told(world: World, project: Project) -> None:
    """In the error's own text, with Neon's reason; what is left expires."""
    fault = {"method": "DELETE", "path": f"{project.path}/branches/*", "times": 1, "status": 400}
    project.client.control("POST", "faults", fault, status=201)
    made = record.made("mine", parent="main", main=None, expires_at=None)

    def fail(_url: sa.URL) -> None:
        raise BranchesError("Stop.")

    with pytest.raises(
        BranchesError, match=r"^Stop\. What was made of it could not be deleted, and expires by itself: .*400"
    ):
        world.backend.create(made, prepare=fail)

    (left,) = [each for each in project.branches() if each["id"] != project.main]
    assert moment(left["expires_at"], "expires_at") <= now() + timedelta(hours=1)


@pytest.fixture
def skewed(own_emulator: Callable[..., Emulator], make_world: MakeWorld) -> World:
    """An application whose Neon is an hour ahead."""
    emulator = own_emulator()
    world = make_world("neon")
    emulator.client().advance(_HOUR)
    return world


def test_a_branch_for_a_block_goes_whatever_the_clocks_say(skewed: World) -> None:
    """Who has made it knows it; nobody else takes it for one of ours that is to be pruned."""
    with skewed.branches.temporary("mine"):
        assert [(each.name, each.has_record) for each in skewed.branches.list()] == [("mine", False)]
        assert skewed.branches.prune(dry_run=False) == []
        assert [each.name for each in skewed.branches.list()] == ["mine"]
    assert skewed.branches.list() == []

    dead = skewed.branches._create("dead", {RUN: "x"})
    assert skewed.branches.prune(dry_run=False) == []
    assert skewed.branches.get("dead").id == dead.id


def test_so_does_a_command_s(skewed: World, start: Callable[..., Any]) -> None:
    """`flask branches exec`."""
    process = start(
        skewed,
        "-m",
        "flask",
        "--app",
        "notes",
        "branches",
        "exec",
        "mine",
        "--",
        sys.executable,
        "-c",
        "print('there')",
    )

    process.says("there")

    until(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert skewed.branches.list() == []
