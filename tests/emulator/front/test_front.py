"""Sessions through the front: as with Postgres itself, whichever way they are encrypted."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import pq
from tests.emulator.front.fronts import SECONDS, until

from neon_emulator.front import scram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.emulator.front.fronts import House

_WAYS = pytest.mark.parametrize(
    "way",
    [
        {"sslmode": "require"},
        {"sslmode": "require", "channel_binding": "require"},
        {"sslmode": "require", "channel_binding": "disable"},
        {"sslmode": "require", "channel_binding": "require", "sslnegotiation": "direct"},
        {"sslmode": "require", "ssl_min_protocol_version": "TLSv1.2", "ssl_max_protocol_version": "TLSv1.2"},
        {"sslmode": "disable"},
        {"sslmode": "disable", "require_auth": "scram-sha-256"},
    ],
    ids=["tls", "bound", "unbound", "direct", "tls12", "plain", "plain-scram"],
)
_BOTH = pytest.mark.parametrize("sslmode", ["require", "disable"])
_CANCELS = pytest.mark.parametrize("how", ["cancel", "cancel_safe"])
_SLEEPER = """
import sys, threading, psycopg

def sleep():
    try:
        session.execute("SELECT pg_sleep(60)")
    except psycopg.errors.QueryCanceled as error:
        told.append(type(error).__name__)

told = []
with psycopg.connect(sys.argv[1], autocommit=True) as session:
    thread = threading.Thread(target=sleep)
    thread.start()
    for _ in sys.stdin:
        getattr(session, sys.argv[2])()
        print("asked", flush=True)
    thread.join()
    print(*told)
"""


@_WAYS
def test_a_password_opens_a_session(house: House, way: dict[str, str]) -> None:
    """Every way in which a client may connect ends in a session of its role."""
    with house.connect(**way) as session:
        assert session.execute("SELECT current_user, 6 * 7").fetchone() == ("app", 42)


@_WAYS
@pytest.mark.parametrize(("role", "password"), [("app", "guess"), ("nobody", "secret"), ("keyless", "secret")])
def test_a_wrong_password_opens_none(house: House, way: dict[str, str], role: str, password: str) -> None:
    """An unknown role, and one without a password, are refused like a wrong password."""
    with pytest.raises(psycopg.OperationalError, match=f'password authentication failed for user "{role}"'):
        house.connect(**way, user=role, password=password)


def test_no_password_opens_none(house: House) -> None:
    """A client that has none to give goes away by itself."""
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        house.connect(password="")
    until(lambda: house.sessions() == 0)


@pytest.mark.parametrize("server", [False, True], ids=["ours", "the server's"])
@pytest.mark.parametrize(
    "password", ["pl'ain\\", "pässwörd", "\u2168", "I\u00adX", "a\u00a0b", "e\u0301", "\u0627\u0031", "é\u0007", "💧"]
)
def test_any_password_works(house: House, admin: psycopg.Connection[Any], password: str, *, server: bool) -> None:
    """Clients prepare a password as we do, and as the server does that is given it."""
    kept = password if server else scram.build_verifier(password)
    admin.execute(psycopg.sql.SQL("CREATE ROLE odd LOGIN PASSWORD {}").format(kept))
    try:
        house.connect(user="odd", password=password, channel_binding="require").close()
    finally:
        admin.execute("DROP ROLE odd")


def test_the_certificate_can_be_verified(house: House, tmp_path: Path) -> None:
    """With it as the root, a client can ask for all that TLS proves, the host's name included."""
    root = tmp_path / "root.pem"
    with house.secured() as client:
        root.write_text(ssl.DER_cert_to_PEM_cert(client.getpeercert(binary_form=True) or b""))

    house.connect(sslmode="verify-full", sslrootcert=str(root)).close()
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        house.connect(sslmode="verify-full", sslrootcert="system")


def test_what_a_client_sets_is_set(house: House) -> None:
    """Options and parameters of the startup reach the server."""
    with house.connect(options="-c work_mem=5MB", application_name="ours") as session:
        assert session.execute("SELECT current_setting('work_mem')").fetchone() == ("5MB",)
        assert session.info.parameter_status("application_name") == "ours"


@pytest.mark.parametrize(
    "options",
    [
        "endpoint=ep-still-water-12345678",
        "endpoint%3Dep-still-water-12345678",
        "-c work_mem=5MB endpoint=ep-still-water-12345678",
        "endpoint=ep-still-water-12345678   -c work_mem=5MB",
    ],
)
def test_the_endpoint_may_be_named(house: House, options: str) -> None:
    """Clients name it for want of SNI; the port has told it."""
    with house.connect(options=options) as session:
        expected = "5MB" if "work_mem" in options else "4MB"
        assert session.execute("SELECT current_setting('work_mem')").fetchone() == (expected,)


def test_escaped_options_stay_as_they_are(house: House) -> None:
    """A blank that a backslash keeps does not end an option, whatever is left out beside it."""
    with house.connect(options=r"endpoint=ep-x -c application_name=a\ endpoint=b") as session:
        assert session.execute("SELECT current_setting('application_name')").fetchone() == ("a endpoint=b",)


