"""Sessions' ends: by the client, by the server, by the emulator; and what waking has to do with them."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.emulator.front.fronts import ENDPOINT, House, error, message, packet, patient_for, results, startup, until

from neon_emulator.front.front import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    import local_postgres

_BOTH = pytest.mark.parametrize("sslmode", ["require", "disable"])
_ENDS = pytest.mark.parametrize("end", [House.drop, House.close], ids=["drop", "close"])
_APP = startup(user="app", database="postgres")
_WORK: dict[str, tuple[str, tuple[int, ...] | None]] = {
    "idle": ("SELECT 1", None),
    "in a transaction": ("BEGIN", None),
    "running": ("SELECT pg_sleep(60)", None),
    "running after others": ("SELECT 1; SELECT pg_sleep(60)", None),
    "running with parameters": ("SELECT pg_sleep(%s)", (60,)),
}
_COPIES = {
    "in": (b"CREATE TEMPORARY TABLE t (a text); COPY t FROM STDIN", "ClientRead"),
    "out": (b"COPY (SELECT repeat('x', 1000) || generate_series(1, 100000000)) TO STDOUT", "ClientWrite"),
}


@_ENDS
@_BOTH
@pytest.mark.parametrize("work", _WORK)
def test_a_session_that_is_ended_is_told(
    house: House, admin: psycopg.Connection[Any], end: Callable[[House], None], sslmode: str, work: str
) -> None:
    """Whatever it does, its client reads 57P01 in the protocol's own form, and the server is left."""
    statement, parameters = _WORK[work]
    with closing(house.connect(sslmode=sslmode)) as session, ThreadPoolExecutor(1) as pool:
        pid = session.info.backend_pid
        asked = pool.submit(session.execute, statement, parameters)
        sleeps = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        until(lambda: asked.done() or admin.execute(sleeps, (pid,)).fetchone() is not None)

        end(house)

        with pytest.raises(psycopg.errors.AdminShutdown, match=r"^terminating connection due to admin"):
            _ask_again(asked, session)
    until(lambda: admin.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is None)


@_ENDS
@pytest.mark.parametrize("work", _COPIES)
def test_a_copy_that_is_ended_leaves_the_server(
    house: House, admin: psycopg.Connection[Any], end: Callable[[House], None], work: str
) -> None:
    """A server that waits for rows, or whose rows nobody reads, is left in time."""
    with closing(house.connect()) as session:
        pid = session.info.backend_pid
        statement, event = _COPIES[work]
        session.pgconn.send_query(statement)
        waits = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        until(lambda: admin.execute(waits, (pid,)).fetchone() == (event,))

        end(house)

        until(lambda: admin.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is None)


def test_an_endpoint_goes_on_after_its_sessions_were_ended(house: House) -> None:
    """The port stays, and the next connection is a new session."""
    with house.connect():
        house.drop()
        until(lambda: house.sessions() == 0)
        with house.connect() as session:
            assert session.execute("SELECT 1").fetchone() == (1,)
            assert house.sessions() == 1


def test_clients_wait_while_the_server_wakes(house: House) -> None:
    """None of them fails, however many there are; each has asked for the server."""
    house.soon(house.computer.gate.clear)
    with ThreadPoolExecutor(5) as pool:
        sessions = [pool.submit(house.connect) for _ in range(5)]
        until(lambda: len(house.computer.woken) == 5)
        assert not any(session.done() for session in sessions)
        house.soon(house.computer.gate.set)
        for session in sessions:
            session.result().close()


def test_who_waits_for_waking_is_no_session_yet(house: House) -> None:
    """When all sessions are ended, it goes on waiting, and the server is woken once more: it may be another by now."""
    house.soon(house.computer.gate.clear)
    with ThreadPoolExecutor(1) as pool:
        session = pool.submit(house.connect)
        until(lambda: len(house.computer.woken) == 1)
        house.drop()
        house.soon(house.computer.gate.set)
        with session.result() as awake:
            assert awake.execute("SELECT 1").fetchone() == (1,)
    assert len(house.computer.woken) == 2


def test_who_waits_at_an_endpoint_that_is_closed_is_told(house: House) -> None:
    """Its server will not be had any more."""
    house.soon(house.computer.gate.clear)
    with house.raw() as client:
        client.sendall(_APP)
        until(lambda: house.computer.woken)
        house.close()
        assert error(client)["C"] == "57P01"


def test_who_proves_a_password_meanwhile_is_told(house: House) -> None:
    """The proof was for a server that the endpoint may no longer lead to."""
    with house.raw() as client:
        client.sendall(_APP)
        assert message(client)[0] == b"R"
        house.drop()
        assert error(client)["C"] == "57P01"


