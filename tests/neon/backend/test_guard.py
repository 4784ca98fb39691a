"""What must never be tested on, on Neon: refused before the first statement, by what the API says of its address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from tests.emulator.running import until

from flask_branches import Branch, Branches, BranchesError, ConfigurationError, Refused, guard, urls
from flask_branches.neon_client import NeonClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.branches.worlds import Client, Places, World
    from tests.emulator.running import Emulator, Project

    from flask_branches.record import Record

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]


@pytest.fixture
def connections() -> Iterator[list[str]]:
    """Where this process connects to meanwhile."""
    seen: list[str] = []

    def hear(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        seen.append(f"{parameters.get('host')}:{parameters.get('port')}")

    sa.event.listen(sa.Engine, "do_connect", hear)
    yield seen
    sa.event.remove(sa.Engine, "do_connect", hear)


@pytest.fixture
def require(world: World, connections: list[str]) -> Callable[[str | sa.URL], Record]:
    """Ask the guard whether a database may be tested on; it connects to none."""

    def require(url: str | sa.URL) -> Record:
        before = len(connections)
        try:
            return guard.require_branch(world.branches.databases, urls.parsed(url), "BRANCHES_URL")
        finally:
            assert connections[before:] == []

    return require


def _endpoint(project: Project, branch: str) -> dict[str, Any]:
    (found,) = project.client.get(f"{project.path}/branches/{branch}/endpoints")["endpoints"]
    return dict(found)


def test_a_child_may_be_tested_on(world: World, require: Callable[..., Any], project: Project) -> None:
    """One of ours by its record; somebody else's because Neon's API says that it is one."""
    mine = world.branches.create("mine", expires_in="1h")
    made = project.branch(name="theirs")
    theirs = project.uri(made["branch"]["id"])

    found = require(mine.url)

    assert (found.name, found.parent, found.expires_at) == ("mine", "main", mine.expires_at)
    assert require(theirs).name == "theirs"
    assert require(world.backend.pooled(mine)).name == "mine"
    assert require(sa.make_url(mine.url).set(host="localhost")).name == "mine"
    assert require(sa.make_url(mine.url).set(database="postgres")).name == "mine"


def test_main_s_branch_may_not(world: World, require: Callable[..., Any], project: Project) -> None:
    """By whatever name of this machine, role, database or pooler; its compute goes on sleeping."""
    endpoint = _endpoint(project, project.main)
    project.client.post(f"{project.path}/endpoints/{endpoint['id']}/suspend", status=200)
    until(lambda: _endpoint(project, project.main)["current_state"] == "idle")
    pooled = project.client.get(
        f"{project.path}/connection_uri",
        params={"branch_id": project.main, "database_name": "neondb", "role_name": "neondb_owner", "pooled": "true"},
    )["uri"]
    hosts = {"host": "127.0.0.1,localhost", "port": f"{world.main.port},{world.main.port}"}
    no_host = sa.URL.create("postgresql+psycopg", "u", "p", database="d", query=hosts)

    for url in (
        world.main,
        pooled,
        world.main.set(host="localhost"),
        world.main.set(host="::1"),
        world.main.set(database="postgres"),
        world.main.set(database="whatever", username="somebody", password="wrong"),
        world.main.update_query_dict({"options": "-c geqo=off"}),
        no_host,
    ):
        with pytest.raises(Refused, match="the application's own database, which tests never write to"):
            require(url)
    assert _endpoint(project, project.main)["current_state"] == "idle"


def test_neither_may_the_default_branch_nor_a_protected_one(
    world: World, require: Callable[..., Any], project: Project, make_world: MakeWorld
) -> None:
    """Nor where the application is on another branch; ours too, once somebody has protected it."""
    mine = world.branches.create("mine", expires_in=None)
    project.client.patch(f"{project.path}/branches/{mine.id}", {"branch": {"protected": True}})
    endpoint = _endpoint(project, mine.id)
    project.client.post(f"{project.path}/endpoints/{endpoint['id']}/suspend", status=200)
    until(lambda: _endpoint(project, mine.id)["current_state"] == "idle")

    with pytest.raises(Refused, match=r"^BRANCHES_URL: .* leads to 'mine', a protected branch of the project .* Make"):
        require(mine.url)
    assert _endpoint(project, mine.id)["current_state"] == "idle"

    app = Flask("elsewhere")
    app.config.update(world.variables, SQLALCHEMY_DATABASE_URI=mine.url)
    SQLAlchemy(app)
    branches = Branches(app)
    main = world.main
    with app.app_context():
        with pytest.raises(Refused, match=r"leads to 'main', the default branch of the project"):
            guard.require_branch(branches.databases, main, "BRANCHES_URL")
        branches.databases.close()


def test_an_earlier_release_may_be_configured_with_a_branch_that_was_made(
    world: World, make_world: MakeWorld, project: Project
) -> None:
    """One that has our mark, and is as old as that says; neither any other child, nor what production has become."""
    mine = world.branches.create("mine", expires_in=None)
    theirs = project.branch(name="theirs")["branch"]
    marked = {"flask_branches": "1", "name": "older", "created_at": "2020-01-01T00:00:00Z"}
    wanted = {"branch": {"name": "older"}, "endpoints": [{"type": "read_write"}], "annotation_value": marked}
    older = project.client.post(f"{project.path}/branches", wanted)["branch"]
    project.settle()

    def require(url: str, *, as_it_is: bool = True) -> Record:
        led = make_world("neon", name="led", url=urls.parsed(url), fill=False, **world.variables)
        return guard.require_branch(led.branches.databases, led.main, "BRANCHES_URL", as_it_is=as_it_is)

    assert require(mine.url).name == "mine"
    with pytest.raises(Refused, match="the application's own database"):
        require(mine.url, as_it_is=False)
    project.client.patch(f"{project.path}/branches/{mine.id}", {"branch": {"protected": True}})
    for url in (mine.url, project.uri(theirs["id"]), project.uri(older["id"]), project.uri()):
        with pytest.raises(Refused, match="the application's own database"):
            require(url)


def test_a_root_is_somebody_s_data_unless_it_is_ours(
    world: World, require: Callable[..., Any], project: Project
) -> None:
    """An import, or a branch without rows by hand, has no parent that would have the same; our record tells of ours."""
    mine = world.branches.create("mine", data="empty")
    theirs = project.branch(name="theirs", init_source="schema-only")["branch"]
    assert theirs.get("parent_id") is None

    with pytest.raises(
        Refused, match=r"leads to 'theirs', a root of the project .* and no copy: its data may be .* Make"
    ):
        require(project.uri(theirs["id"]))
    assert (require(mine.url).name, require(mine.url).parent) == ("mine", "main")


def test_nor_may_what_is_in_another_project(
    world: World, require: Callable[..., Any], places: Places, make_world: MakeWorld
) -> None:
    """A child over there is somebody else's, whatever it is called."""
    other = places.url("neon", "other")
    theirs = places.projects["other"].branch(name="theirs")
    url = places.projects["other"].uri(theirs["branch"]["id"])

    for each in (other, urls.parsed(url)):
        with pytest.raises(Refused, match=rf"the project {places.projects['app'].id}, so it may be anybody's database"):
            require(each)


