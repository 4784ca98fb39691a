"""What Postgres's clients and servers say to each other before a session, and at its end."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
CANCEL_REQUEST = 80877102
MAJOR_VERSION = 3
NUMBER_BYTES = 4

_LENGTH = struct.Struct("!I")
_OK, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 10, 11, 12

PROTOCOL_VIOLATION = "08P01"
INVALID_AUTHORIZATION = "28000"
INVALID_PASSWORD = "28P01"  # noqa: S105 - an SQLSTATE
NOT_SUPPORTED = "0A000"
ADMIN_SHUTDOWN = "57P01"
CANNOT_CONNECT_NOW = "57P03"
QUERY_CANCELED = "57014"
INTERNAL_ERROR = "XX000"


class Refused(Exception):
    """A connection cannot be had; the client is told so, and the connection ends.

    Args:
        sqlstate: Postgres's five characters for the kind of error.
        message: what is wrong, for the client to read.
    """

    def __init__(self, sqlstate: str, message: str) -> None:
        """Keep both for the packet."""
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message


class Message(NamedTuple):
    """One typed message of the protocol."""

    kind: bytes
    body: bytes


def number(data: bytes, start: int = 0) -> int:
    """The unsigned 32-bit number at a place."""
    return int(_LENGTH.unpack_from(data, start)[0])


def packet(body: bytes) -> bytes:
    """A packet without a type, as a client begins with."""
    return _LENGTH.pack(len(body) + 4) + body


def startup(version: int, parameters: dict[bytes, bytes]) -> bytes:
    """A startup packet; every parameter is in it once, so that no two readers can take it differently."""
    words = b"".join(name + b"\0" + value + b"\0" for name, value in parameters.items())
    return packet(_LENGTH.pack(version) + words + b"\0")


def typed(message: Message) -> bytes:
    """A typed message as bytes."""
    return message.kind + packet(message.body)


def cancel(key: bytes) -> bytes:
    """The packet that cancels the query of a session, by the key that its server gave."""
    return packet(_LENGTH.pack(CANCEL_REQUEST) + key)


def whole(data: bytes) -> Iterator[Message]:
    """The typed messages that are complete."""
    start = 0
    while start + 1 + NUMBER_BYTES <= len(data) and (end := start + 1 + number(data, start + 1)) <= len(data):
        yield Message(data[start : start + 1], data[start + 1 + NUMBER_BYTES : end])
        start = end


def mechanisms(names: tuple[str, ...]) -> bytes:
    """The request for a password, in one of the ways that are named."""
    return _authentication(_SASL, b"".join(name.encode() + b"\0" for name in names) + b"\0")


def challenge(text: bytes) -> bytes:
    """A step of the exchange that proves the password."""
    return _authentication(_SASL_CONTINUE, text)


def outcome(text: bytes) -> bytes:
    """The last step of a successful exchange."""
    return _authentication(_SASL_FINAL, text)


def fatal(refusal: Refused) -> bytes:
    """The error that ends a connection."""
    fields = {"S": "FATAL", "V": "FATAL", "C": refusal.sqlstate, "M": refusal.message}
    body = "".join(f"{key}{value}\0" for key, value in fields.items()) + "\0"
    return typed(Message(b"E", body.encode()))


def _authentication(kind: int, body: bytes) -> bytes:
    return typed(Message(b"R", _LENGTH.pack(kind) + body))
