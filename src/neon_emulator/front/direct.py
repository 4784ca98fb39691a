"""An event loop that calls back for a session's sockets without a turn of its own.

A turn of asyncio's loop costs about as much as what is done in it when a message is passed on. So sockets that are
watched directly are served where the loop waits for its events. It goes on to its turn as soon as anything else is
to be done, and at a timer's time.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    Events = list[tuple[selectors.SelectorKey, int]]

_READ, _WRITE = 1, 4  # as `select.EPOLLIN` and `select.EPOLLOUT`, which not every system has
_AT_ONCE = 64


class Readable(Protocol):
    """What has a file descriptor."""

    def fileno(self) -> int:
        """The file descriptor."""


class Watching(Protocol):
    """Who calls back when a socket can be read or written; a callback tells whether the loop has something to do."""

    def add_reader(self, channel: Readable, callback: Callable[[], bool], /) -> None:
        """Call back whenever there is something to read."""

    def remove_reader(self, channel: Readable, /) -> object:
        """Do so no more; without effect where nobody reads."""

    def add_writer(self, channel: Readable, callback: Callable[[], bool], /) -> None:
        """Call back whenever there is room to write."""

    def remove_writer(self, channel: Readable, /) -> object:
        """Do so no more; without effect where nobody writes."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop that watches sockets directly, where the system has what it is made of; else asyncio's own."""
    return DirectLoop() if hasattr(select, "epoll") else asyncio.new_event_loop()


def watching() -> Watching:
    """The way to watch sockets directly in the running loop, or, where it is another kind of loop, its own way."""
    loop = asyncio.get_running_loop()
    return loop.direct if isinstance(loop, DirectLoop) else loop


class DirectLoop(asyncio.SelectorEventLoop):
    """An event loop of asyncio's that can watch sockets directly."""

    def __init__(self) -> None:
        """Begin with a selector that serves them."""
        selector = _Selector(self.call_exception_handler)
        super().__init__(selector)
        self.direct: Watching = selector


class _Selector(selectors.DefaultSelector):
    """Waits for asyncio's events, and meanwhile serves the sockets that are watched directly."""

    def __init__(self, failed: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._failed = failed
        self._readers: dict[int, Callable[[], bool]] = {}
        self._writers: dict[int, Callable[[], bool]] = {}
        # All that is waited for: the watched sockets, and whatever asyncio waits for as one.
        self._all = select.epoll()
        self._rest = self.fileno()
        self._all.register(self._rest, _READ)

    def close(self) -> None:
        self._all.close()
        super().close()

    def select(self, timeout: float | None = None) -> Events:
        limit = None if timeout is None else time.monotonic() + timeout
        while True:
            due = False
            events = self._all.poll(timeout, _AT_ONCE)
            for number, happened in events:
                due = number == self._rest or self._serve(number, happened) or due
            if limit is not None:
                timeout = limit - time.monotonic()
            if due or not events or (timeout is not None and timeout <= 0):
                return super().select(0)

    def add_reader(self, channel: Readable, callback: Callable[[], bool]) -> None:
        self._change(channel.fileno(), self._readers, callback)

    def remove_reader(self, channel: Readable) -> None:
        self._change(channel.fileno(), self._readers, None)

    def add_writer(self, channel: Readable, callback: Callable[[], bool]) -> None:
        self._change(channel.fileno(), self._writers, callback)

    def remove_writer(self, channel: Readable) -> None:
        self._change(channel.fileno(), self._writers, None)

    def _change(
        self, number: int, callbacks: dict[int, Callable[[], bool]], callback: Callable[[], bool] | None
    ) -> None:
        before = self._events(number)
        callbacks.pop(number, None)
        if callback is not None:
            callbacks[number] = callback
        after = self._events(number)
        if not before and after:
            self._all.register(number, after)
        elif before and not after:
            self._all.unregister(number)
        elif before != after:
            self._all.modify(number, after)

    def _events(self, number: int) -> int:
        return _READ * (number in self._readers) | _WRITE * (number in self._writers)

    def _serve(self, number: int, happened: int) -> bool:
        """Call back for what has happened to a socket, unless the callback has been taken away meanwhile."""
        due = False
        try:
            # Errors are for both: whoever reads or writes meets them.
            if happened & ~_WRITE and (reader := self._readers.get(number)) is not None:
                due = reader()
            if happened & ~_READ and (writer := self._writers.get(number)) is not None:
                due = writer() or due
        except Exception as error:  # noqa: BLE001 - as in asyncio, one callback's mistake is not the whole loop's end
            self._change(number, self._readers, None)
            self._change(number, self._writers, None)
            self._failed({"message": "A callback for a socket failed", "exception": error})
            return True
        return due
