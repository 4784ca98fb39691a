"""Who is connected to a Postgres server meanwhile, and what happens to him."""

from __future__ import annotations

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.branches.worlds import POSTGRES

from flask_branches import Branch, DatabaseInUse, urls
from flask_branches.backends import postgres_clone as clone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.branches.worlds import Client, Program, World

    At = Callable[[str | Branch], Client]
    MakeWorld = Callable[..., World]
    NewDatabase = Callable[..., sa.URL]
    Start = Callable[..., Program]
    Until = Callable[[Callable[[], Any]], Any]

pytestmark = pytest.mark.skipif(not POSTGRES, reason="rules of Postgres")

_FORK = """if True:
    import os, sys
    from notes import app, branches
    def session():
        with branches.databases.default._server.connected() as connection:
            return connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    with app.app_context():
        mine = session()
        child = os.fork()
        if child == 0:
            print(session() == mine, flush=True)
            sys.exit()
        os.waitpid(child, 0)
        print(session() == mine)
        branches.databases.close()
"""
_MASKING = """if True:
    from notes import app, branches
    with app.app_context():
        branches.create("mine")
"""


@contextmanager
def soon() -> Iterator[None]:
    """Do not wait long for sessions that will not end; those that are ended have a server's time for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clone, "_LEAVE_SECONDS", 0.05)
        yield


@contextmanager
def session(url: str | sa.URL, name: str = "reports", *, busy: bool = False) -> Iterator[sa.engine.Connection]:
    """Somebody else who is connected there; busy with a transaction, or idle."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"application_name": name})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
            if not busy:
                connection.rollback()
            yield connection
    finally:
        engine.dispose()


def test_the_application_s_own_idle_connections_are_no_hindrance(make_world: MakeWorld, at: At) -> None:
    """They are closed for the copy, and made anew when they are needed."""
    world = make_world("server")
    engine = world.db.engine
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1

    assert at(world.branches.create()).texts() == ["first", "second"]
    assert world.texts() == ["first", "second"]
    assert world.db.engine is engine


@pytest.mark.parametrize("force", [False, True])
def test_a_parent_with_an_active_transaction_is_not_copied(make_world: MakeWorld, *, force: bool) -> None:
    """The message names the session and its state, and does not advise to end it by force."""
    world = make_world("server")
    world.branches.create("parent")
    for name, url in (("main", world.main), ("parent", sa.make_url(world.branches.get("parent").url))):
        with session(url, busy=True) as other:
            pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with soon(), pytest.raises(DatabaseInUse) as raised:
                world.branches.create("mine", parent=name, force=force)
            assert other.exec_driver_sql("SELECT 1").scalar() == 1
        assert str(raised.value) == (
            f"The parent '{name}' is in use by pid {pid} (reports, postgres, idle in transaction), and can only be "
            "copied or replaced while nobody is. Let it finish."
        )
    assert [each.name for each in world.branches.list()] == ["parent"]


def test_idle_sessions_of_a_parent_are_ended_by_force_alone(make_world: MakeWorld, at: At) -> None:
    """The message says how; four of them are counted."""
    world = make_world("server")
    parent = world.branches.create("parent")
    with session(parent.url), session(parent.url), session(parent.url), session(parent.url) as other:
        with (
            soon(),
            pytest.raises(
                DatabaseInUse, match=r"idle\) and 1 more, .* Close it, or end the idle sessions with --force"
            ),
        ):
            world.branches.create("mine", parent="parent")

        assert at(world.branches.create("mine", parent="parent", force=True)).texts() == ["first", "second"]
        with pytest.raises(sa.exc.OperationalError):
            other.exec_driver_sql("SELECT 1")


def test_sessions_of_main_are_never_ended(make_world: MakeWorld) -> None:
    """Not by force either, and nobody is told to try that."""
    world = make_world("server")
    with session(world.main) as other:
        for force in (False, True):
            with (
                soon(),
                pytest.raises(
                    DatabaseInUse, match=r"^The parent 'main' is in use by .*idle\), .* nobody is\. Close it\.$"
                ),
            ):
                world.branches.create("mine", force=force)
        assert other.exec_driver_sql("SELECT 1").scalar() == 1


def test_a_branch_in_use_is_reset_by_force_alone(make_world: MakeWorld, at: At) -> None:
    """An active transaction is never ended; what could not be reset is as it was, and nothing half built is left."""
    world = make_world("server")
    branch = world.branches.create("mine")
    at(branch).add("third")
    with session(branch.url, busy=True) as busy:
        for force in (False, True):
            with (
                soon(),
                pytest.raises(DatabaseInUse, match=r"^The branch 'mine' is in use by .*idle in transaction"),
            ):
                world.branches.reset("mine", force=force)
        assert busy.exec_driver_sql("SELECT count(*) FROM note").scalar() == 3
        busy.rollback()
        with soon(), pytest.raises(DatabaseInUse, match=r"^The branch 'mine' is in use by .*idle\).* --force\.$"):
            world.branches.reset("mine")
        assert world.branches.databases.sweep(dry_run=True) == []

        world.branches.reset("mine", force=True)
    assert at(branch).texts() == ["first", "second"]


