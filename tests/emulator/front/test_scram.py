"""SCRAM-SHA-256: what is kept of a password, and what a client may say to prove it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from neon_emulator.front import scram
from neon_emulator.front.messages import Refused

_BINDING = b"b" * 32
_NONCE = "rOprNGfwEbeRWgbNEkqO"
_PLUS = "p=tls-server-end-point,,"


class _Client:
    """The client's side, as RFC 5802 has it."""

    def __init__(self, password: str, header: str = "n,,", binding: bytes = b"") -> None:
        self.password = password
        self.header = header
        self.bound = base64.b64encode(header.encode() + binding).decode()
        self.bare = f"n=,r={_NONCE}"

    def first(self) -> bytes:
        return (self.header + self.bare).encode()

    def final(self, challenge: bytes, **instead: str) -> bytes:
        said = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(said["s"]), int(said["i"]))
        words = {"c": self.bound, "r": said["r"]} | instead
        unproven = ",".join(f"{key}={value}" for key, value in words.items() if key != "p")
        self.text = f"{self.bare},{challenge.decode()},{unproven}".encode()
        key = _hmac(salted, b"Client Key")
        proof = bytes(a ^ b for a, b in zip(key, _hmac(hashlib.sha256(key).digest(), self.text), strict=True))
        self.expected = _hmac(_hmac(salted, b"Server Key"), self.text)
        return f"{unproven},p={instead.get('p', base64.b64encode(proof).decode())}".encode()


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _exchange(mechanism: str = scram.PLAIN, binding: bytes | None = None) -> scram.Exchange:
    verifier = scram.parse(scram.build_verifier("secret"))
    assert verifier is not None
    return scram.Exchange(verifier, "app", mechanism, binding)


@pytest.mark.parametrize(
    ("mechanism", "binding", "header", "bound"),
    [
        (scram.PLAIN, None, "n,,", b""),
        (scram.PLAIN, None, "y,,", b""),
        (scram.PLAIN, _BINDING, "n,,", b""),
        (scram.PLUS, _BINDING, _PLUS, _BINDING),
    ],
)
def test_the_right_password_is_proven_on_both_sides(
    mechanism: str, binding: bytes | None, header: str, bound: bytes
) -> None:
    """A client that knows the password is accepted, and told so by a server that knows it too."""
    exchange, client = _exchange(mechanism, binding), _Client("secret", header, bound)

    outcome = exchange.outcome(client.final(exchange.challenge(client.first())))

    assert outcome == b"v=" + base64.b64encode(client.expected)


def test_a_wrong_password_is_refused() -> None:
    """The refusal is Postgres's own, and names the role."""
    exchange, client = _exchange(), _Client("guess")

    with pytest.raises(Refused, match=r'^password authentication failed for user "app"$') as refused:
        exchange.outcome(client.final(exchange.challenge(client.first())))

    assert refused.value.sqlstate == "28P01"


@pytest.mark.parametrize(
    ("instead", "sqlstate", "text"),
    [
        ({"r": "another"}, "08P01", "nonce does not match"),
        ({"r": _NONCE}, "08P01", "nonce does not match"),
        ({"c": "eSws"}, "28000", "channel binding check failed"),
        ({"c": "bm90"}, "28000", "channel binding check failed"),
        ({"c": "!"}, "08P01", "base64 cannot be read"),
        ({"p": "AAAA"}, "28P01", "password authentication failed"),
        ({"p": ""}, "08P01", "proof cannot be read"),
        ({"p": "é"}, "08P01", "base64 cannot be read"),
    ],
)
def test_a_final_message_that_was_changed_is_refused(instead: dict[str, str], sqlstate: str, text: str) -> None:
    """Nonce, channel binding and proof are all checked, although the password is right."""
    exchange, client = _exchange(), _Client("secret")

    with pytest.raises(Refused, match=text) as refused:
        exchange.outcome(client.final(exchange.challenge(client.first()), **instead))

    assert refused.value.sqlstate == sqlstate


def test_a_proof_for_another_certificate_is_refused() -> None:
    """Whoever stands between the two shows another certificate, and so is found out."""
    exchange, client = _exchange(scram.PLUS, _BINDING), _Client("secret", _PLUS, b"x" * 32)

    with pytest.raises(Refused, match="SCRAM channel binding check failed"):
        exchange.outcome(client.final(exchange.challenge(client.first())))


