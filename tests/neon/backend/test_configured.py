"""Which databases of an application are Neon's, and how the others of it go along."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_branches import Branch, Branches, BranchNotFound, ConfigurationError, urls

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.branches.worlds import Client, Places, World
    from tests.emulator.running import Project

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]

_NEON = "postgresql+psycopg://u:p@ep-cool-darkness-a1b2c3d4.us-east-2.aws.neon.tech/d"


def _app(url: sa.URL | str, **settings: Any) -> tuple[Flask, Branches]:
    app = Flask("app")
    app.config.update(settings, SQLALCHEMY_DATABASE_URI=url)
    SQLAlchemy(app)
    return app, Branches(app)


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail as soon as anybody connects to a server."""

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("somebody connected")

    monkeypatch.setattr("psycopg.connect", fail)
    monkeypatch.setattr("psycopg.Connection.connect", fail)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"NEON_API_KEY": "key"},
        {"NEON_PROJECT_ID": "old-violet-1"},
        {"NEON_API_KEY": "", "NEON_PROJECT_ID": "old-violet-1"},
        {"BRANCHES_BACKEND": "neon"},
    ],
)
@pytest.mark.parametrize(
    "url", [_NEON, _NEON.replace("ep-", "EP-"), _NEON.replace("d4.", "d4-pooler."), _NEON.replace("ep-cool", "br-cool")]
)
def test_a_host_of_neon_s_needs_a_key(no_connection: None, url: str, settings: dict[str, str]) -> None:
    """The message says what to set; no database is made beside production as on any other server."""
    app, branches = _app(url, **settings)

    for act in (branches.create, branches.list, branches.prune):
        with app.app_context(), pytest.raises(ConfigurationError, match=r"set NEON_API_KEY to .* NEON_PROJECT_ID to"):
            act()


def test_neon_is_meant_where_the_backend_says_so(no_connection: None) -> None:
    """Whatever the host is called."""
    app, branches = _app("postgresql+psycopg://u:p@db.example.org/d", BRANCHES_BACKEND="neon")

    with app.app_context(), pytest.raises(ConfigurationError, match="set NEON_API_KEY"):
        branches.create()


def test_a_key_and_a_project_make_it_neon(make_world: MakeWorld) -> None:
    """A database that is on none of that project's branches is an error, and none is made by mistake."""
    world = make_world("neon")
    app, branches = _app("postgresql+psycopg://u:p@127.0.0.1:1/d", **world.variables)

    with app.app_context():
        with pytest.raises(ConfigurationError, match=r"is on no branch of the Neon project .*BRANCHES_BACKEND to post"):
            branches.create()
        branches.databases.close()


def test_databases_may_be_branched_as_any_server_s_on_neon_too(make_world: MakeWorld, at: At) -> None:
    """BRANCHES_BACKEND=postgres: a database beside main on the very same branch, with the record as its comment."""
    world = make_world("neon", BRANCHES_BACKEND="postgres")
    assert world.backend.name == "postgres"

    branch = world.branches.create("mine")

    assert branch.backend == "postgres"
    assert sa.make_url(branch.url) == world.main.set(database=f"{world.main.database}__mine")
    at(branch).add("third")
    assert at(branch).texts() == ["first", "second", "third"]
    assert world.texts() == ["first", "second"]
    world.branches.delete("mine")


def test_a_role_is_needed(make_world: MakeWorld) -> None:
    """Neon has passwords by role."""
    world = make_world("neon")
    main = sa.URL.create("postgresql+psycopg", host=world.main.host, port=world.main.port, database="neondb")
    app, branches = _app(main, **world.variables)

    with app.app_context(), pytest.raises(ConfigurationError, match="names no role"):
        branches.list()


def test_a_bind_goes_to_the_same_branch(two: World, at: At) -> None:
    """One branch holds both databases: one is made, one is listed, one is deleted."""
    branch = two.branches.create("mine", expires_in=None)

    first, second = sa.make_url(branch.url), sa.make_url(branch.binds["second"])
    assert (first.host, first.port) == (second.host, second.port)
    assert second.database == "second"
    child = two.branches.create("child", parent="mine", data="empty")
    assert at(child.binds["second"]).texts("tag") == []
    (listed,) = [each for each in two.branches.list() if each.name == "mine"]
    assert dict(listed.binds) == dict(two.branches.get("mine").binds) == dict(branch.binds)
    two.branches.delete("child")
    two.branches.delete("mine")
    assert two.branches.list() == []


@pytest.mark.parametrize("protected", [False, True])
def test_a_bind_may_go_there_as_another_role(make_world: MakeWorld, places: Places, at: At, *, protected: bool) -> None:
    """With that role's password, which is another one where the parent is protected."""
    main = places.url("neon", "app_first")
    second = places.url("neon", "app_second")
    project = places.projects["app"]
    _add_role(project, "reader")
    reader = sa.make_url(project.uri(role="reader")).set(drivername="postgresql+psycopg")
    other = sa.make_url(project.uri(role="reader", database="second")).set(drivername="postgresql+psycopg")
    world = make_world("neon", url=main, binds={"second": second, "reader": reader, "other": other})
    if protected:
        project.client.patch(f"{project.path}/branches/{project.main}", {"branch": {"protected": True}})

    branch = world.branches.create("mine")

    for each in (branch, world.branches.get("mine")):
        assert sa.make_url(each.binds["reader"]).username == sa.make_url(each.binds["other"]).username == "reader"
        assert at(each.binds["reader"]).run("SELECT current_user, current_database()") == [("reader", "neondb")]
        assert at(each.binds["other"]).run("SELECT current_user, current_database()") == [("reader", "second")]
        assert at(each.binds["second"]).texts("tag") == ["red", "green"]
    (listed,) = world.branches.list()
    for url in (listed.url, *listed.binds.values()):
        assert (sa.make_url(url).password is None) is protected


