"""SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677): what is kept of a password, and how it is proven."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from dataclasses import dataclass, field

from neon_emulator.front.messages import (
    INVALID_AUTHORIZATION,
    INVALID_PASSWORD,
    NOT_SUPPORTED,
    PROTOCOL_VIOLATION,
    Refused,
)

PLAIN = "SCRAM-SHA-256"
PLUS = "SCRAM-SHA-256-PLUS"

_ITERATIONS = 4096
_SALT_BYTES = 16
_NONCE_BYTES = 18
_BINDING = "tls-server-end-point"
_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")
_FIRST = re.compile(r"(?P<flag>y|n|p=[A-Za-z0-9.-]+),(?P<authzid>[^,]*),(?P<bare>.*)", re.DOTALL)
_BARE = re.compile(r"n=[^,]*,r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]*)*")
_FINAL = re.compile(r"(?P<unproven>c=(?P<binding>[^,]+),r=(?P<nonce>[^,]+)(?:,[A-Za-z]=[^,]*)*),p=(?P<proof>[^,]+)")

# RFC 4013, 2.3; a table of RFC 3454 each.
_PROHIBITED = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


@dataclass(frozen=True)
class Verifier:
    """What a server keeps of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def build_verifier(password: str, *, iterations: int = _ITERATIONS) -> str:
    """What Postgres keeps of a password, with a salt of its own, as `CREATE ROLE … PASSWORD` takes it.

    Args:
        password: any text; prepared as Postgres and its clients do.
        iterations: how often the password is hashed.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password).encode(), salt, iterations)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server = _hmac(salted, b"Server Key")
    return f"{PLAIN}${iterations}:{_encoded(salt)}${_encoded(stored)}:{_encoded(server)}"


def parse(text: str) -> Verifier | None:
    """Read what Postgres keeps; None for a password that is kept in another way, such as MD5."""
    found = _VERIFIER.fullmatch(text)
    if found is None:
        return None
    try:
        salt, stored, server = (base64.b64decode(part, validate=True) for part in found.groups()[1:])
    except binascii.Error:
        return None
    return Verifier(int(found[1]), salt, stored, server)


def made_up(role: str, secret: bytes) -> Verifier:
    """A verifier that no password fits, the same each time: a stranger cannot tell whether a role exists."""
    salt = _hmac(secret, role.encode())[:_SALT_BYTES]
    return Verifier(_ITERATIONS, salt, secrets.token_bytes(32), secrets.token_bytes(32))


def prepared(password: str) -> str:
    """A password after SASLprep (RFC 4013), or as it is where that does not allow it, like Postgres."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if stringprep.in_table_c12(character) or not stringprep.in_table_b1(character)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if not normal or any(table(character) for character in normal for table in _PROHIBITED):
        return password
    return normal if _reads_one_way(normal) else password


def _reads_one_way(text: str) -> bool:
    """RFC 3454, 6: a text with letters that run from right to left begins and ends with them, and has no others."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(map(stringprep.in_table_d2, text))


class Exchange:
    """One client's proof.

    Args:
        verifier: the role's, or a made-up one.
        role: the name that a failure is told with.
        mechanism: the one that the client has chosen.
        binding: the hash of the certificate that the connection is encrypted with; None without TLS.
    """

    def __init__(self, verifier: Verifier, role: str, mechanism: str, binding: bytes | None) -> None:
        """Begin."""
        if mechanism not in offered(encrypted=binding is not None):
            raise Refused(PROTOCOL_VIOLATION, "client selected an invalid SASL authentication mechanism")
        self._verifier = verifier
        self._role = role
        self._plus = mechanism == PLUS
        self._binding = binding
        self._bound = b""
        self._nonce = ""
        self._said = ""

    def challenge(self, first: bytes) -> bytes:
        """The answer to the client's first message.

        Raises:
            Refused: where the message breaks the protocol, or tells of a downgrade.
        """
        found = _FIRST.fullmatch(_text(first))
        if found is None:
            raise Refused(PROTOCOL_VIOLATION, "malformed SCRAM message: its header cannot be read")
        self._check_flag(found["flag"])
        if found["authzid"]:
            raise Refused(NOT_SUPPORTED, "client uses authorization identity, but it is not supported")
        if found["bare"].startswith("m="):
            raise Refused(NOT_SUPPORTED, "client requires an unsupported SCRAM extension")
        bare = _BARE.fullmatch(found["bare"])
        if bare is None:
            raise Refused(PROTOCOL_VIOLATION, "malformed SCRAM message: its nonce cannot be read")
        header = f"{found['flag']},{found['authzid']},".encode()
        self._bound = header + (self._binding or b"" if self._plus else b"")
        self._nonce = bare["nonce"] + _encoded(secrets.token_bytes(_NONCE_BYTES))
        challenge = f"r={self._nonce},s={_encoded(self._verifier.salt)},i={self._verifier.iterations}"
        self._said = f"{found['bare']},{challenge},"
        return challenge.encode()

    def outcome(self, final: bytes) -> bytes:
        """The server's own proof, in answer to the client's.

        Raises:
            Refused: where the password is wrong, or the message breaks the protocol.
        """
        found = _FINAL.fullmatch(_text(final))
        if found is None:
            raise Refused(PROTOCOL_VIOLATION, "malformed SCRAM message: its proof cannot be read")
        if not hmac.compare_digest(_decoded(found["binding"]), self._bound):
            raise Refused(INVALID_AUTHORIZATION, "SCRAM channel binding check failed")
        if not hmac.compare_digest(found["nonce"].encode(), self._nonce.encode()):
            raise Refused(PROTOCOL_VIOLATION, "invalid SCRAM response: the nonce does not match")
        said = (self._said + found["unproven"]).encode()
        if not self._is_proven(_decoded(found["proof"]), said):
            raise Refused(INVALID_PASSWORD, f'password authentication failed for user "{self._role}"')
        return b"v=" + _encoded(_hmac(self._verifier.server_key, said)).encode()

    def _check_flag(self, flag: str) -> None:
        if self._plus and not flag.startswith("p="):
            raise Refused(PROTOCOL_VIOLATION, f"malformed SCRAM message: {PLUS} was chosen without channel binding")
        if flag == "y" and self._binding is not None:
            raise Refused(
                INVALID_AUTHORIZATION,
                "SCRAM channel binding negotiation error: "
                "the client supports channel binding but thinks the server does not",
            )
        if flag.startswith("p=") and not self._plus:
            raise Refused(PROTOCOL_VIOLATION, f"malformed SCRAM message: channel binding needs {PLUS}")
        if flag.startswith("p=") and flag != f"p={_BINDING}":
            raise Refused(PROTOCOL_VIOLATION, f"unsupported SCRAM channel-binding type: use {_BINDING}")

    def _is_proven(self, proof: bytes, said: bytes) -> bool:
        signature = _hmac(self._verifier.stored_key, said)
        if len(proof) != len(signature):
            return False
        key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
        return hmac.compare_digest(hashlib.sha256(key).digest(), self._verifier.stored_key)


def offered(*, encrypted: bool) -> tuple[str, ...]:
    """The mechanisms that a client may choose from."""
    return (PLUS, PLAIN) if encrypted else (PLAIN,)


def _text(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise Refused(PROTOCOL_VIOLATION, "malformed SCRAM message: it is not UTF-8") from None


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except binascii.Error:
        raise Refused(PROTOCOL_VIOLATION, "malformed SCRAM message: its base64 cannot be read") from None
