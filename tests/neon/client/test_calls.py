"""The calls, on an emulator: what each does, and how little it asks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import flask_branches
from flask_branches import BranchExists, InvalidValue, NeonError
from flask_branches.branch import Lsn, now
from flask_branches.neon_client.creation import INTENT

if TYPE_CHECKING:
    from tests.neon.client.stubs import World

CREATED = ["POST /branches", "GET /operations"]
TOMORROW = now() + timedelta(days=1)


def test_a_project_is_told(world: World) -> None:
    """With what it may have, and how far its past reaches."""
    told = world.client.project()

    assert (told.id, told.name) == (world.project.id, "test")
    assert told.branches_limit


def test_a_branch_is_made_ready_with_two_requests(world: World) -> None:
    """One makes it, one sees that its operations have ended; then it can be connected to."""
    made = world.client.create_branch("mine", parent_id=None, expires_at=TOMORROW, annotation={"by": "me"})

    assert world.asked() == CREATED
    assert world.client.requests == len(CREATED)
    assert (made.branch.name, made.branch.parent_id) == ("mine", world.project.main)
    assert made.branch.expires_at == TOMORROW
    assert made.branch.annotation["by"] == "me"
    assert made.branch.annotation[INTENT]
    assert made.endpoint
    assert made.endpoint.branch_id == made.branch.id
    with psycopg.connect(made.uris[0].get_secret_value()) as connection:
        assert connection.info.port == int(made.endpoint.host.rpartition(":")[2])


def test_a_branch_is_listed_as_it_was_made(world: World) -> None:
    """Its annotation, which says whose it is, included; a search finds it alone."""
    made = world.client.create_branch("mine", parent_id=world.project.main, expires_at=None, annotation={"by": "me"})

    assert [branch.name for branch in world.client.branches()] == ["main", "mine"]
    assert [branch.is_default for branch in world.client.branches()] == [True, False]
    found = world.client.branches("min")
    assert [(one.id, one.annotation, one.state) for one in found] == [(made.branch.id, made.branch.annotation, "ready")]
    assert world.client.branch(made.branch.id) == found[0]


@pytest.mark.parametrize("kind", ["time", "lsn", "schema"])
def test_a_branch_may_begin_elsewhere(own_world: World, kind: str) -> None:
    """At a past moment, at a position of the log, or without rows."""
    own_world.project.query("CREATE TABLE note (text text)")
    own_world.project.query("INSERT INTO note VALUES ('before')")
    ((lsn, at),) = own_world.project.query("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()")
    own_world.project.query("INSERT INTO note VALUES ('after')")
    options: dict[str, Any] = {
        "time": {"at": at},
        "lsn": {"at": Lsn(lsn)},
        "schema": {"schema_only": True},
    }[kind]
    made = own_world.client.create_branch("mine", parent_id=None, expires_at=None, annotation={}, **options)

    rows = own_world.project.query("SELECT text FROM note", made.branch.id)
    assert rows == ([] if kind == "schema" else [("before",)])


def test_a_moment_needs_its_zone(world: World) -> None:
    """The machine's own would be a guess; nothing is asked."""
    naive = datetime.now(UTC).replace(tzinfo=None)
    with pytest.raises(InvalidValue, match="time zone"):
        world.client.create_branch("mine", parent_id=None, expires_at=naive, annotation={})
    with pytest.raises(InvalidValue, match="time zone"):
        world.client.create_branch("mine", parent_id=None, at=naive, expires_at=None, annotation={})
    assert world.asked() == []


def test_a_name_that_is_taken_is_told(world: World) -> None:
    """It is another's branch: one try was made, and nothing is looked up."""
    with pytest.raises(BranchExists, match=r"'main'.*409 BRANCH_ALREADY_EXISTS, request .*Choose another name"):
        world.client.create_branch("main", parent_id=None, expires_at=None, annotation={})
    assert world.asked() == ["POST /branches"]


def test_a_branch_is_changed(world: World) -> None:
    """What is not named stays, None takes an expiry away, and the annotation is told too."""
    made = world.client.create_branch("mine", parent_id=None, expires_at=TOMORROW, annotation={"by": "me"}).branch

    renamed = world.client.update_branch(made.id, name="yours")
    assert (renamed.name, renamed.expires_at, renamed.annotation) == ("yours", TOMORROW, made.annotation)
    assert world.client.update_branch(made.id, expires_at=None).expires_at is None
    later = TOMORROW + timedelta(hours=1, microseconds=5)
    assert world.client.update_branch(made.id, expires_at=later).expires_at == later.replace(microsecond=0)
    assert world.client.update_branch(made.id).name == "yours"


def test_a_branch_cannot_take_the_name_of_another(world: World) -> None:
    """The branch keeps its own."""
    made = world.client.create_branch("mine", parent_id=None, expires_at=None, annotation={}).branch
    with pytest.raises(BranchExists, match="another name"):
        world.client.update_branch(made.id, name="main")
    assert world.names() == ["main", "mine"]


def test_a_branch_is_deleted_with_one_request_and_may_be_gone(world: World) -> None:
    """The answer without a body says that there is none; both are what was wanted."""
    made = world.client.create_branch("mine", parent_id=None, expires_at=None, annotation={}).branch
    world.forget()
    world.client.delete_branch(made.id)
    world.client.delete_branch(made.id)

    assert world.asked() == ["DELETE /branches/*"] * 2
    assert world.names() == ["main"]


