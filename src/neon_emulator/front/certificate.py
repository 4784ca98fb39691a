"""The certificate that every endpoint shows: made once for a folder of data, and kept."""

from __future__ import annotations

import hashlib
import os
import secrets
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

ALPN = "postgresql"

_VALID = timedelta(days=3650)
_SKEW = timedelta(days=1)  # a clock that was set back must not find a certificate of the future
_WEAK = ("md5", "sha1")


class CertificateBroken(Exception):
    """The file of the certificate cannot be read or written; the text names it and the remedy."""


@dataclass(frozen=True)
class Certificate:
    """What the front shows to its clients.

    Args:
        context: for the server's side of TLS.
        binding: the certificate's hash that a client ties its password's proof to (RFC 5929, tls-server-end-point).
        secret: bytes that only the owner of the key knows, and that stay the same.
    """

    context: ssl.SSLContext
    binding: bytes
    secret: bytes = field(repr=False)


def load_or_make(path: Path) -> Certificate:
    """Read a certificate and its key, after making both where there are none or their time is over.

    Args:
        path: one PEM file for both, with mode 0600.

    Raises:
        CertificateBroken: where the file cannot be read, written or understood.
    """
    try:
        if not path.exists() or _is_over(path.read_bytes()):
            _write(path, _make())
        return _load(path, path.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateBroken(f"{path} cannot be used as the endpoints' certificate: {error}. Delete it.") from error


class _Secured(ssl.SSLSocket):
    """A socket whose handshake finds out that its client is gone.

    `wrap_socket` asks for the peer's name, and where the client has reset the connection it raises without closing the
    new socket (CPython up to 3.14): nobody has it then.
    """

    def getpeername(self) -> object:
        """The peer's address; None where the client is gone."""
        try:
            return super().getpeername()
        except OSError:
            return None


def _load(path: Path, pem: bytes) -> Certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = _Secured
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0  # no client of Postgres resumes
    context.set_alpn_protocols([ALPN])
    context.load_cert_chain(path)
    certificate = x509.load_pem_x509_certificate(pem)
    return Certificate(context, _binding(certificate), hashlib.sha256(b"secret" + pem).digest())


def _binding(certificate: x509.Certificate) -> bytes:
    algorithm = certificate.signature_hash_algorithm
    name = "sha256" if algorithm is None or algorithm.name in _WEAK else algorithm.name
    return hashlib.new(name, certificate.public_bytes(serialization.Encoding.DER)).digest()


def _is_over(pem: bytes) -> bool:
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc <= datetime.now(UTC)


def _make() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private


def _write(path: Path, pem: bytes) -> None:
    """Put a file in place whole, or not at all."""
    new = path.with_name(f"{path.name}.new-{secrets.token_hex(4)}")
    try:
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as writing:
            writing.write(pem)
            writing.flush()
            os.fsync(file)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
