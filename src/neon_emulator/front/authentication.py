"""The conversation in which a client proves that it knows a role's password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neon_emulator.front import messages, scram
from neon_emulator.front.messages import PROTOCOL_VIOLATION, Refused

if TYPE_CHECKING:
    from neon_emulator.front.certificate import Certificate
    from neon_emulator.front.channel import Channel

_LIMIT = 10_000  # bytes; a message of SCRAM has some hundred
_NOTHING = 0xFFFFFFFF  # the length, -1, of a first message that is not there


async def authenticate(channel: Channel, role: str, verifier: str | None, certificate: Certificate) -> None:
    """Have a password proven; the client is told of the success, except for the server's own word.

    Args:
        channel: the client's.
        role: its name.
        verifier: what the server keeps of the role's password; None where there is no such role, or it has none.
        certificate: what the connection is encrypted with, if it is.

    Raises:
        Ended: where the client goes, as one does that has to ask for the password first.
        OSError: where the connection fails.
        Refused: where the password is wrong, or the client breaks the protocol.
    """
    encrypted = channel.tls is not None
    await channel.write(messages.mechanisms(scram.offered(encrypted=encrypted)))
    mechanism, first = _first(await _answer(channel))
    known = scram.parse(verifier) if verifier is not None else None
    exchange = scram.Exchange(
        known or scram.made_up(role, certificate.secret),
        role,
        mechanism,
        certificate.binding if encrypted else None,
    )
    if first is None:
        await channel.write(messages.challenge(b""))
        first = await _answer(channel)
    await channel.write(messages.challenge(exchange.challenge(first)))
    await channel.write(messages.outcome(exchange.outcome(await _answer(channel))))


async def _answer(channel: Channel) -> bytes:
    message = await channel.read_message(_LIMIT)
    if message.kind != b"p":
        raise Refused(PROTOCOL_VIOLATION, f"expected SASL response, got message type {message.kind[0]}")
    return message.body


def _first(body: bytes) -> tuple[str, bytes | None]:
    """The mechanism's name, and the first message where there is one."""
    name, _, rest = body.partition(b"\0")
    if len(rest) < messages.NUMBER_BYTES:
        raise Refused(PROTOCOL_VIOLATION, "malformed SASL response: it ends before its first message")
    size, text = messages.number(rest), rest[messages.NUMBER_BYTES :]
    if size == _NOTHING and not text:
        return name.decode(errors="replace"), None
    if size != len(text):
        raise Refused(PROTOCOL_VIOLATION, f"malformed SASL response: {size} bytes announced, {len(text)} there")
    return name.decode(errors="replace"), text
