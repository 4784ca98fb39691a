"""What a client may begin with, and what it may not: bytes on the wire."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from tests.emulator.front.fronts import (
    CANCEL,
    GSS,
    SSL,
    VERSION,
    error,
    message,
    packet,
    read,
    sasl,
    startup,
    until,
)

from neon_emulator.front.startup import _startup as parsed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.front.fronts import House

_APP = startup(user="app", database="postgres")
_KEY = b"\0\0\0\1" + b"k" * 4


def _asks_for_a_password(client: socket.socket) -> bool:
    kind, body = message(client)
    return kind == b"R" and body[:4] == b"\0\0\0\x0a"


def _secured(client: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(client)


@pytest.mark.parametrize(
    ("sent", "sqlstate", "text"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "08P01", "invalid length of startup packet: 1195725856"),
        (b"\0\0\0\0", "08P01", "invalid length of startup packet: 0"),
        (b"\0\0\0\4", "08P01", "invalid length of startup packet: 4"),
        (b"\0\0\x27\x15" + b"x" * 100_000, "08P01", "invalid length of startup packet: 10005"),
        (packet(2 << 16, b"x" * 288), "0A000", "unsupported frontend protocol 2.0"),
        (packet(4 << 16, b"\0"), "0A000", "unsupported frontend protocol 4.0"),
        (packet(VERSION, b"\0"), "28000", "no PostgreSQL user name"),
        (packet(VERSION, b"user\0\0\0"), "28000", "no PostgreSQL user name"),
        (packet(VERSION, b"database\0postgres\0\0"), "28000", "no PostgreSQL user name"),
        (packet(VERSION), "08P01", "expected terminator"),
        (packet(VERSION, b"user\0app\0"), "08P01", "expected terminator"),
        (packet(VERSION, b"user\0app"), "08P01", "expected terminator"),
        (packet(VERSION, b"user\0\0"), "08P01", "expected terminator"),
        (packet(VERSION, b"user\0app\0\0more\0\0"), "08P01", "expected terminator"),
        (packet(CANCEL), "08P01", "invalid length of cancel request packet: 8"),
        (packet(CANCEL, _KEY[:7]), "08P01", "invalid length of cancel request packet: 15"),
        (packet(CANCEL, b"\0\0\0\1" + b"k" * 257), "08P01", "invalid length of cancel request packet: 269"),
    ],
)
def test_what_is_no_beginning_is_refused(house: House, sent: bytes, sqlstate: str, text: str) -> None:
    """The client is told in the protocol's own form, and nothing wakes."""
    with house.raw() as client:
        client.sendall(sent)
        fields = error(client)

    assert (fields["S"], fields["V"], fields["C"]) == ("FATAL", "FATAL", sqlstate)
    assert text in fields["M"]
    assert house.computer.woken == []


@pytest.mark.parametrize("requests", [[SSL], [GSS], [GSS, SSL], [GSS, GSS, SSL]])
def test_encryption_may_be_asked_for_in_any_order(house: House, requests: list[int]) -> None:
    """GSSAPI there is none, TLS there is; the client goes on with what it got."""
    client: socket.socket = house.raw()
    with client:
        for request in requests:
            client.sendall(packet(request))
            assert read(client, 1) == (b"S" if request == SSL else b"N")
        if SSL in requests:
            client = _secured(client)
        client.sendall(_APP)
        assert _asks_for_a_password(client)
        client.close()


@pytest.mark.parametrize("request_code", [SSL, GSS])
def test_encryption_is_agreed_on_once(house: House, request_code: int) -> None:
    """Inside of TLS nobody asks for more."""
    with house.secured(alpn="postgresql") as client:
        client.sendall(packet(request_code))
        assert error(client)["C"] == "0A000"


def test_bytes_sent_before_tls_are_not_taken_for_what_is_said_in_it(house: House) -> None:
    """Whoever stands between the two can put nothing in front of the client's words."""
    with house.raw() as client:
        client.sendall(packet(SSL) + _APP)
        assert read(client, 1) == b"S"
        assert read(client, 5)[:1] != b"R"
    assert house.computer.woken == []


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
def test_tls_at_once_has_to_say_what_for(house: House, alpn: str | None) -> None:
    """A client of another protocol is told so before it says a word that could be misunderstood."""
    with house.secured(alpn=alpn) as client:
        assert "sslnegotiation" in error(client)["M"]