def test_nor_may_what_names_no_endpoint(require: Callable[..., Any], world: World) -> None:
    """Or one that is none of the project's, or two, or another server beside one that is."""
    mine = sa.make_url(world.branches.create("mine").url)
    neon = "us-east-2.aws.neon.tech"
    both = {"host": "127.0.0.1,127.0.0.1", "port": f"{mine.port},{world.main.port}"}
    beside = {"host": "127.0.0.1,203.0.113.7", "port": f"{mine.port},{mine.port}"}

    for url, said in (
        ("postgresql://u:p@203.0.113.7/d", "names no endpoint"),
        ("postgresql://u:p@/d", "names no endpoint"),
        (mine.set(port=1), "names no endpoint"),
        (mine.update_query_dict({"hostaddr": "203.0.113.7"}), "names no endpoint"),
        (f"postgresql://u:p@br-cold-sun-1.{neon}/d", "names no endpoint"),
        (f"postgresql://u:p@ep-old-river-1.{neon}/d", "leads to no endpoint of"),
        (f"postgresql://u:p@ep-old-river-1-pooler.{neon}/d", "leads to no endpoint of"),
        (f"postgresql://u:p@/d?host=ep-a-1.{neon},ep-b-2.{neon}", "names several endpoints"),
        (f"postgresql://u:p@ep-a-1.{neon}/d?options=endpoint%3Dep-b-2", "names several endpoints"),
        (mine.update_query_dict(both), "names no endpoint"),
        (mine.update_query_dict(beside), "names no endpoint"),
    ):
        with pytest.raises(Refused, match=f"^BRANCHES_URL: .*{said}.* Make a branch with: flask branches create$"):
            require(url)


