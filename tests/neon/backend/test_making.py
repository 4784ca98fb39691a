"""What a branch of Neon can be made from, and what it then holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_branches import Branch, BranchNotFound, InvalidValue, NeonError, NotSupported, neon_address, urls

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, Places, World
    from tests.emulator.running import Project

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]


def _point(world: World, what: str) -> str:
    with world.db.engine.connect() as connection:
        return str(connection.exec_driver_sql(f"SELECT {what}").scalar_one())


@pytest.mark.parametrize("what", ["clock_timestamp()", "pg_current_wal_insert_lsn()"])
@pytest.mark.parametrize("masks", [{}, {"note.text": "upper(text)"}])
def test_a_branch_holds_the_past_at_a_point(make_world: MakeWorld, at: At, what: str, masks: dict[str, str]) -> None:
    """At a moment or a log position: what had been committed then, masked as the present is."""
    world = make_world("neon", BRANCHES_MASKS=masks)
    point = _point(world, what)
    world.add("third")

    branch = world.branches.create("past", at=point)

    assert at(branch).texts() == (["FIRST", "SECOND"] if masks else ["first", "second"])
    assert at(world.branches.create("present")).run("SELECT count(*) FROM note") == [(3,)]


@pytest.mark.parametrize("point", ["2001-01-01T00:00:00Z", "FF/FFFFFFFF"])
@pytest.mark.parametrize("masks", [{}, {"note.text": "upper(text)"}])
def test_a_point_outside_of_the_window_is_told_in_one_line(
    make_world: MakeWorld, point: str, masks: dict[str, str]
) -> None:
    """Neon's own words tell how far it reaches; nothing is made."""
    world = make_world("neon", BRANCHES_MASKS=masks)

    with pytest.raises(NeonError, match=r"outside of the history that is kept: from .* to .*") as raised:
        world.branches.create("past", at=point)

    assert "\n" not in str(raised.value)
    assert world.branches.list() == []
    assert world.branches.databases.sweep(dry_run=True) == []


@pytest.mark.parametrize("options", [{"data": "empty"}, {"parent": "empty"}])
def test_without_rows_there_is_the_present_alone(world: World, options: dict[str, Any]) -> None:
    """It is said before Neon is asked for anything."""
    with pytest.raises(NotSupported, match=r"of its parent's present only: leave the point in time out\.$"):
        world.branches.create(at="2001-01-01T00:00:00Z", **options)
    assert world.branches.list() == []


def test_a_parent_may_be_named_by_its_id(world: World, at: At) -> None:
    """As in Neon's own command line; so may every branch."""
    parent = world.branches.create("parent", expires_in=None)
    at(parent).add("third")

    child = world.branches.create("child", parent=parent.id)

    assert at(child).texts() == ["first", "second", "third"]
    assert child.parent == world.branches.get("child").parent == "parent"
    assert world.branches.get(child.id) == world.branches.get("child")
    world.branches.delete(child.id)
    assert [each.name for each in world.branches.list()] == ["parent"]


def test_an_expiring_parent_is_refused_in_one_line(world: World) -> None:
    """Neon lets no branch that expires have children."""
    world.branches.create("parent", expires_in="1h")

    with pytest.raises(NeonError, match="expires, and cannot have children") as raised:
        world.branches.create("child", parent="parent")

    assert "\n" not in str(raised.value)
    assert [each.name for each in world.branches.list()] == ["parent"]


def test_a_parent_is_not_deleted_before_its_children(world: World) -> None:
    """Neon's refusal names them."""
    world.branches.create("parent", expires_in=None)
    child = world.branches.create("child", parent="parent")

    with pytest.raises(NeonError, match=f"has children: {child.id}"):
        world.branches.delete("parent")
    world.branches.delete("child")
    world.branches.delete("parent")
    assert world.branches.list() == []


def test_children_of_a_protected_branch_have_passwords_of_their_own(world: World, project: Project, at: At) -> None:
    """Who makes or gets one can connect; a list shows no password, since it would be the wrong one."""
    project.client.patch(f"{project.path}/branches/{project.main}", {"branch": {"protected": True}})

    made = world.branches.create("child", expires_in=None)
    grandchild = world.branches.create("grandchild", parent="child")

    assert sa.make_url(made.url).password != world.main.password
    for each in (made, world.branches.get("child"), grandchild, world.branches.get("grandchild")):
        assert at(each).texts() == ["first", "second"]
    assert [sa.make_url(each.url).password for each in world.branches.list()] == [None, None]


def test_a_list_costs_two_requests_and_its_passwords_are_right(two: World, at: At) -> None:
    """A branch begins with its parent's passwords, so nobody has to be asked for them."""
    two.branches.create("a", expires_in=None)
    two.branches.create("b", parent="a")
    two.branches.create("c", data="empty")
    backend: Any = two.backend
    before = backend.client.requests

    found = backend.branches()

    assert backend.client.requests == before + 2
    assert [at(each).run("SELECT count(*) FROM note") for each in found] == [[(2,)], [(2,)], [(0,)]]
    assert [each.parent for each in found] == ["main", "a", "main"]