def test_a_branch_in_use_can_be_deleted(make_world: MakeWorld) -> None:
    """Its sessions are ended: whoever deletes it means so."""
    world = make_world("server")
    branch = world.branches.create("mine")
    with session(branch.url, busy=True) as other:
        world.branches.delete("mine")
        with pytest.raises(sa.exc.OperationalError):
            other.exec_driver_sql("SELECT 1")


def test_a_forked_process_leaves_its_parent_s_connection_alone(make_world: MakeWorld, start: Start) -> None:
    """The one that is kept for the next call is the parent's: two cannot talk on one socket."""
    process = start(make_world("server"), "-c", _FORK)

    assert process.communicate(timeout=60) == ("False\nTrue\n", "")


def test_ctrl_c_in_the_middle_of_a_creation_leaves_nothing(
    make_world: MakeWorld, start: Start, admin: Client, until: Until
) -> None:
    """Neither a half-built database, nor a session, nor a word but Python's own."""
    world = make_world("server")
    process = start(world, "-c", _MASKING, NOTES_MASKS='{"note.text": "pg_sleep(600)::text"}')

    def running() -> list[Any]:
        return admin.run(
            "SELECT datname FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
        )

    until(running)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert world.branches.databases.sweep(dry_run=True) == []
    assert world.branches.list() == []
    until(lambda: not running())


def test_what_an_exchange_that_died_has_left_is_no_branch(make_world: MakeWorld, admin: Client) -> None:
    """The branch's old database has its record still, for as long as it has not been dropped."""
    world = make_world("server")
    branch = world.branches.create("mine")
    backend: Any = world.backend
    left = f"{backend._half_built}0"
    admin.run(f"ALTER DATABASE {branch.id} RENAME TO {left}")

    assert world.branches.list() == []
    assert world.branches.databases.sweep(dry_run=False) == [left]
    assert (left,) not in admin.run("SELECT datname FROM pg_database")


@pytest.mark.parametrize("name", ["postgres", "other"])
def test_no_template_is_kept_from_being_copied(
    make_world: MakeWorld, new_database: NewDatabase, server: sa.URL, admin: Client, until: Until, name: str
) -> None:
    """While a run lives no session stays in one, whatever main is called: everybody can make databases."""
    sessions = "SELECT datname FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname LIKE 'template%'"
    world = make_world(url=server if name == "postgres" else new_database(name))
    with world.branches.databases.run_alive("x"), world.branches.temporary():
        world.branches.list()
        until(lambda: admin.run(sessions) == [])
        new_database("made meanwhile")
        assert world.backend.is_held("run x")
    assert not world.backend.is_held("run x")


def test_one_connection_is_kept_for_the_next_call_and_closed_in_the_end(
    make_world: MakeWorld, admin: Client, until: Until
) -> None:
    """And none of a branch, which could not be copied then."""
    world = make_world("server")
    world.branches.databases.close()
    sessions = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    before = set(admin.run(sessions))

    world.branches.create("mine", data="empty")
    world.branches.diff("mine")
    world.backend.vouch(sa.make_url(world.branches.get("mine").url))
    # A server notices a moment later that a client of its is gone.
    until(lambda: len(set(admin.run(sessions)) - before) == 1)
    world.branches.databases.close()
    until(lambda: set(admin.run(sessions)) <= before)


def test_what_was_written_changes_a_parent_s_state(make_world: MakeWorld, until: Until, at: At) -> None:
    """And nothing else does; while somebody may be writing it is never the same twice."""
    world = make_world("server")
    state = world.backend.state
    until(lambda: state("main") == state("main"))
    before = state("main")
    at(urls.plain(world.main)).texts()
    until(lambda: state("main") == state("main"))
    assert state("main") == before

    at(urls.plain(world.main)).add("third")
    until(lambda: state("main") == state("main"))
    assert state("main") != before
    with session(world.main, busy=True):
        assert state("main") != state("main")


def test_a_bind_that_branches_are_managed_from_otherwise(
    make_world: MakeWorld, new_database: NewDatabase, server: sa.URL, at: At
) -> None:
    """A server's `postgres` can be branched beside another database of it, by whoever holds a run's lock too."""
    world = make_world(url=new_database("beside"), binds={"usual": server.set(database="postgres")})

    with world.branches.databases.run_alive("x"):
        branch = world.branches.create("mine")
        assert at(branch).texts() == ["first", "second"]
        assert at(branch.binds["usual"]).run("SELECT current_database()") == [("postgres__mine",)]
        world.branches.delete("mine")


def test_a_record_that_is_written_is_not_lost_in_a_reset(make_world: MakeWorld) -> None:
    """Which exchanges the database that the record is of, in whatever moment."""
    world = make_world("server")
    branch = world.branches.create("mine")
    resets: list[Future[Branch]] = []

    def reset() -> Branch:
        with world.app.app_context():
            return world.branches.reset("mine")

    def meanwhile(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("SELECT oid::text FROM pg_database WHERE") and not resets:
            resets.append(other.submit(reset))
            resets[0].result()

    with ThreadPoolExecutor(1) as other:
        sa.event.listen(sa.Engine, "after_cursor_execute", meanwhile)
        try:
            world.backend.update(branch, None)
        finally:
            sa.event.remove(sa.Engine, "after_cursor_execute", meanwhile)
    assert world.branches.list() == [replace(branch, expires_at=None)]