def test_old_tls_is_refused(house: House) -> None:
    """Nothing older than TLS 1.2 is spoken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with house.raw() as client:
        client.sendall(packet(SSL))
        assert read(client, 1) == b"S"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(client)


def test_the_password_is_asked_for_by_scram_alone(house: House) -> None:
    """In the clear without channel binding, in TLS with it; never another way."""
    with house.raw() as plain, house.secured(alpn="postgresql") as secured:
        plain.sendall(_APP)
        secured.sendall(_APP)
        assert message(plain) == (b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0")
        assert message(secured) == (b"R", b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")


@pytest.mark.parametrize(
    ("answer", "sqlstate"),
    [
        (b"Q\0\0\0\x0dSELECT 1\0", "08P01"),
        (sasl(b"secret\0"), "08P01"),
        (sasl(b"n,,n=,r=abc", "MD5"), "08P01"),
        (sasl(b"n,,n=,r=abc", "SCRAM-SHA-256-PLUS"), "08P01"),
        (sasl(b"y,,n=,r=abc", "SCRAM-SHA-256")[:-1], None),
        (b"p\0\0\0\x02", "08P01"),
        (b"p\x7f\xff\xff\xff", "08P01"),
        (sasl(b"SCRAM-SHA-256\0\0\0\0\x20short"), "08P01"),
        (sasl(b"SCRAM-SHA-256\0"), "08P01"),
    ],
)
def test_what_is_no_proof_is_refused(house: House, answer: bytes, sqlstate: str | None) -> None:
    """A query in place of the proof is not run; half a message is waited for in vain."""
    with house.raw() as client:
        client.sendall(_APP)
        assert _asks_for_a_password(client)
        client.sendall(answer)
        if sqlstate is None:
            client.shutdown(socket.SHUT_WR)
            assert read(client, 1) == b""
        else:
            assert error(client)["C"] == sqlstate


def test_a_downgrade_is_noticed(house: House) -> None:
    """A client that believes that the server cannot bind to the channel was lied to."""
    with house.secured(alpn="postgresql") as client:
        client.sendall(_APP)
        assert _asks_for_a_password(client)
        client.sendall(sasl(b"y,,n=,r=abc", "SCRAM-SHA-256"))
        assert error(client)["C"] == "28000"


def test_the_first_message_may_come_later(house: House) -> None:
    """A client that only names the mechanism is asked once more."""
    with house.raw() as client:
        client.sendall(_APP)
        assert _asks_for_a_password(client)
        client.sendall(sasl(b"SCRAM-SHA-256\0\xff\xff\xff\xff"))
        assert message(client) == (b"R", b"\0\0\0\x0b")
        client.sendall(sasl(b"n,,n=,r=abc"))
        assert message(client)[1].startswith(b"\0\0\0\x0br=abc")


def test_an_unknown_role_is_not_told_apart(house: House) -> None:
    """The salt is the same each time, as that of a role that there is."""

    def salt(role: str) -> str:
        with house.raw() as client:
            client.sendall(startup(user=role))
            assert _asks_for_a_password(client)
            client.sendall(sasl(b"n,,n=,r=abc", "SCRAM-SHA-256"))
            return message(client)[1].decode().split(",")[1]

    for role in ("app", "nobody", "keyless", "postgres"):
        assert salt(role) == salt(role)
    assert salt("nobody") != salt("nobody else")


def test_a_role_is_whom_its_password_was_proven_for(house: House) -> None:
    """A second name in the packet is not another role for the server than for the proof."""
    with house.raw() as client:
        client.sendall(packet(VERSION, b"user\0app\0user\0nobody\0\0"))
        assert _asks_for_a_password(client)
        client.sendall(sasl(b"n,,n=,r=abc", "SCRAM-SHA-256"))
        nonce = message(client)[1].decode()[4:].split(",")[0]
        client.sendall(sasl(f"c=biws,{nonce},p={'A' * 43}=".encode()))
        assert 'user "nobody"' in error(client)["M"]


def test_the_server_is_told_one_role() -> None:
    """It reads none that the front has not read: of a name given twice only the last is handed on."""
    said = b"user\0postgres\0database\0x\0user\0app\0\0"

    assert parsed(VERSION, said).packet("") == startup(user="app", database="x")


def test_a_beginning_may_come_byte_by_byte(house: House) -> None:
    """Packets are told by their length, not by how they arrive."""
    with house.raw() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(len(_APP)):
            client.sendall(_APP[number : number + 1])
        assert _asks_for_a_password(client)


@pytest.mark.parametrize("sent", [b"", b"\0", _APP[:-1], packet(SSL), _APP])
def test_a_slow_client_is_not_waited_for(own_house: Callable[..., House], sent: bytes) -> None:
    """Who has not proven a password in time is told so where possible, and let go."""
    house = own_house(patience=0.2)
    with house.raw() as client:
        client.sendall(sent)
        data = read(client, 100_000)

    if sent != packet(SSL):
        assert b"C57014\0Mcanceling authentication due to timeout\0" in data
    until(lambda: house.sessions() == 0)


def test_waking_is_not_the_clients_time(own_house: Callable[..., House]) -> None:
    """However long a server takes to wake, its client waits for it, and then has all its time."""
    house = own_house(patience=60)
    house.soon(house.computer.gate.clear)
    with house.raw() as slow, house.raw() as client:
        client.sendall(_APP)
        until(lambda: house.computer.woken)
        house.pass_time(61)
        assert b"C57014" in read(slow, 1000)
        until(lambda: house.sessions() == 1)
        house.soon(house.computer.gate.set)
        assert _asks_for_a_password(client)


@pytest.mark.parametrize("sent", [b"", b"\0\0", packet(SSL), packet(GSS), _APP])
def test_a_client_that_goes_leaves_nothing(house: House, sent: bytes) -> None:
    """At whatever point it goes, its connection is over."""
    with house.raw() as client:
        client.sendall(sent)
        until(lambda: house.sessions() == 1)
    until(lambda: house.sessions() == 0)


def test_nothing_secret_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a password nor what was said is in the log, however much it tells."""
    caplog.set_level("DEBUG")

    house.connect().close()
    with pytest.raises(Exception, match="password authentication failed") as failed:
        house.connect(password="hunter2")
    with house.raw() as client:
        client.sendall(packet(VERSION, b"user\0app\0options\0-c a=hunter2\0\0"))
        assert _asks_for_a_password(client)

    until(lambda: house.sessions() == 0)
    assert "hunter2" not in caplog.text
    assert "hunter2" not in str(failed.value)
    assert "secret" not in caplog.text


def test_what_fails_inside_is_told_without_its_reason(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of the emulator's ends one connection, and is in the log."""
    house.computer.refusal = RuntimeError("a mistake")
    with house.raw() as client:
        client.sendall(_APP)
        fields: dict[str, Any] = error(client)

    assert fields["C"] == "XX000"
    assert "a mistake" not in fields["M"]
    assert "a mistake" in caplog.text