def test_a_refusal_of_waking_is_told(house: House) -> None:
    """The client reads the reason, before it is asked for a password."""
    house.computer.refusal = Refused("55000", "The endpoint is disabled.")

    with house.raw() as client:
        client.sendall(_APP)
        fields = error(client)

    assert (fields["S"], fields["V"]) == ("FATAL", "FATAL")
    assert (fields["C"], fields["M"]) == ("55000", "The endpoint is disabled.")


def test_a_connection_without_a_beginning_wakes_nothing(house: House) -> None:
    """A port that is only tried is not used: the server sleeps on."""
    used = house.last_byte()
    with house.raw() as client:
        client.sendall(packet(80877103))
        assert client.recv(1) == b"S"

    until(lambda: house.sessions() == 0)
    assert house.computer.woken == []
    assert house.last_byte() == used


@_BOTH
def test_a_servers_last_words_reach_the_client(
    own_house: Callable[..., House], other_cluster: local_postgres.Cluster, sslmode: str
) -> None:
    """A server that is stopped says so itself, once."""
    house = own_house(other_cluster.address)
    with house.connect(sslmode=sslmode) as session:
        other_cluster.stop()
        with pytest.raises(psycopg.errors.AdminShutdown, match="due to administrator command"):
            session.execute("SELECT 1")
    until(lambda: house.sessions() == 0)


def test_a_server_that_was_killed_ends_its_sessions(
    own_house: Callable[..., House], other_cluster: local_postgres.Cluster
) -> None:
    """A client learns that the server is gone, and the next one finds it where it was."""
    house = own_house(other_cluster.address)
    with house.connect() as session:
        _kill(other_cluster, session.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    until(lambda: house.sessions() == 0)
    until(lambda: not other_cluster.is_running())  # a kill is not done when it is sent: a busy machine takes its time
    other_cluster.start()
    house.connect().close()


def test_a_server_that_stays_away_is_told(
    own_house: Callable[..., House], other_cluster: local_postgres.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal says which endpoint, and that it may be another moment's affair."""
    house = own_house(other_cluster.address)
    house.connect().close()
    verifier = house.call(house.computer.verifier(ENDPOINT, "app"))

    async def kept(endpoint: str, role: str) -> str | None:
        return str(verifier)

    monkeypatch.setattr(house.computer, "verifier", kept)
    patient_for(house, 2, monkeypatch)
    other_cluster.stop()

    with pytest.raises(psycopg.OperationalError, match=f"the compute of {ENDPOINT} takes no connection"):
        house.connect()
    assert len(house.computer.woken) > 2


def test_a_server_that_comes_back_meanwhile_is_met(
    own_house: Callable[..., House], other_cluster: local_postgres.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of a server that was just killed waits for its next start, and does not fail."""
    house = own_house(other_cluster.address)
    verifier = house.call(house.computer.verifier(ENDPOINT, "app"))

    async def kept(endpoint: str, role: str) -> str | None:
        return str(verifier)

    monkeypatch.setattr(house.computer, "verifier", kept)
    monkeypatch.setattr("neon_emulator.front.computes._CONNECT_SECONDS", 30)
    other_cluster.stop()
    with ThreadPoolExecutor(1) as pool:
        session = pool.submit(house.connect)
        until(lambda: len(house.computer.woken) > 2)
        other_cluster.start()
        session.result().close()


def test_a_client_may_be_done_with_speaking(house: House) -> None:
    """One that closes its own direction still reads the answer to what it has said."""
    with house.connect(sslmode="disable") as session:
        pgconn = session.pgconn
        pgconn.send_query(b"SELECT repeat('x', 3000000)")
        pgconn.flush()
        with socket.socket(fileno=os.dup(pgconn.socket)) as client:
            client.shutdown(socket.SHUT_WR)
        result, *_ = results(session)
        assert len(result.get_value(0, 0) or b"") == 3_000_000


def test_a_client_that_vanishes_leaves_the_server(house: House, admin: psycopg.Connection[Any]) -> None:
    """The server notices as soon as it looks, as with a connection of its own."""
    session = house.connect(sslmode="disable")
    pid = session.info.backend_pid
    with socket.socket(fileno=os.dup(session.pgconn.socket)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        session.pgconn.finish()

    until(lambda: admin.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is None)
    until(lambda: house.sessions() == 0)


def _ask_again(asked: Future[Any], session: psycopg.Connection[Any]) -> None:
    asked.result()
    session.execute("SELECT 1")


def _kill(cluster: local_postgres.Cluster, backend: int) -> None:
    postmaster = int((Path(cluster.data) / "postmaster.pid").read_text().splitlines()[0])
    for pid in (postmaster, backend):
        os.kill(pid, signal.SIGKILL)
