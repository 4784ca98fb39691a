"""Who may write: whoever has the token; without one, in development, a program on this machine."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from flask import request

from questions.database import settings
from questions.errors import NotAuthenticated, WritesClosed
from questions.urls import is_loopback_address

if TYPE_CHECKING:
    from pydantic import SecretStr

_READS = {"GET", "HEAD", "OPTIONS"}
_FORWARDED = {"FORWARDED", "VIA", "X-REAL-IP", "CF-CONNECTING-IP", "TRUE-CLIENT-IP"}


def check_writes() -> None:
    """Let a request that only reads pass; a write needs the token.

    Raises:
        NotAuthenticated: where a token is configured and the request has none, or another.
        WritesClosed: where none is configured and the request may come from another machine.
    """
    if request.method in _READS:
        return
    config = settings()
    if config.api_token is not None:
        _require(config.api_token)
    elif config.environment != "sqlite" or not _from_this_machine():
        raise WritesClosed(
            "Writes are closed: no token is configured. "
            "Set QUESTIONS_API_TOKEN and send it as Authorization: Bearer TOKEN."
        )


def _require(token: SecretStr) -> None:
    given = request.authorization
    if given is None or given.type != "bearer" or given.token is None:
        raise NotAuthenticated("Writes need the token, sent as Authorization: Bearer TOKEN.")
    if not hmac.compare_digest(given.token.encode(), token.get_secret_value().encode()):
        raise NotAuthenticated("This is not the token that QUESTIONS_API_TOKEN holds.")


def _from_this_machine() -> bool:
    """Behind a proxy on this machine every client has a loopback address, so more than that must point here."""
    names = {name.upper() for name, _ in request.headers}
    forwarded = names & _FORWARDED or any(name.startswith("X-FORWARDED") for name in names)
    return _is_here(request.remote_addr or "") and _is_here(_hostname(request.host)) and not forwarded


def _is_here(host: str) -> bool:
    return host == "localhost" or is_loopback_address(host)


def _hostname(host: str) -> str:
    """The host without its port and without the brackets of IPv6."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].lower()
