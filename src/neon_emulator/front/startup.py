"""How a client begins: with or without encryption, to cancel another session's query, or to have a session."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neon_emulator.front import messages
from neon_emulator.front.certificate import ALPN
from neon_emulator.front.messages import NOT_SUPPORTED, PROTOCOL_VIOLATION, Refused

if TYPE_CHECKING:
    from neon_emulator.front.certificate import Certificate
    from neon_emulator.front.channel import Channel

_LIMIT = 10_000  # bytes, as Postgres has it
_CANCEL_BYTES = range(12, 265)  # code, process, and a key of up to 256 bytes
_TLS_HANDSHAKE = b"\x16"
_WORD = re.compile(rb"(?:\\.|[^\s\\])+", re.DOTALL)
_ENDPOINT = re.compile(rb"endpoint(?:=|%3D)", re.IGNORECASE)
_PAST = re.compile(rb"neon_(?:timestamp|lsn)(?::|%3A)", re.IGNORECASE)


@dataclass(frozen=True)
class Startup:
    """What a client wants of its session: the protocol's version, and its parameters by name."""

    version: int
    parameters: dict[bytes, bytes] = field(repr=False)

    @property
    def role(self) -> str:
        """The name of the role; one that is no UTF-8 is nobody's."""
        return self.parameters[b"user"].decode(errors="replace")

    def packet(self, options: str) -> bytes:
        """The packet for the server.

        Args:
            options: more of them, which outweigh the client's own.
        """
        parameters = dict(self.parameters)
        words = b" ".join(filter(None, (parameters.get(b"options"), options.encode())))
        if words:
            parameters[b"options"] = words
        return messages.startup(self.version, parameters)


@dataclass(frozen=True)
class Cancel:
    """The wish to cancel a query: what the server of the session has to be sent, and nothing else."""

    packet: bytes = field(repr=False)


async def receive(channel: Channel, certificate: Certificate) -> Startup | Cancel:
    """Agree on encryption, and read what the client wants.

    Raises:
        Ended: where the client goes.
        OSError: where TLS fails.
        Refused: for what is no startup of Postgres's.
    """
    if await channel.begins_with(_TLS_HANDSHAKE):
        await _encrypt_at_once(channel, certificate)
    while True:
        body = await _packet(channel)
        code = messages.number(body)
        if code == messages.SSL_REQUEST and channel.tls is None:
            await channel.write(b"S")
            await channel.encrypt(certificate.context)
        elif code == messages.GSS_REQUEST and channel.tls is None:
            await channel.write(b"N")
        elif code == messages.CANCEL_REQUEST:
            return _cancel(body)
        else:
            return _startup(code, body[messages.NUMBER_BYTES :])


async def _encrypt_at_once(channel: Channel, certificate: Certificate) -> None:
    await channel.encrypt(certificate.context)
    if channel.tls is None or channel.tls.selected_alpn_protocol() != ALPN:
        raise Refused(PROTOCOL_VIOLATION, f"direct TLS without the ALPN protocol {ALPN}: use sslnegotiation=postgres")


async def _packet(channel: Channel) -> bytes:
    size = messages.number(await channel.read(messages.NUMBER_BYTES)) - messages.NUMBER_BYTES
    if not messages.NUMBER_BYTES <= size <= _LIMIT:
        raise Refused(PROTOCOL_VIOLATION, f"invalid length of startup packet: {size + messages.NUMBER_BYTES}")
    return await channel.read(size)


def _cancel(body: bytes) -> Cancel:
    if len(body) not in _CANCEL_BYTES:
        raise Refused(
            PROTOCOL_VIOLATION, f"invalid length of cancel request packet: {len(body) + messages.NUMBER_BYTES}"
        )
    return Cancel(messages.packet(body))


def _startup(version: int, words: bytes) -> Startup:
    major, minor = version >> 16, version & 0xFFFF
    if major != messages.MAJOR_VERSION:
        raise Refused(NOT_SUPPORTED, f"unsupported frontend protocol {major}.{minor}: server supports 3.0 and newer")
    parameters = _parameters(words)
    if not parameters.get(b"user"):
        raise Refused(messages.INVALID_AUTHORIZATION, "no PostgreSQL user name specified in startup packet")
    if b"options" in parameters:
        parameters[b"options"] = _without_endpoint(parameters[b"options"])
    return Startup(version, parameters)


def _parameters(words: bytes) -> dict[bytes, bytes]:
    """Names and values in turn, each closed by a NUL, and one more; of a name given twice the last counts, as ever."""
    parts = words.split(b"\0")
    names, values = parts[:-2:2], parts[1:-2:2]
    if parts[-2:] != [b"", b""] or len(names) != len(values) or b"" in names:
        raise Refused(PROTOCOL_VIOLATION, "invalid startup packet layout: expected terminator as last byte")
    return dict(zip(names, values, strict=True))


def _without_endpoint(options: bytes) -> bytes:
    """The options without those that are for Neon's front: the port tells the endpoint already."""
    words = _WORD.findall(options)
    past = [word for word in words if _PAST.match(word)]
    if past:
        raise Refused(
            NOT_SUPPORTED,
            f"the emulator cannot connect to a past point as {past[0].decode(errors='replace')!r} asks: "
            "create a branch at that point, and connect to it",
        )
    kept = [word for word in words if not _ENDPOINT.match(word)]
    return options if len(kept) == len(words) else b" ".join(kept)
