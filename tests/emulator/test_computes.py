"""Computes: suspended when nobody uses them, awake when somebody comes, always at the same address."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.running import Client, Emulator, Project, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

_FIVE_MINUTES = 300
_SLEEPERS = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


@pytest.fixture
def alone(own_emulator: Callable[..., Emulator]) -> Iterator[Project]:
    """A project in an emulator whose clock may be moved."""
    with own_emulator().client().http as http:
        yield Client(http).project()


def _endpoint(project: Project, branch: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = project.client.get(f"{project.path}/branches/{branch or project.main}/endpoints")
    return dict(found["endpoints"][0])


def _ask(project: Project, action: str) -> None:
    project.client.post(f"{project.path}/endpoints/{_endpoint(project)['id']}/{action}", status=200)
    project.settle()


def _state(project: Project) -> str:
    return str(_endpoint(project)["current_state"])


@contextmanager
def _asleep(project: Project, connection: psycopg.Connection[Any]) -> Iterator[Future[Any]]:
    """A query that is under way in a session, and runs until it is cancelled, or a failed test gives up."""
    with ThreadPoolExecutor(1) as pool:
        query = pool.submit(connection.execute, "SELECT pg_sleep(120)")
        until(lambda: project.query(_SLEEPERS))
        yield query


def test_suspending_ends_sessions(project: Project) -> None:
    """At a suspend a session gets Postgres's own word for it, 57P01."""
    with project.connect() as connection:
        _ask(project, "suspend")
        with pytest.raises(psycopg.errors.AdminShutdown, match="terminating connection due to administrator command"):
            connection.execute("SELECT 1")
    assert _state(project) == "idle"


def test_a_connection_wakes(project: Project) -> None:
    """Who connects to a suspended compute waits for it, and is served."""
    _ask(project, "suspend")
    assert project.query("SELECT 1") == [(1,)]
    assert _state(project) == "active"


def test_many_connections_wake_once(project: Project) -> None:
    """Twenty clients that come at once to a suspended compute are all served by one server."""
    _ask(project, "suspend")
    with ThreadPoolExecutor(20) as pool:
        starts = list(pool.map(lambda _: project.query("SELECT pg_postmaster_start_time()"), range(20)))
    assert len({row for rows in starts for row in rows}) == 1


@pytest.mark.parametrize("action", ["suspend", "restart"])
def test_the_address_stays(project: Project, action: str) -> None:
    """The address is the same after a suspend and after a restart, and a port below 32768."""
    uri = project.uri()
    _ask(project, action)
    assert project.uri() == uri
    assert int(_endpoint(project)["host"].split(":")[1]) < 32768
    with psycopg.connect(uri) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_restart_is_a_new_server(project: Project) -> None:
    """A restart ends sessions, and starts another server."""
    before = project.query("SELECT pg_postmaster_start_time()")
    _ask(project, "restart")
    assert project.query("SELECT pg_postmaster_start_time()") != before


def test_idle_computes_are_suspended(alone: Project) -> None:
    """A compute that nobody has used for its time is suspended, though connections are open."""
    with alone.connect() as pooled:
        pooled.execute("SELECT 1")
        alone.client.advance(_FIVE_MINUTES - 60)
        assert _state(alone) == "active"
        alone.client.advance(61)
        until(lambda: _state(alone) == "idle")
        with pytest.raises(psycopg.OperationalError):
            pooled.execute("SELECT 1")
    assert alone.query("SELECT 1") == [(1,)]


def test_an_open_transaction_keeps_awake(alone: Project) -> None:
    """A session in a transaction is activity, whatever the clock says."""
    with alone.connect() as connection, connection.transaction():
        connection.execute("SELECT 1")
        alone.client.advance(_FIVE_MINUTES * 2)
        assert _state(alone) == "active"
        assert connection.execute("SELECT 2").fetchone() == (2,)


def test_a_running_query_keeps_awake(alone: Project) -> None:
    """So is a query that runs, though no byte travels."""
    with alone.connect() as connection, _asleep(alone, connection) as query:
        alone.client.advance(_FIVE_MINUTES * 2)
        assert _state(alone) == "active"
        assert not query.done()
        connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            query.result(60)