def test_a_branch_without_rows_is_a_root_with_the_revision(two: World, places: Places, at: At) -> None:
    """Production is read for that one number, and nothing is written there; a view of it is none."""
    with two.db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")
        connection.exec_driver_sql("CREATE SCHEMA api")
        connection.exec_driver_sql("CREATE VIEW api.alembic_version AS SELECT * FROM alembic_version")

    branch = two.branches.create("bare", data="empty")

    (raw,) = [each for each in places.projects["app"].branches() if each["id"] == branch.id]
    assert (raw["init_source"], raw.get("parent_id")) == ("schema-only", None)
    assert at(branch).run("SELECT version_num FROM alembic_version") == [("0001",)]
    assert at(branch).texts() == at(branch.binds["second"]).texts("tag") == []
    assert two.branches.get("bare").parent == "main"
    with pytest.raises(NotSupported, match="delete it, and make another"):
        two.branches.reset("bare")


def test_from_empty_there_is_no_table(two: World, at: At) -> None:
    """In none of the databases; it cannot be reset, since Neon knows nothing that it came from."""
    branch = two.branches.create("bare", parent="empty")

    assert at(branch).tables() == at(branch.binds["second"]).tables() == []
    assert two.branches.get("bare").parent is None
    with pytest.raises(NotSupported, match=r"is a root on Neon, with no parent to be reset to: make another\.$"):
        two.branches.reset("bare")


@pytest.mark.parametrize("options", [{}, {"data": "empty"}, {"parent": "empty"}])
def test_several_roles_and_databases_are_no_hindrance(
    world: World, project: Project, at: At, options: dict[str, Any]
) -> None:
    """Neon's answer has no connection URI then: the password is asked for, and never reset."""
    branch = f"{project.path}/branches/{project.main}"
    project.client.post(f"{branch}/roles", {"role": {"name": "another"}})
    project.settle()
    project.client.post(f"{branch}/databases", {"database": {"name": "more", "owner_name": "another"}})
    project.settle()

    made = world.branches.create("mine", **options)

    assert sa.make_url(made.url).password == world.main.password
    assert world.branches.get("mine").url == made.url
    assert at(made).run("SELECT current_user, current_database()") == [("neondb_owner", "neondb")]
    assert not [
        each
        for each in project.client.control("GET", "requests")["requests"]
        if project.id in each["path"] and "reset_password" in each["path"]
    ]


def test_a_role_that_the_branch_has_not_is_named(world: World) -> None:
    """What Neon says of it, in one line, and the new branch is gone."""
    backend: Any = world.backend
    backend.main = backend.main.set(username="nobody")

    with pytest.raises(NeonError, match="nobody") as raised:
        world.branches.create("mine")

    assert "\n" not in str(raised.value)
    assert world.branches.list() == []


def test_an_unknown_parent_is_named_before_anything_is_asked_for(world: World) -> None:
    """With those that there are."""
    world.branches.create("mine")

    with pytest.raises(BranchNotFound, match=r"^There is no branch 'nobody'; there are: 'mine'\.$"):
        world.branches.create("other", parent="nobody")
    assert [each.name for each in world.branches.list()] == ["mine"]


@pytest.mark.parametrize("options", [{"expires_in": "31d"}, {"expires_at": "2100-01-01T00:00:00Z"}])
def test_an_expiry_more_than_thirty_days_away_is_refused(world: World, options: dict[str, str]) -> None:
    """Neon has none; thirty days are one, and so is never."""
    with pytest.raises(InvalidValue, match=r"expires within 30 days, or never: name an earlier moment\.$"):
        world.branches.create("mine", **options)  # type: ignore[arg-type]  # by name
    assert world.branches.list() == []
    branch = world.branches.create("mine", expires_in="30d")
    assert branch.expires_at == world.branches.get("mine").expires_at
    with pytest.raises(InvalidValue, match="within 30 days"):
        world.branches.databases.update(branch, branch.created_at.replace(year=2100))


def test_a_branch_has_a_pooled_url(world: World, at: At) -> None:
    """With its own password and database."""
    branch = world.branches.create("mine")

    pooled = world.branches.pooled_url("mine")

    assert pooled == world.backend.pooled(branch)
    assert at(pooled).texts() == ["first", "second"]
    assert sa.make_url(pooled).database == world.main.database
    shown = world.app.test_cli_runner().invoke(args=["branches", "url", "mine", "--pooled"]).stdout
    assert at(shown.strip()).texts() == ["first", "second"]
    with pytest.raises(BranchNotFound, match="no branch 'nobody'"):
        world.branches.pooled_url("nobody")


def test_who_is_on_a_pooler_branches_by_the_direct_way() -> None:
    """A host of Neon's is led past it."""
    pooled = urls.parsed("postgresql://u:p@ep-a-1-pooler.us-east-2.aws.neon.tech/d")
    assert neon_address.led(pooled, "ep-b-2", "ep-b-2.us-east-2.aws.neon.tech", "p").host == (
        "ep-b-2.us-east-2.aws.neon.tech"
    )


@pytest.mark.parametrize(
    ("options", "code"), [({}, "BRANCHES_LIMIT_EXCEEDED"), ({"data": "empty"}, "ROOT_BRANCHES_LIMIT_EXCEEDED")]
)
def test_a_plan_without_room_is_told_in_one_line(
    on_free: None, make_world: MakeWorld, options: dict[str, Any], code: str
) -> None:
    """With Neon's code, at once, and nothing is left half built."""
    world = make_world("neon")
    most = 2 if options else 9
    for number in range(most):
        world.branches.create(f"b{number}", **options)

    with pytest.raises(NeonError) as raised:
        world.branches.create("more", **options)

    assert raised.value.code == code
    assert "\n" not in str(raised.value)
    assert len(world.branches.list()) == most
    assert world.branches.databases.sweep(dry_run=True) == []