def test_a_name_counts_for_more_than_an_address(require: Callable[..., Any], world: World, project: Project) -> None:
    """An endpoint that is named is the one that Neon's proxy goes to, whatever the host."""
    mine = world.branches.create("mine")
    own, main = _endpoint(project, mine.id), _endpoint(project, project.main)
    somewhere = urls.parsed("postgresql://u:p@203.0.113.7/d")

    assert require(somewhere.update_query_dict({"options": f"endpoint={own['id']}"})).name == "mine"
    assert require(f"postgresql://u:p@{own['id']}-pooler.us-east-2.aws.neon.tech/d").name == "mine"
    for url in (
        somewhere.update_query_dict({"options": f"endpoint={main['id']}"}),
        somewhere.set(password=f"endpoint={main['id']};p"),
        urls.parsed(f"postgresql://u:p@{main['id']}.us-east-2.aws.neon.tech/d"),
        urls.parsed(mine.url).update_query_dict({"options": f"endpoint={main['id']}"}),
    ):
        with pytest.raises(Refused, match="the application's own database"):
            require(url)


def test_a_password_is_shown_in_no_refusal(require: Callable[..., Any]) -> None:
    """Wherever the URL has it."""
    with pytest.raises(Refused) as raised:
        require("postgresql://u:hunter2@203.0.113.7/d?password=hunter2")
    assert "hunter2" not in str(raised.value)


def test_without_a_key_nobody_can_vouch_for_a_database_on_neon(connections: list[str]) -> None:
    """A record in its comment proves nothing there: a copy of a branch has it too; so nobody connects to look."""
    app = Flask("app")
    app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql+psycopg://u:p@127.0.0.1:1/d"
    SQLAlchemy(app)
    branches = Branches(app)
    neon = urls.parsed("postgresql://u:p@ep-old-river-1.us-east-2.aws.neon.tech/d")

    with app.app_context(), pytest.raises(ConfigurationError, match="set NEON_API_KEY"):
        guard.require_branch(branches.databases, neon, "BRANCHES_URL")
    assert connections == []


@pytest.mark.parametrize("settings", [{}, {"NEON_API_KEY": "key", "NEON_PROJECT_ID": "old-violet-1"}])
def test_nor_does_a_server_of_one_s_own_ask_a_database_on_neon(
    connections: list[str], settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is another one is told by its address; who was to ask Neon is closed."""
    closed: list[NeonClient] = []
    close = NeonClient.close

    def hear(client: NeonClient) -> None:
        closed.append(client)
        close(client)

    monkeypatch.setattr(NeonClient, "close", hear)
    app = Flask("app")
    app.config.update(settings, BRANCHES_BACKEND="postgres", NEON_API_HOST="http://127.0.0.1:1")
    app.config.update(SQLALCHEMY_DATABASE_URI="postgresql+psycopg://u:p@127.0.0.1:1/d", BRANCHES_API_PATIENCE="1s")
    SQLAlchemy(app)
    branches = Branches(app)
    neon = urls.parsed("postgresql://u:p@ep-old-river-1.us-east-2.aws.neon.tech/d")

    with app.app_context(), pytest.raises(BranchesError):
        guard.require_branch(branches.databases, neon, "BRANCHES_URL")
    assert connections == []
    assert len(closed) == (1 if settings else 0)


def test_where_neon_does_not_answer_nothing_passes(
    own_emulator: Callable[..., Emulator], make_world: MakeWorld
) -> None:
    """Nobody else can tell."""
    emulator = own_emulator()
    world = make_world("neon", BRANCHES_API_PATIENCE="1s")
    url = urls.parsed(world.branches.create("mine").url)
    fault = {"method": "GET", "path": "/projects/**", "times": 1000, "status": 503}
    emulator.client().control("POST", "faults", fault, status=201)

    with pytest.raises(Exception, match="503") as raised:
        guard.require_branch(world.branches.databases, url, "BRANCHES_URL")

    assert "\n" not in str(raised.value)
    emulator.client().control("DELETE", "faults", status=204)


def test_no_database_is_adopted(world: World, project: Project, at: At) -> None:
    """The API says what may be tested on, and needs no help; main stays without a mark."""
    branch = sa.make_url(world.branches.create("mine").url)
    runner = world.app.test_cli_runner()

    passed = runner.invoke(args=["branches", "adopt", urls.plain(branch), "--yes", "neondb"])
    main = runner.invoke(args=["branches", "adopt", urls.plain(world.main), "--yes", "neondb"])

    assert passed.exit_code == 0
    assert (main.exit_code, "own database and cannot be adopted" in main.stderr) == (1, True)
    for url in (branch, world.main):
        assert at(urls.plain(url)).run(
            "SELECT count(*) FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE '%flask_branches%'"
        ) == [(0,)]
