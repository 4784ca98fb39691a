"""The endpoints' certificate: made once, kept, for its owner's eyes alone."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from neon_emulator.front import certificate
from neon_emulator.front.certificate import CertificateBroken

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a certificate is to be."""
    return tmp_path / "certificate.pem"


def test_a_certificate_is_made_once(path: Path) -> None:
    """Whoever trusts it may go on to do so: the next start shows the same one."""
    first = certificate.load_or_make(path)
    second = certificate.load_or_make(path)

    assert (first.binding, first.secret) == (second.binding, second.secret)
    assert [file.name for file in path.parent.iterdir()] == ["certificate.pem"]


def test_nobody_else_can_read_the_key(path: Path) -> None:
    """The file with the key is its owner's alone, and what is derived from it is in no representation."""
    made = certificate.load_or_make(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret" not in repr(made)


def test_a_certificate_is_for_this_machine_and_for_long(path: Path) -> None:
    """It is a loopback name's, and outlives the project that it was made for."""
    certificate.load_or_make(path)
    made = x509.load_pem_x509_certificate(path.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert made.not_valid_after_utc - datetime.now(UTC) > timedelta(days=3600)


def test_a_certificate_whose_time_is_over_is_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start long after the first still has a certificate that clients take."""
    with monkeypatch.context() as past:
        past.setattr(certificate, "_VALID", timedelta(hours=-1))
        old = certificate.load_or_make(path)

    assert certificate.load_or_make(path).binding != old.binding


def test_no_old_tls_is_spoken(path: Path) -> None:
    """TLS 1.2 is the oldest, and Postgres's protocol the only one."""
    assert certificate.load_or_make(path).context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_a_file_that_is_no_certificate_is_named(path: Path, content: bytes) -> None:
    """The error says which file it is, and what to do."""
    path.write_bytes(content)

    with pytest.raises(CertificateBroken, match=r"certificate\.pem cannot be used .* Delete it\."):
        certificate.load_or_make(path)


def test_a_key_that_is_missing_is_named(path: Path) -> None:
    """Half a file is as good as none."""
    certificate.load_or_make(path)
    path.write_bytes(path.read_bytes().partition(b"-----BEGIN PRIVATE")[0])

    with pytest.raises(CertificateBroken, match="Delete it"):
        certificate.load_or_make(path)