@pytest.mark.parametrize("word", ["neon_timestamp:2026-01-01T00:00:00Z", "neon_lsn:0/1DE2850", "neon_lsn%3A0/1DE2850"])
def test_a_past_point_is_refused(house: House, word: str) -> None:
    """What cannot be done is said, with what to do in its place."""
    with pytest.raises(psycopg.OperationalError, match="create a branch at that point") as refused:
        house.connect(options=f"-c work_mem=5MB {word}")
    assert word in str(refused.value)


@pytest.mark.parametrize("options", ["", "-c default_transaction_read_only=off", "-c work_mem=5MB"])
def test_an_endpoint_has_options_of_its_own(own_house: Callable[..., House], options: str) -> None:
    """They outweigh the client's: an endpoint that only reads does so for everybody."""
    house = own_house(options="-c default_transaction_read_only=on")

    with (
        house.connect(options=options) as session,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        session.execute("CREATE TABLE t ()")


def test_the_servers_own_refusal_reaches_the_client(house: House) -> None:
    """What only the server knows, it says itself."""
    with pytest.raises(psycopg.OperationalError, match='database "missing" does not exist'):
        house.connect(dbname="missing")


def test_replication_is_passed_on(house: House) -> None:
    """A connection for replication speaks its own commands."""
    with house.connect(replication="database") as session:
        name, *_ = session.pgconn.exec_(b"IDENTIFY_SYSTEM").get_value(0, 0), None
        assert name


@_BOTH
def test_a_session_may_be_asynchronous(house: House, sslmode: str) -> None:
    """Many sessions of one asynchronous client are served side by side."""

    async def one(number: int) -> Any:
        async with await psycopg.AsyncConnection.connect(house.conninfo(sslmode=sslmode)) as session:
            return (await (await session.execute("SELECT %s::int", (number,))).fetchone() or ())[0]

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*map(one, range(20)))

    assert asyncio.run(all_of_them()) == list(range(20))


@_BOTH
def test_a_hundred_sessions_at_once(house: House, sslmode: str) -> None:
    """Each gets its own answers."""
    with ThreadPoolExecutor(20) as pool:
        sessions = list(pool.map(lambda _: house.connect(sslmode=sslmode), range(100)))
        assert house.sessions() == 100
        pids = [session.info.backend_pid for session in sessions]
        told = pool.map(lambda session: session.execute("SELECT pg_backend_pid()").fetchone()[0], sessions)
        assert list(told) == pids
        list(pool.map(lambda session: session.close(), sessions))
    until(lambda: house.sessions() == 0)


@pytest.mark.slow
@_BOTH
def test_short_sessions_leave_nothing(house: House, admin: psycopg.Connection[Any], sslmode: str) -> None:
    """However many come and go, none is left, with us or with the server."""
    for _ in range(200):
        house.connect(sslmode=sslmode).close()

    until(lambda: house.sessions() == 0)
    until(lambda: admin.execute("SELECT 1 FROM pg_stat_activity WHERE usename = 'app'").fetchone() is None)


@pytest.fixture
def sleeper(house: House, admin: psycopg.Connection[Any]) -> Iterator[Callable[[str, str], subprocess.Popen[str]]]:
    """Start a client whose query sleeps, and which cancels it for every line that it is sent."""
    started: list[subprocess.Popen[str]] = []

    def start(sslmode: str, how: str) -> subprocess.Popen[str]:
        # A process of its own: libpq's old way holds Python's lock, and the front is in this process.
        command = [sys.executable, "-c", _SLEEPER, house.conninfo(sslmode=sslmode), how]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1))
        until(lambda: admin.execute("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone() is not None)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@_BOTH
@_CANCELS
def test_a_query_can_be_cancelled(sleeper: Callable[[str, str], subprocess.Popen[str]], sslmode: str, how: str) -> None:
    """The old way, always in the clear, and the new one, as encrypted as the session, both reach the query."""
    client = sleeper(sslmode, how)

    told, _ = client.communicate("cancel\n", timeout=SECONDS)

    assert told.split() == ["asked", "QueryCanceled"]


@_CANCELS
def test_a_cancel_wakes_nothing(house: House, sleeper: Callable[[str, str], subprocess.Popen[str]], how: str) -> None:
    """Where the server sleeps there is no query to cancel."""
    client = sleeper("require", how)
    woken = list(house.computer.woken)
    house.computer.asleep = True

    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write("cancel\n")
    assert client.stdout.readline() == "asked\n"
    assert house.computer.woken == woken
    assert house.computer.asleep


def test_every_byte_counts_as_use(house: House) -> None:
    """A session that is only open is no use; a query is."""
    with house.connect() as session:
        opened = house.last_byte()
        before = time.monotonic()
        assert opened <= before
        assert house.last_byte() == opened
        session.execute("SELECT 1")
        assert house.last_byte() >= before


def test_a_newer_minor_version_is_the_servers_affair(house: House) -> None:
    """A client that asks for the newest protocol gets what the server has, with its longer keys."""
    if pq.version() < 180000:
        pytest.skip("libpq knows one version of the protocol")
    with house.connect(max_protocol_version="latest") as session:
        session.cancel_safe()
        assert session.execute("SELECT 1").fetchone() == (1,)
