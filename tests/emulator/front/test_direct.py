"""The loop that serves sockets while it waits: nothing else has to wait for them."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from neon_emulator.front.direct import DirectLoop, new_event_loop, watching

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

_TURNS = 1000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    one, other = socket.socketpair()
    one.settimeout(0)
    other.settimeout(0)
    with one, other:
        yield one, other


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run something in a loop of our kind."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if not isinstance(runner.get_loop(), DirectLoop):
            pytest.skip("this system has none of our kind")
        yield runner.run


def _keep_going(one: socket.socket) -> Callable[[], bool]:
    """What is there is not read: the socket can be read again at once, without end."""

    def answer() -> bool:
        answered.append(one.recv(1, socket.MSG_PEEK))
        return False

    answered: list[bytes] = []
    return answer


def test_timers_go_off_beside_traffic_without_end(
    run: Callable[[Coroutine[Any, Any, Any]], Any], pair: tuple[socket.socket, socket.socket]
) -> None:
    """A socket that always has something to read holds up no timer."""

    async def work() -> None:
        pair[1].send(b"x")
        watching().add_reader(pair[0], _keep_going(pair[0]))
        async with asyncio.timeout(60):
            for _ in range(5):
                await asyncio.sleep(0.01)
        watching().remove_reader(pair[0])

    run(work())


def test_other_work_goes_on_beside_traffic_without_end(
    run: Callable[[Coroutine[Any, Any, Any]], Any], pair: tuple[socket.socket, socket.socket]
) -> None:
    """Threads and asyncio's own sockets are heard."""

    async def work() -> bytes:
        loop = asyncio.get_running_loop()
        pair[1].send(b"x")
        watching().add_reader(pair[0], _keep_going(pair[0]))
        one, other = socket.socketpair()
        with one, other:
            one.settimeout(0)
            async with asyncio.timeout(60):
                await asyncio.to_thread(other.send, b"heard")
                return await loop.sock_recv(one, 5)

    assert run(work()) == b"heard"


def test_a_callback_can_end_what_is_waited_for(
    run: Callable[[Coroutine[Any, Any, Any]], Any], pair: tuple[socket.socket, socket.socket]
) -> None:
    """One that says so gives the loop its turn, after as many that do not."""

    async def work() -> int:
        done = asyncio.get_running_loop().create_future()
        turns = 0

        def count() -> bool:
            nonlocal turns
            turns += 1
            if turns == _TURNS:
                done.set_result(None)
            return turns == _TURNS

        pair[1].send(b"x")
        watching().add_reader(pair[0], count)
        await done
        watching().remove_reader(pair[0])
        return turns

    assert run(work()) == _TURNS


def test_reading_and_writing_are_watched_apart(
    run: Callable[[Coroutine[Any, Any, Any]], Any], pair: tuple[socket.socket, socket.socket]
) -> None:
    """One socket has a callback for each, and each is taken away alone, once or twice."""

    async def work() -> list[str]:
        called: list[str] = []
        done = asyncio.Event()

        def read() -> bool:
            called.append("read")
            watching().remove_reader(pair[0])
            done.set()
            return True

        def write() -> bool:
            called.append("write")
            watching().remove_writer(pair[0])
            watching().remove_writer(pair[0])
            pair[1].send(b"x")
            return False

        watching().add_reader(pair[0], read)
        watching().add_writer(pair[0], write)
        async with asyncio.timeout(60):
            await done.wait()
        return called

    assert run(work()) == ["write", "read"]


def test_a_callback_that_fails_is_not_the_loops_end(
    run: Callable[[Coroutine[Any, Any, Any]], Any], pair: tuple[socket.socket, socket.socket]
) -> None:
    """Its mistake is told as asyncio tells them, once, and the loop goes on."""

    async def work() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        heard = asyncio.Event()

        def tell(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            told.append(context)
            heard.set()

        def fail() -> bool:
            raise ValueError("a mistake")

        asyncio.get_running_loop().set_exception_handler(tell)
        pair[1].send(b"x")
        watching().add_reader(pair[0], fail)
        async with asyncio.timeout(60):
            await heard.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        return told

    (context,) = run(work())
    assert str(context["exception"]) == "a mistake"


def test_any_other_loop_watches_in_its_own_way() -> None:
    """Where a loop is not of our kind, its own methods do the same."""

    async def work() -> bool:
        return watching() is asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(work())
