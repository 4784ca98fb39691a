"""The ports that endpoints listen on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from tests.emulator.front.fronts import ENDPOINT, error

from neon_emulator.front import ports
from neon_emulator.front.front import PortTaken

if TYPE_CHECKING:
    from tests.emulator.front.fronts import House


def test_a_closed_endpoint_listens_no_more(house: House) -> None:
    """Nobody is at its port, a second close is without effect, and it can be opened there again."""
    with house.raw() as client:  # the system remembers such a connection for a minute, which must not be in the way
        client.sendall(b"\0\0\0\0")
        error(client)
    house.close()
    house.close()
    house.drop()
    with pytest.raises(ConnectionRefusedError):
        house.raw()

    assert house.call(house.front.open(ENDPOINT, house.port)) == house.port
    house.connect().close()


def test_a_found_port_is_below_those_of_outgoing_connections(house: House) -> None:
    """Another program's outgoing connection can never sit on it."""
    assert 20_000 <= house.port < 32_768


def test_endpoints_have_ports_of_their_own(house: House) -> None:
    """Each has another one, which only loopback clients reach."""
    other = house.call(house.front.open("ep-other", None))
    try:
        assert other != house.port
    finally:
        house.call(house.front.close("ep-other"))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - nobody connects
def test_a_port_that_is_taken_is_named(house: House, host: str) -> None:
    """The error has the port and the remedy, and nothing is open afterwards."""
    with socket.socket() as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {port} of 127\.0\.0\.1 is taken: stop the program"):
            house.call(house.front.open("ep-other", port))
    house.call(house.front.close("ep-other"))


def test_no_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all are taken, the error says which were tried; else the one that is left is found."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        taken, free = one.getsockname()[1], other.getsockname()[1]
        one.listen()
        monkeypatch.setattr(ports, "_PORTS", (taken,))
        with pytest.raises(PortTaken, match=f"from {taken} to {taken} is free"):
            ports.listen(None)
        other.close()
        monkeypatch.setattr(ports, "_PORTS", (taken, free))
        with ports.listen(None) as listener:
            assert listener.getsockname()[1] == free


def test_an_endpoint_is_opened_once(house: House) -> None:
    """A second time is a mistake of the caller's."""
    with pytest.raises(ValueError, match=f"{ENDPOINT} is open already"):
        house.call(house.front.open(ENDPOINT, None))
