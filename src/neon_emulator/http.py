"""The layer between requests and the service: who may ask, the one error shape, the request's id."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import psycopg
from flask import current_app, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from neon_emulator import engine, errors
from neon_emulator.faults import answers

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug import Response

    from neon_emulator.service.emulation import Emulation, Service

API = "/api/v2"
EXTENSION = "neon_emulator"
LARGEST_BODY = 1 << 20

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d{1,5})?", re.ASCII)
_PRIVATE = ("Cache-Control", "no-store")

STATUS: dict[type[Exception], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.ForeignHost: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.AlreadyExists: HTTPStatus.CONFLICT,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.NotAllowed: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.LimitExceeded: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Busy: HTTPStatus.LOCKED,
    errors.NotEmulated: HTTPStatus.NOT_IMPLEMENTED,
    engine.ClusterBusy: HTTPStatus.LOCKED,
    engine.EngineGone: HTTPStatus.SERVICE_UNAVAILABLE,
    engine.ServerLost: HTTPStatus.SERVICE_UNAVAILABLE,
    engine.ClusterFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    # The state and the clusters disagree: somebody has deleted a folder.
    engine.ClusterMissing: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Check every request, and answer every error in Neon's shape."""
    app.before_request(_check)
    app.after_request(_name)
    app.register_error_handler(errors.Refusal, _from_refusal)
    app.register_error_handler(engine.EngineError, _from_engine)
    app.register_error_handler(psycopg.Error, _from_postgres)
    app.register_error_handler(HTTPException, _from_http)


def emulation() -> Emulation:
    """The emulator that the request is for."""
    return cast("Emulation", current_app.extensions[EXTENSION])


def service() -> Service:
    """Neon's rules."""
    return emulation().service


def check_key() -> None:
    """Refuse a request without the key.

    Raises:
        NotAuthenticated: where it has none, or another one.
    """
    if not _is_known(request.headers.get("Authorization", "")):
        raise errors.NotAuthenticated("authentication is required: send the key as Authorization: Bearer <key>")


def request_id(given: str) -> str:
    """The id that a request is known by: the one that its client gave where that is sane, else a new one."""
    return given if _SANE_ID.fullmatch(given) else str(uuid.uuid4())


def _check() -> None:
    g.request_id = request_id(request.headers.get("X-Request-ID", ""))
    # A page of the web can have its own host's name lead here, and would then be let in.
    if not _is_loopback(request.headers.get("Host", "")):
        raise errors.ForeignHost(f"the emulator is on 127.0.0.1 alone, and the Host is {request.headers.get('Host')}")
    if f"{request.path}/".startswith(f"{API}/"):
        check_key()


def _is_loopback(header: str) -> bool:
    found = _HOST.fullmatch(header)
    name = found[1].strip("[]").lower() if found else ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_known(header: str) -> bool:
    kind, _, key = header.partition(" ")
    wanted = emulation().settings.api_key
    return kind.lower() == "bearer" and hmac.compare_digest(key.strip().encode(), wanted.encode())


def _name(answer: Response) -> Response:
    answer.headers[answers.REQUEST_ID] = g.request_id
    answer.headers.add(*_PRIVATE)
    return answer


def _from_refusal(error: errors.Refusal) -> Response:
    return _answer(STATUS[type(error)], str(error), error.code)


def _from_engine(error: engine.EngineError) -> Response:
    _log.error("%s %s: %s", request.method, request.path, error)
    return _answer(STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR), str(error))


def _from_postgres(error: psycopg.Error) -> Response:
    _log.error("%s %s: %s", request.method, request.path, error)
    if engine.is_lost(error):
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE, "the branch's Postgres has ended meanwhile: try again")
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, error.diag.message_primary or str(error))


def _from_http(error: HTTPException) -> Response:
    if isinstance(error, NotFound | MethodNotAllowed) and f"{request.path}/".startswith(f"{API}/"):
        return _from_refusal(errors.NotEmulated(f"the emulator has no such operation: {request.method} {request.path}"))
    given = error.get_response()
    answer = _answer(HTTPStatus(given.status_code), error.description or "")
    for name in ("Allow", "Location"):
        if name in given.headers:
            answer.headers[name] = given.headers[name]
    return answer


def _answer(status: HTTPStatus, message: str, code: str = "") -> Response:
    return answers.error(status, message, g.request_id, code)