def test_never_suspended(alone: Project) -> None:
    """With a time of -1 a compute is never suspended."""
    endpoint = _endpoint(alone)["id"]
    alone.client.patch(f"{alone.path}/endpoints/{endpoint}", {"endpoint": {"suspend_timeout_seconds": -1}})
    alone.settle()
    alone.query("SELECT 1")
    alone.client.advance(86400 * 3)
    assert _state(alone) == "active"


def test_a_cancel_request_reaches_its_query(project: Project) -> None:
    """A query is cancelled through the front, with the old request and with the encrypted one."""
    for cancel in (psycopg.Connection.cancel, psycopg.Connection.cancel_safe):
        with project.connect() as connection, _asleep(project, connection) as query:
            cancel(connection)
            with pytest.raises(psycopg.errors.QueryCanceled):
                query.result(60)


def test_a_cancel_request_wakes_nothing(project: Project) -> None:
    """A cancel request to a suspended compute leaves it asleep."""
    with project.connect() as connection:
        _ask(project, "suspend")
        connection.cancel()
    assert _state(project) == "idle"


def test_tls_with_channel_binding(project: Project) -> None:
    """What neonctl writes into its connection strings connects: TLS, and SCRAM bound to its channel."""
    uri = project.uri()
    assert uri.endswith("?sslmode=require&channel_binding=require")
    with psycopg.connect(uri) as connection:
        assert connection.pgconn.ssl_in_use


def test_a_wrong_password_is_refused(project: Project) -> None:
    """A wrong password is refused as Postgres refuses it."""
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "neondb_owner"'):
        psycopg.connect(project.uri(), password="wrong")


def test_a_disabled_compute_lets_nobody_in(project: Project) -> None:
    """A disabled compute refuses connections with the reason, and lets them in again when it is enabled."""
    endpoint = f"{project.path}/endpoints/{_endpoint(project)['id']}"
    project.client.patch(endpoint, {"endpoint": {"disabled": True}})
    project.settle()
    with pytest.raises(psycopg.OperationalError, match="is disabled: enable it, and connect again"):
        project.query("SELECT 1")
    project.client.patch(endpoint, {"endpoint": {"disabled": False}})
    project.settle()
    assert project.query("SELECT 1") == [(1,)]


def test_the_owner_is_no_superuser(project: Project) -> None:
    """The owner may make roles and databases, and nothing that needs a superuser."""
    assert project.query("SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user") == [
        (False, True, True)
    ]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        project.query("COPY (SELECT 1) TO PROGRAM 'true'")


def test_what_sql_makes_shows_in_the_api(project: Project) -> None:
    """Roles and databases made by SQL are in the API's lists."""
    project.query("CREATE ROLE by_sql LOGIN")
    project.query("CREATE DATABASE by_sql")
    branch = f"{project.path}/branches/{project.main}"
    assert {one["name"] for one in project.client.get(f"{branch}/roles")["roles"]} == {"neondb_owner", "by_sql"}
    found = {one["name"]: one["owner_name"] for one in project.client.get(f"{branch}/databases")["databases"]}
    assert found == {"neondb": "neondb_owner", "by_sql": "neondb_owner"}


def test_a_read_only_compute(project: Project) -> None:
    """A read-only compute beside the read-write one sees its data, and refuses to write."""
    project.query("CREATE TABLE t AS SELECT 1 AS n")
    body = {"endpoint": {"branch_id": project.main, "type": "read_only"}}
    host, _, port = project.client.post(f"{project.path}/endpoints", body)["endpoint"]["host"].partition(":")
    project.settle()
    with psycopg.connect(project.uri(), host=host, port=port) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("INSERT INTO t VALUES (2)")


def test_suspending_one_of_two_computes(project: Project) -> None:
    """Of two computes of a branch one is suspended without the other's sessions noticing."""
    body = {"endpoint": {"branch_id": project.main, "type": "read_only"}}
    second = project.client.post(f"{project.path}/endpoints", body)["endpoint"]
    project.settle()
    host, _, port = second["host"].partition(":")
    with project.connect() as first, psycopg.connect(project.uri(), host=host, port=port) as other:
        project.client.post(f"{project.path}/endpoints/{second['id']}/suspend", status=200)
        project.settle()
        with pytest.raises(psycopg.OperationalError, match="administrator command"):
            other.execute("SELECT 1")
        assert first.execute("SELECT 1").fetchone() == (1,)
