"""Servers that are lost after they were woken: their clients wait for the next start, for as long as it makes sense."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.emulator.front.fronts import ENDPOINT, House, patient_for, read, until

from neon_emulator.front.front import Backend, Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PATIENCE = "neon_emulator.front.computes._CONNECT_SECONDS"


def _lose(house: House, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the server be lost so many times before it says what it keeps of a password."""
    known = house.computer.verifier

    async def verifier(endpoint: str, role: str) -> str | None:
        if len(house.computer.woken) <= times:
            raise Refused("57P03", "it has ended meanwhile")
        return await known(endpoint, role)

    monkeypatch.setattr(house.computer, "verifier", verifier)


def _shut_at_the_second(house: House, monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    """Let the server be lost after the password's proof, and take its time to wake again."""
    there, wake = house.computer.backend, house.computer.wake

    async def waking(endpoint: str) -> Backend:
        again = bool(house.computer.woken)
        if again:
            house.computer.gate.clear()
        await wake(endpoint)
        return there if again else Backend(nowhere)

    monkeypatch.setattr(house.computer, "wake", waking)


def test_a_server_that_is_lost_before_the_password_is_woken_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's password is no wrong one because nobody could be asked for it."""
    _lose(house, monkeypatch, times=2)
    with house.connect() as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
    assert len(house.computer.woken) == 3


def test_a_server_that_is_lost_again_and_again_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds the client reads why, and that another moment may be better."""
    patient_for(house, 2, monkeypatch)
    _lose(house, monkeypatch, times=1_000_000)
    with pytest.raises(psycopg.OperationalError, match="FATAL:  it has ended meanwhile"):
        house.connect()
    assert len(house.computer.woken) > 2


def test_a_session_that_is_ended_does_not_wake_its_server(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One whose server is lost, and which is ended while that waits to be woken, leaves it asleep."""
    _shut_at_the_second(house, monkeypatch, tmp_path / "nowhere")
    with ThreadPoolExecutor(1) as pool:
        session = pool.submit(house.connect)
        until(lambda: len(house.computer.woken) == 2)
        house.drop()
        with pytest.raises(psycopg.OperationalError, match="terminating connection due to admin"):
            session.result()
    house.computer.asleep = True
    house.soon(house.computer.gate.set)
    for _ in range(3):
        house.call(asyncio.sleep(0))
    assert house.computer.asleep


def test_waking_again_is_not_the_clients_time(
    own_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However long a server that was lost takes to come back, the client that has proven its password waits for it."""
    house = own_house(patience=60)
    _shut_at_the_second(house, monkeypatch, tmp_path / "nowhere")
    with ThreadPoolExecutor(1) as pool:
        session = pool.submit(house.connect)
        until(lambda: len(house.computer.woken) == 2)
        with house.raw() as slow:
            until(lambda: house.sessions() == 2)
            house.pass_time(61)
            assert b"C57014" in read(slow, 1000)
        house.soon(house.computer.gate.set)
        session.result().close()


def test_a_server_that_hangs_up_is_told(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The refusal says so, where there is no error that could be quoted."""
    monkeypatch.setattr(_PATIENCE, 0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        house.computer.backend = Backend(tmp_path / "socket")

        def hang_up() -> None:
            with listener.accept()[0] as session:
                session.recv(1000)

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        with pytest.raises(psycopg.OperationalError, match=rf"{ENDPOINT} takes no connection \(it hung up\)"):
            house.connect()
        hanging_up.join()
