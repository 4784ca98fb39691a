"""Ports of this machine that a server of a test may take."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress


def free_port() -> int:
    """One below those that the system gives to outgoing connections, of which there may be many."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
