"""A branch of Neon that is given its parent's present data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa

from flask_branches import Branch, DatabaseInUse, NeonError, NotSupported, Refused
from flask_branches.binding import bound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, World
    from tests.emulator.running import Emulator, Project

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]


def _session(url: str) -> psycopg.Connection[Any]:
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain)


def test_its_address_stays(two: World, at: At) -> None:
    """And so do its id and its binds; what was written there is gone, what has come to the parent is there."""
    branch = two.branches.create("mine")
    at(branch).add("mine")
    two.add("third")

    assert two.branches.reset("mine") == branch == two.branches.get("mine")

    assert at(branch).texts() == ["first", "second", "third"]
    assert dict(two.branches.get("mine").binds) == dict(branch.binds)


def test_it_expires_when_it_would_have(own_emulator: Callable[..., Emulator], make_world: MakeWorld) -> None:
    """Neon begins its life anew with a reset, and ours does not: however often, it goes when it was to go."""
    emulator = own_emulator()
    world = make_world("neon")
    branch = world.branches.create("mine", expires_in="2h")
    emulator.client().advance(600)

    world.branches.reset("mine")

    assert world.branches.get("mine").expires_at == branch.expires_at


def test_who_is_connected_is_not_cut_off(world: World, at: At) -> None:
    """Idle sessions are ended by force alone, those in a transaction never; the message names them."""
    branch = world.branches.create("mine")
    at(branch).add("mine")

    with _session(branch.url) as session:
        with pytest.raises(DatabaseInUse, match=r"^The branch 'mine' is in use by pid \d+ .*idle.* --force\.$"):
            world.branches.reset("mine")
        session.execute("SELECT 1")
        for force in (False, True):
            with pytest.raises(DatabaseInUse, match=r"idle in transaction.* Let it finish\.$"):
                world.branches.reset("mine", force=force)
        assert session.execute("SELECT count(*) FROM note").fetchone() == (3,)

    session = _session(branch.url)
    world.branches.reset("mine", force=True)
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    session.close()
    assert at(branch).texts() == ["first", "second"]


def test_the_application_s_own_pool_is_no_hindrance(world: World) -> None:
    """An application that works on the branch goes on there, with connections of its own that are new."""
    branch = world.branches.create("mine")

    with bound(world.app, branch):
        world.db.session.add(world.Note(text="mine"))
        world.db.session.commit()
        world.db.session.remove()
        assert world.db.engine.pool.checkedin() == 1

        world.branches.reset("mine")

        assert [text for (text,) in world.db.session.execute(sa.text("SELECT text FROM note ORDER BY id"))] == [
            "first",
            "second",
        ]
        world.db.session.remove()
        world.let_go()


def test_masked_and_emptied_branches_are_not_reset(make_world: MakeWorld, at: At) -> None:
    """Their parent's rows would be seen until they are masked; the message says what to do, and nothing is changed."""
    world = make_world("neon", BRANCHES_MASKS={"note.text": "'hidden'"})
    branch = world.branches.create("mine")

    with pytest.raises(NotSupported, match=r"until they are masked or emptied: delete it, and make another\.$"):
        world.branches.reset("mine")

    assert at(branch).texts() == ["hidden", "hidden"]


def test_a_branch_with_children_is_not_reset(world: World, at: At) -> None:
    """They would come to hang on another one; Neon says so in one line."""
    branch = world.branches.create("parent", expires_in=None)
    world.branches.create("child", parent="parent")
    at(branch).add("mine")

    with pytest.raises(NeonError, match="has children") as raised:
        world.branches.reset("parent")

    assert "\n" not in str(raised.value)
    assert at(branch).texts() == ["first", "second", "mine"]


@pytest.mark.parametrize("change", [{"protected": True}, None])
def test_a_branch_that_is_no_branch_for_tests_any_more_is_not_reset(
    world: World, project: Project, at: At, change: dict[str, Any] | None
) -> None:
    """Somebody has protected it, or made it the default one."""
    branch = world.branches.create("mine", expires_in=None)
    at(branch).add("mine")
    path = f"{project.path}/branches/{branch.id}"
    if change is None:
        project.client.post(f"{path}/set_as_default", status=200)
    else:
        project.client.patch(path, {"branch": change})

    with pytest.raises(Refused, match="'mine' is the project's default branch, or protected"):
        world.branches.reset("mine")
    assert at(branch).texts() == ["first", "second", "mine"]
    project.client.post(f"{project.path}/branches/{project.main}/set_as_default", status=200)
