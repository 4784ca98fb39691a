"""Ports that endpoints listen on: on the loopback interface, and below those that outgoing connections are given."""

from __future__ import annotations

import errno
import random
import socket

HOST = "127.0.0.1"

_PORTS = range(20_000, 32_768)
_BACKLOG = 1024


class PortTaken(Exception):
    """A port is another program's, or none is free; the text names it and the remedy."""


def listen(port: int | None) -> socket.socket:
    """A socket that listens, and does not block.

    Args:
        port: the one to listen on; None for any free one.

    Raises:
        PortTaken: where it is not free, or none is.
    """
    return _listen_somewhere() if port is None else _listen(port)


def _listen_somewhere() -> socket.socket:
    start = random.randrange(len(_PORTS))  # noqa: S311 - only so that two emulators do not begin with the same
    for port in (*_PORTS[start:], *_PORTS[:start]):
        if _is_free(port):
            try:
                return _listen(port)
            except PortTaken:
                continue
    raise PortTaken(f"No port of {HOST} from {_PORTS[0]} to {_PORTS[-1]} is free: stop other emulators.")


def _is_free(port: int) -> bool:
    # Without SO_REUSEADDR, under which some systems let two programs share a port.
    with socket.socket() as trial:
        try:
            trial.bind((HOST, port))
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            return False
    return True


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        # Else a port would be closed to its own endpoint for a minute after each stop.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        text = f"Port {port} of {HOST} is taken: stop the program that listens there."
        raise PortTaken(text) from error
    listener.settimeout(0)
    return listener
