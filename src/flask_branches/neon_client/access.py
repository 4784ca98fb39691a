"""What the client has to know: the key, the project, where the API is, and how long to wait for it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from flask_branches.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr

NEON = "https://console.neon.tech/api/v2"

# Narrower than RFC 3986: what two parsers could read differently would let the key go to another host than was checked.
_HOST = re.compile(
    r"(?P<scheme>https?)://(?P<host>(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?:/[a-z0-9._~/-]*)?",
    re.IGNORECASE,
)
_ID = re.compile(r"[a-z0-9-]{1,60}")
_KEY = re.compile(r"[!-~]+")
_LARGEST_PORT = 65535


@dataclass(frozen=True)
class Access:
    """The access to one project."""

    api_key: SecretStr
    project_id: str
    api_host: str = NEON
    timeout: timedelta = timedelta(seconds=30)
    """How long one request may take."""
    patience: timedelta = timedelta(minutes=2)
    """How long one call may take, with all its repeats and waits."""

    def __post_init__(self) -> None:
        """Refuse what cannot be used, before a key is sent anywhere.

        Raises:
            ConfigurationError: with the variable to correct.
        """
        _check_key(self.api_key)
        if not is_id(self.project_id):
            raise ConfigurationError(
                f"NEON_PROJECT_ID is {self.project_id!r}, which no project is called: copy it from the project's "
                "settings in Neon's console, such as old-violet-32930710."
            )
        object.__setattr__(self, "api_host", self.api_host.rstrip("/"))
        _check_host(self.api_host)
        for name in ("timeout", "patience"):
            if getattr(self, name) <= timedelta(0):
                raise ConfigurationError(f"The {name} for Neon is over before it begins: make it longer than nothing.")

    @property
    def is_local(self) -> bool:
        """Whether the API is on this machine."""
        match = _HOST.fullmatch(self.api_host)
        return match is not None and _is_loopback(match["host"])


def is_id(text: str) -> bool:
    """Whether a text can be an id of Neon's."""
    return _ID.fullmatch(text) is not None


def _check_key(key: SecretStr) -> None:
    text = key.get_secret_value()
    if not text:
        raise ConfigurationError("NEON_API_KEY is empty: set it to a key from the account settings in Neon's console.")
    if not _KEY.fullmatch(text):
        raise ConfigurationError(
            "NEON_API_KEY has characters that no key has, such as a space or a line's end: copy it again."
        )


def _check_host(text: str) -> None:
    match = _HOST.fullmatch(text)
    if "@" in text:
        raise ConfigurationError("NEON_API_HOST names a user: leave that out, the key is all that Neon asks for.")
    if match is None or int(match["port"] or 0) > _LARGEST_PORT:
        raise ConfigurationError(f"NEON_API_HOST {text!r} is no URL of an API: Neon's is {NEON}.")
    if match["scheme"].lower() == "http" and not _is_loopback(match["host"]):
        raise ConfigurationError(
            f"NEON_API_HOST {text!r} would have the key travel in the clear: write https:// (http:// is for an "
            "emulator on this machine)."
        )


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
