"""A Postgres server that is reached by a password over the network, has little room, or cannot be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import POSTGRES
from tests.ports import free_port

from flask_branches import Branch, BranchNotFound, DatabaseFailed
from flask_branches.backends import postgres_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.branches.worlds import Client, Program, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    Start = Callable[..., Program]

pytestmark = pytest.mark.skipif(not POSTGRES, reason="rules of Postgres")

_MANY = """if True:
    import os, sys, traceback
    from notes import app, branches
    waiting, go = os.pipe()
    children = []
    for number in range(8):
        children.append(os.fork())
        if children[-1] == 0:
            os.close(go)
            os.read(waiting, 1)  # all begin when the parent has closed its end
            try:
                with app.app_context(), branches.databases.run_alive(str(number)):
                    branches.create(f"branch {number}")
                    branches.databases.close()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
    os.close(go)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(sum(statuses))
"""


@pytest.fixture(scope="session")
def small_server() -> Iterator[sa.URL]:
    """A server that is reached by a password over the network, with room for twenty sessions."""
    import local_postgres

    port = free_port()
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "max_connections": "20"}
    with local_postgres.lease(local_postgres.throwaway_folder(), throwaway=True, settings=settings) as lease:
        address = lease.cluster.address
        query = {"host": address.host, "port": str(address.port)}
        url = sa.URL.create("postgresql+psycopg", username=address.user, database="postgres", query=query)
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE ROLE owner LOGIN CREATEDB PASSWORD 'hunter2'")
            connection.exec_driver_sql("CREATE DATABASE owned OWNER owner")
        yield sa.URL.create("postgresql+psycopg", "owner", "hunter2", "127.0.0.1", port, "postgres")


def test_a_branch_s_url_has_its_parent_s_password(make_world: MakeWorld, small_server: sa.URL, at: At) -> None:
    """What is shown of it has not."""
    world = make_world(url=small_server.set(database="owned"))

    branch = world.branches.create("mine")

    assert at(branch).texts() == ["first", "second"]
    assert "hunter2" in branch.url
    assert "hunter2" not in f"{branch!r}{branch.as_dict()}"


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"port": 1},
            r"^The server at 127\.0\.0\.1:1 cannot be reached \(.*refused.*\): start it, or correct the URL\.$",
        ),
        (
            {"password": "hunter3"},
            r"^The server at 127\.0\.0\.1:\d+ refuses 'owner' \(.*password authentication failed.*\): correct the",
        ),
        (
            {"username": "nobody"},
            r" refuses 'nobody' \(.*password authentication failed for user \"nobody\"\): correct the database URL\.$",
        ),
        ({"host": "no-such-host.invalid"}, r"^The server at no-such-host\.invalid:\d+ cannot be reached"),
    ],
)
def test_a_server_out_of_reach_is_named_without_a_password(
    make_world: MakeWorld, small_server: sa.URL, driver: str, change: dict[str, Any], said: str
) -> None:
    """In one line, whichever driver says so."""
    pytest.importorskip(driver)
    url = small_server.set(database="owned", drivername=f"postgresql+{driver}").set(**change)
    world = make_world(url=url, fill=False)

    for act in (world.branches.list, world.branches.create, lambda: world.backend.vouch(url)):
        with pytest.raises(DatabaseFailed, match=said) as raised:
            act()
        assert "hunter" not in str(raised.value)
        assert "\n" not in str(raised.value)


def test_eight_processes_branch_one_parent_at_the_same_moment(
    make_world: MakeWorld, start: Start, small_server: sa.URL
) -> None:
    """All succeed, on a server with room for twenty sessions; each holds its run's lock beside."""
    url = small_server.set(database="crowd")
    with sa.create_engine(small_server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE crowd")
    world = make_world(url=url)

    process = start(world, "-c", _MANY)
    _, said = process.communicate(timeout=100)

    assert process.returncode == 0, said
    assert len(world.branches.list()) == 8
    assert len({each.id for each in world.branches.list()}) == 8


def test_a_record_is_not_written_on_what_is_gone(one: World, admin: Client) -> None:
    """A server merely warns of that."""
    branch = one.branches.create("mine")
    record = one.backend.vouch(sa.make_url(branch.url))
    assert record is not None
    admin.run(f'DROP DATABASE "{branch.id}"')

    with (
        one.backend._server.connected() as connection,  # type: ignore[attr-defined]
        pytest.raises(BranchNotFound, match=f"^The database '{branch.id}' has been deleted meanwhile"),
    ):
        postgres_server.mark(connection, branch.id, record)


def test_a_branch_that_is_deleted_while_it_is_reset_is_named(make_world: MakeWorld, admin: Client) -> None:
    """Whoever deletes waits for nobody, so its record may be gone when it is read."""
    world = make_world("server")
    branch = world.branches.create("mine")
    left: list[str] = []

    def meanwhile(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        # Three looks find it, the last of them that of the reset itself; the next one reads its record.
        if "shobj_description" in statement:
            left.append(statement)
            if len(left) == 3:
                admin.run(f'DROP DATABASE "{branch.id}" WITH (FORCE)')

    sa.event.listen(sa.Engine, "after_cursor_execute", meanwhile)
    try:
        with pytest.raises(BranchNotFound, match=r"^There is no branch 'mine'; there are: none\.$"):
            world.branches.reset("mine")
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", meanwhile)