@pytest.mark.parametrize(
    ("mechanism", "binding", "first", "sqlstate", "text"),
    [
        (scram.PLAIN, _BINDING, f"y,,n=,r={_NONCE}", "28000", "thinks the server does not"),
        (scram.PLUS, _BINDING, f"n,,n=,r={_NONCE}", "08P01", "without channel binding"),
        (scram.PLUS, _BINDING, f"y,,n=,r={_NONCE}", "08P01", "without channel binding"),
        (scram.PLUS, _BINDING, f"p=tls-unique,,n=,r={_NONCE}", "08P01", "channel-binding type"),
        (scram.PLAIN, _BINDING, f"{_PLUS}n=,r={_NONCE}", "08P01", f"channel binding needs {scram.PLUS}"),
        (scram.PLAIN, None, f"n,a=root,n=,r={_NONCE}", "0A000", "authorization identity"),
        (scram.PLAIN, None, f"n,,m=x,n=,r={_NONCE}", "0A000", "unsupported SCRAM extension"),
        (scram.PLAIN, None, "n,,n=,r=", "08P01", "nonce cannot be read"),
        (scram.PLAIN, None, "n,,n=,r=a b", "08P01", "nonce cannot be read"),
        (scram.PLAIN, None, "", "08P01", "header cannot be read"),
        (scram.PLAIN, None, "x,,n=,r=a", "08P01", "header cannot be read"),
    ],
)
def test_a_first_message_that_breaks_the_rules_is_refused(
    mechanism: str, binding: bytes | None, first: str, sqlstate: str, text: str
) -> None:
    """RFC 5802's flags are believed in no combination that a downgrade could have made."""
    with pytest.raises(Refused, match=text) as refused:
        _exchange(mechanism, binding).challenge(first.encode())

    assert refused.value.sqlstate == sqlstate


def test_bytes_that_are_no_text_are_refused() -> None:
    """A message that is no UTF-8 is malformed."""
    with pytest.raises(Refused, match="not UTF-8"):
        _exchange().challenge(b"n,,n=\xff,r=a")


@pytest.mark.parametrize(("mechanism", "binding"), [("MD5", None), (scram.PLUS, None), ("MD5", _BINDING)])
def test_only_what_was_offered_can_be_chosen(mechanism: str, binding: bytes | None) -> None:
    """Without TLS there is no channel to bind to; other mechanisms there are none."""
    with pytest.raises(Refused, match="invalid SASL authentication mechanism"):
        _exchange(mechanism, binding)


def test_each_exchange_has_a_nonce_of_its_own() -> None:
    """What was said once cannot be said again."""
    first = _Client("secret").first()

    assert _exchange().challenge(first).split(b",")[0] != _exchange().challenge(first).split(b",")[0]


def test_a_verifier_is_what_postgres_keeps() -> None:
    """It has Postgres's form, 4096 iterations and a salt of its own, and does not have the password."""
    one, other = scram.build_verifier("secret"), scram.build_verifier("secret")

    assert one.startswith("SCRAM-SHA-256$4096:")
    assert one != other
    assert "secret" not in one
    parsed: Any = scram.parse(one)
    assert (parsed.iterations, len(parsed.salt), len(parsed.stored_key), len(parsed.server_key)) == (4096, 16, 32, 32)
    assert "key" not in repr(parsed)


def test_iterations_can_be_chosen() -> None:
    """A verifier says how often the password was hashed."""
    parsed: Any = scram.parse(scram.build_verifier("secret", iterations=7))

    assert parsed.iterations == 7


@pytest.mark.parametrize("text", ["", "md5c0ffee", "SCRAM-SHA-256$4096:!$a:b", "SCRAM-SHA-256$4096:a$b:c", "secret"])
def test_what_is_no_verifier_is_none(text: str) -> None:
    """A password that is kept in another way cannot be proven by SCRAM."""
    assert scram.parse(text) is None


def test_a_made_up_verifier_gives_nothing_away() -> None:
    """For an unknown role the salt is the same each time, as for a known one, and depends on a secret."""
    salt = scram.made_up("nobody", b"one").salt

    assert scram.made_up("nobody", b"one").salt == salt
    assert scram.made_up("somebody", b"one").salt != salt
    assert scram.made_up("nobody", b"another").salt != salt


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("plain", "plain"),
        ("ascii\tcontrol", "ascii\tcontrol"),
        ("I\u00adX", "IX"),
        ("\u2168", "IX"),
        ("\u00aa", "a"),
        ("a\u00a0b", "a b"),
        ("a\u200bb", "a b"),
        ("e\u0301", "\u00e9"),
        ("\u00ad", "\u00ad"),
        ("\u00e9\u0007", "\u00e9\u0007"),
        ("\u00e9\ue000", "\u00e9\ue000"),
        ("\u00e9\u0221", "\u00e9\u0221"),
        ("\u06271", "\u06271"),
        ("\u0627a\u0627", "\u0627a\u0627"),
        ("\u06271\u0628", "\u06271\u0628"),
        ("\ufb01\ue000", "\ufb01\ue000"),
    ],
)
def test_a_password_is_prepared_as_postgres_does(password: str, prepared: str) -> None:
    """SASLprep maps and normalises; a text that it does not allow stays as it is."""
    assert scram.prepared(password) == prepared