def test_a_branch_is_restored_when_the_call_is_back(own_world: World) -> None:
    """It holds what its source does now, at the address that it had."""
    made = own_world.client.create_branch("mine", parent_id=None, expires_at=None, annotation={})
    own_world.project.query("CREATE TABLE note (text text)")
    own_world.client.restore_branch(made.branch.id, own_world.project.main)

    assert own_world.client.branch(made.branch.id).state == "ready"
    with psycopg.connect(made.uris[0].get_secret_value()) as connection:
        assert connection.execute("SELECT count(*) FROM note").fetchone() == (0,)


def test_a_uri_is_that_of_the_branch(world: World) -> None:
    """Where none is named, Neon tells that of the default branch, which no test must be pointed at."""
    made = world.client.create_branch("mine", parent_id=None, expires_at=None, annotation={})
    uri = world.client.connection_uri(made.branch.id, database="neondb", role="neondb_owner")

    assert made.uris == (uri,)
    assert uri != world.client.connection_uri(world.project.main, database="neondb", role="neondb_owner")


def test_what_a_branch_holds_is_told(world: World) -> None:
    """Its databases, its endpoints, and where to connect."""
    main = world.project.main
    uri = world.client.connection_uri(main, database="neondb", role="neondb_owner")

    assert world.client.databases(main) == [("neondb", "neondb_owner")]
    assert [one.type for one in world.client.endpoints()] == ["read_write"]
    assert world.client.connection_uri(main, database="neondb", role="neondb_owner", pooled=True) == uri
    with psycopg.connect(uri.get_secret_value()) as connection:
        assert connection.info.dbname == "neondb"


@pytest.mark.parametrize("name", ["", "..", "br-a-b-c/restore", "main?x=1"])
def test_what_is_no_id_leads_nowhere(world: World, name: str) -> None:
    """A path is made of it, and a deletion must not meet another one."""
    calls = (
        world.client.branch,
        world.client.delete_branch,
        world.client.databases,
        world.client.update_branch,
        lambda one: world.client.restore_branch(one, world.project.main),
        lambda one: world.client.restore_branch(world.project.main, one),
        lambda one: world.client.connection_uri(one, database="neondb", role="neondb_owner"),
    )
    for call in calls:
        with pytest.raises(InvalidValue, match="no id of a branch"):
            call(name)
    assert world.asked() == []


def test_several_threads_share_a_client(world: World) -> None:
    """Each gets its own branch, and every request is counted."""
    names = [f"branch-{number}" for number in range(4)]

    def make(name: str) -> str:
        return world.client.create_branch(name, parent_id=None, expires_at=None, annotation={}).branch.name

    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(make, names)) == names
    assert world.names() == [*names, "main"]
    assert world.client.requests == len(world.asked()) - 1  # the list was ours


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("delete the default", "cannot delete the default branch"),
        ("no such parent", "flask branches list"),
        ("no such branch", "flask branches list"),
        ("outside of the window", "inside of the history"),
        ("no such database", "flask branches list"),
    ],
)
def test_a_refusal_is_told_at_once_with_a_remedy(world: World, call: str, said: str) -> None:
    """One request was made, and the error has its status and its id."""
    client, main, nobody = world.client, world.project.main, "br-nobody-nothing-12345678"
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    calls: dict[str, Any] = {
        "delete the default": lambda: client.delete_branch(main),
        "no such parent": lambda: client.create_branch("a", parent_id=nobody, expires_at=None, annotation={}),
        "no such branch": lambda: client.restore_branch(nobody, main),
        "outside of the window": lambda: client.create_branch(
            "a", parent_id=None, at=long_ago, expires_at=None, annotation={}
        ),
        "no such database": lambda: client.connection_uri(main, database="no", role="neondb_owner"),
    }
    with pytest.raises(NeonError, match=said) as caught:
        calls[call]()
    assert client.requests == 1
    assert caught.value.status in {404, 422}
    assert caught.value.request_id
    assert f"request {caught.value.request_id}" in str(caught.value)


def test_a_wrong_key_and_a_wrong_project_are_told(world: World) -> None:
    """Each error names the variable to correct, and neither shows a key."""
    host, key, project = world.where
    with pytest.raises(NeonError, match=r"Correct NEON_API_KEY") as caught:
        world.connect(host, "napi_wrong", project).project()
    assert "napi_wrong" not in str(caught.value)
    with pytest.raises(NeonError, match=r"Correct NEON_PROJECT_ID, or set NEON_API_KEY"):
        world.connect(host, key, "no-such-1").branches()
    with pytest.raises(NeonError, match=r"NEON_API_HOST, whose path ends with /api/v2"):
        world.connect(host.removesuffix("/v2"), key, project).branches()


def test_the_limit_of_branches_has_its_remedy(world: World) -> None:
    """It is no refusal that waiting helps against."""
    code = "BRANCHES_LIMIT_EXCEEDED"
    body = {"code": code, "message": "branches limit exceeded", "request_id": "of-the-answer"}
    world.fault("POST", "/branches", status=422, body=body)
    with pytest.raises(
        NeonError, match=r"limit exceeded \(422 BRANCHES.*of-the-answer\).*flask branches prune"
    ) as caught:
        world.client.create_branch("mine", parent_id=None, expires_at=None, annotation={})
    assert (caught.value.code, caught.value.request_id, world.client.requests) == (code, "of-the-answer", 1)


def test_a_package_of_errors_has_it() -> None:
    """Whoever catches the package's errors catches Neon's."""
    assert issubclass(flask_branches.NeonError, flask_branches.BranchesError)
