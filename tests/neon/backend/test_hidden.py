"""A branch of Neon that is not complete: nobody sees it, and it does not outlive its maker for long."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_branches import Branch, BranchesError, BranchExists, BranchNotFound, InvalidValue, MaskFailed, record
from flask_branches.backends.neon import marks
from flask_branches.branch import moment, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, Places, Program, World
    from tests.emulator.running import Project

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    Start = Callable[..., Program]

_STOP = """if True:
    import sys
    import sqlalchemy as sa
    from notes import app, branches
    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def stop(connection, cursor, statement, *_):
        if statement.startswith("UPDATE note"):
            print("masking", flush=True)
            sys.stdin.read()
    with app.app_context():
        branches.create("mine")
"""
_MASKS = '{"note.text": "upper(text)"}'


def _hidden(project: Project) -> list[dict[str, Any]]:
    return [each for each in project.branches() if each["name"].startswith(marks.HALF_BUILT)]


def test_a_half_built_branch_is_swept_when_its_maker_has_died_and_not_before(
    world: World, project: Project, start: Start
) -> None:
    """While it is made it has another name, and an hour to live; killed, its maker leaves nothing to be seen."""
    process = start(world, "-c", _STOP, NOTES_MASKS=_MASKS)
    process.says("masking")

    (raw,) = _hidden(project)
    assert moment(raw["expires_at"], "expires_at") <= now() + timedelta(hours=1)
    assert world.branches.list() == []
    for name in ("mine", raw["name"], raw["id"]):
        with pytest.raises(BranchNotFound):
            world.branches.get(name)
    assert world.branches.databases.sweep(dry_run=True) == []
    world.branches.prune(dry_run=False)
    assert len(_hidden(project)) == 1

    process.send_signal(signal.SIGKILL)
    process.wait(60)

    assert world.branches.databases.sweep(dry_run=True) == [raw["name"]]
    assert world.branches.list() == []
    world.branches.prune(dry_run=False)
    assert _hidden(project) == []


def test_another_machine_s_is_left_to_expire(
    world: World, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Whether its maker lives cannot be seen from here."""
    made = record.made("mine", parent="main", main=None, expires_at=None, place="elsewhere")
    project.client.post(
        f"{project.path}/branches",
        {
            "branch": {"name": f"{marks.HALF_BUILT}0123"},
            "annotation_value": marks.annotation(made),
        },
    )
    project.settle()

    assert world.branches.databases.sweep(dry_run=False) == []
    assert len(_hidden(project)) == 1
    assert world.branches.list() == []


def test_a_branch_that_only_looks_half_built_is_somebody_s(world: World, project: Project) -> None:
    """Without our annotation it is listed as any other, and stays."""
    project.branch(name=f"{marks.HALF_BUILT}mine")

    assert world.branches.databases.sweep(dry_run=False) == []
    assert [each.name for each in world.branches.list()] == [f"{marks.HALF_BUILT}mine"]


def test_a_name_like_that_of_what_is_half_built_is_refused(world: World, project: Project) -> None:
    """One that has it all the same, and our annotation with that very name, is complete: it is listed, and stays."""
    name = f"{marks.HALF_BUILT}mine"
    with pytest.raises(InvalidValue, match=r"^A branch's name cannot begin with 'flask-branches-', as those do"):
        world.branches.create(name)
    assert [each["name"] for each in project.branches()] == ["main"]
    made = record.made(name, parent="main", main=None, expires_at=None, place=world.backend.place or "")
    body = {"branch": {"name": name}, "annotation_value": marks.annotation(made)}
    project.client.post(f"{project.path}/branches", body)
    project.settle()

    assert world.branches.databases.sweep(dry_run=False) == []
    assert world.branches.prune(dry_run=False) == []
    assert [each.name for each in world.branches.list()] == [name]


def test_masks_run_before_a_branch_has_its_name(make_world: MakeWorld, places: Places) -> None:
    """Those of every database: whoever finds it by its name finds nothing that was to be hidden."""
    world = make_world("neon", binds=True, BRANCHES_MASKS={"note.text": "'x'", "tag.text": "'x'"})
    seen: list[tuple[str, list[str]]] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("UPDATE note", "UPDATE tag")):
            names = sorted(each["name"] for each in places.projects["app"].branches())
            seen.append((statement.split()[1], [each.removeprefix(marks.HALF_BUILT)[:4] for each in names]))

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        branch = world.branches.create("mine")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)

    assert [table for table, _ in seen] == ["note", "tag"]
    assert all("mine" not in names and len(names) == 2 for _, names in seen)
    assert world.branches.get("mine").id == branch.id


@pytest.mark.parametrize("mask", [{"note.text": "no_such_column"}, {"tag.text": "NULL || no_such_column"}])
def test_a_failing_mask_leaves_nothing(make_world: MakeWorld, places: Places, mask: dict[str, str]) -> None:
    """Not even a branch that nobody sees, whichever database it was for."""
    world = make_world("neon", binds=True, BRANCHES_MASKS=mask)

    with pytest.raises(MaskFailed):
        world.branches.create("mine")

    assert [each["name"] for each in places.projects["app"].branches()] == ["main"]


def test_a_name_that_was_taken_meanwhile_leaves_nothing(make_world: MakeWorld, places: Places) -> None:
    """The other one keeps it."""
    world = make_world("neon", BRANCHES_MASKS={"note.text": "'x'"})
    project = places.projects["app"]

    def take(_url: sa.URL) -> None:
        project.branch(name="mine")

    made = record.made("mine", parent="main", main=None, expires_at=None)
    with pytest.raises(BranchExists, match=r"^There is a branch 'mine' already: choose another name, or delete it\.$"):
        world.backend.create(made, prepare=take)

    assert sorted(each["name"] for each in project.branches()) == ["main", "mine"]
    assert not world.branches.get("mine").has_record


def test_what_is_complete_has_the_expiry_that_was_asked_for(make_world: MakeWorld) -> None:
    """Not the hour of what is half built."""
    world = make_world("neon", BRANCHES_MASKS={"note.text": "'x'"})

    branch = world.branches.create("mine", expires_in="7d")
    eternal = world.branches.create("eternal", expires_in=None)

    assert world.branches.get("mine").expires_at == branch.expires_at
    assert branch.expires_at is not None
    assert branch.expires_at > now() + timedelta(days=6)
    assert world.branches.get("eternal").expires_at is eternal.expires_at is None


def test_an_error_while_it_is_made_leaves_nothing(world: World, project: Project) -> None:
    """Ctrl-C too."""
    made = record.made("mine", parent="main", main=None, expires_at=None)

    for error in (BranchesError("stop"), KeyboardInterrupt()):

        def fail(_url: sa.URL, error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            world.backend.create(made, prepare=fail)
        assert [each["name"] for each in project.branches()] == ["main"]