def _add_role(project: Project, name: str) -> None:
    project.client.post(f"{project.path}/branches/{project.main}/roles", {"role": {"name": name}})
    project.settle()


def test_a_bind_on_another_branch_is_refused(world: World, project: Project) -> None:
    """Nothing could branch the two together; the message names both, without their passwords."""
    other = urls.parsed(world.branches.create("other", expires_in=None).url)
    app, branches = _app(world.main, SQLALCHEMY_BINDS={"second": other}, **world.variables)

    with (
        app.app_context(),
        pytest.raises(ConfigurationError, match=r"have to be on one branch of Neon\.$") as raised,
    ):
        branches.create()

    assert str(other.password) not in str(raised.value)
    assert len(project.branches()) == 2


@pytest.mark.parametrize("settings", [{}, {"BRANCHES_BACKEND": "neon"}])
def test_a_bind_of_another_kind_has_branches_of_its_own(
    world: World, make_world: MakeWorld, tmp_path: Any, settings: dict[str, str]
) -> None:
    """A file beside, under the same name; both go together, and BRANCHES_BACKEND is the default database's."""
    file = sa.URL.create("sqlite", database=str(tmp_path / "second.sqlite"))
    mixed = make_world("neon", name="mixed", url=world.main, binds={"second": file}, fill=False, **settings)
    mixed.db.create_all()

    branch = mixed.branches.create("mine")

    assert branch.binds["second"].startswith("sqlite:")
    mixed.branches.delete("mine")
    assert [each.backend.branches() for each in mixed.branches.databases.all] == [[], []]


def test_main_may_be_any_branch_by_any_name(world: World, project: Project, make_world: MakeWorld, at: At) -> None:
    """An application on a branch has the others of the project as its own, and that one as main."""
    parent = world.branches.create("parent", expires_in=None)
    at(parent).add("third")
    url = sa.make_url(parent.url).set(host="localhost")
    there = make_world("neon", name="there", url=url, fill=False, **world.variables)

    child = there.branches.create("child")

    assert (child.parent, at(child).texts()) == ("main", ["first", "second", "third"])
    assert [each.name for each in there.branches.list()] == [project.main, "child"]
    with world.app.app_context():
        assert world.branches.get("child").parent == "parent"


def test_another_branch_that_is_called_main_is_known_by_its_id(
    world: World, project: Project, make_world: MakeWorld, at: At
) -> None:
    """To an application on a branch, `main` is its own database: nobody can take the one for the other."""
    own = world.branches.create("own", expires_in=None)
    at(own).run("CREATE TABLE of_own (id integer)")
    there = make_world("neon", name="there", url=sa.make_url(own.url), fill=False, **world.variables)

    child = there.branches.create("child", parent=project.main)
    bare = there.branches.create("bare", parent=project.main, data="empty")
    at(child).run("CREATE TABLE of_child (id integer)")

    assert (child.parent, bare.parent) == (project.main, project.main)
    assert {each.name: each.parent for each in there.branches.list()} == {
        project.main: None,
        "child": project.main,
        "bare": project.main,
    }
    assert there.branches.get(project.main).name == project.main
    with pytest.raises(BranchNotFound, match="is the application's own database and no branch"):
        there.branches.get("main")
    with pytest.raises(BranchNotFound, match=f"there are: '{project.main}', "):
        there.branches.get("nobody")
    assert "of_child" in there.branches.diff("child")
    assert "of_own" not in there.branches.diff("child")
    assert "of_own" in there.branches.diff("child", "main")
    tree = there.app.test_cli_runner().invoke(args=["branches", "list"]).stdout.splitlines()
    assert [line.split()[0] for line in tree] == ["main", project.main, "child", "bare"]


def test_a_branch_without_a_compute_is_listed(make_world: MakeWorld, places: Places) -> None:
    """It can be seen, and not connected to; also where a bind goes there as another role."""
    main = places.url("neon", "app_first")
    project = places.projects["app"]
    _add_role(project, "reader")
    reader = sa.make_url(project.uri(role="reader")).set(drivername="postgresql+psycopg")
    second = places.url("neon", "app_second")
    world = make_world("neon", url=main, binds={"reader": reader, "second": second})
    project.branch(name="asleep", compute=False)
    runner = world.app.test_cli_runner()

    (found,) = world.branches.list()

    assert (found.name, found.url, dict(found.binds)) == ("asleep", "", {"reader": "", "second": ""})
    assert "name='asleep'" in repr(found)
    assert runner.invoke(args=["branches", "list"]).stdout.splitlines()[-1].split()[0] == "asleep"
    (shown,) = json.loads(runner.invoke(args=["branches", "list", "--json"]).stdout)
    assert (shown["name"], shown["url"]) == ("asleep", "")
    with pytest.raises(BranchNotFound, match=r"has no compute to connect to: add one, or make another branch\.$"):
        world.branches.get("asleep")
