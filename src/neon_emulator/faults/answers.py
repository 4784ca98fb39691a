"""What Neon, or what stands in front of it, says with a status, for faults that bring no body of their own."""

from __future__ import annotations

import json
from http import HTTPStatus

from werkzeug import Response

GATEWAY_TIMEOUT = 524

REQUEST_ID = "x-neon-ret-request-id"

_SAID: dict[int, str] = {
    HTTPStatus.LOCKED: "project already has running conflicting operations, scheduling of new ones is prohibited",
    HTTPStatus.TOO_MANY_REQUESTS: "over the rate limit",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal server error",
    HTTPStatus.SERVICE_UNAVAILABLE: "the service is unavailable, it is safe to retry the request",
}

# Nobody behind the proxy has seen the request's end, so its page has none of the API's shape, nor of its headers.
_GATEWAY_PAGE = """<!DOCTYPE html>
<html lang="en-US">
<head><title>console.neon.tech | 524: A timeout occurred</title></head>
<body><h1>A timeout occurred</h1><p>Error code 524</p>
<p>The origin web server timed out responding to this request.</p></body>
</html>
"""


def answer(status: int, request_id: str, *, body: object = None, retry_after: int | None = None) -> Response:
    """A fault's answer.

    Args:
        status: the HTTP status.
        request_id: the id that the request is known by.
        body: a text, sent as it is, or anything that JSON has; None for what Neon says with that status.
        retry_after: seconds for the header of that name; None for an answer without it.
    """
    response = _own(status, body) if body is not None else _default(status, request_id)
    if status != GATEWAY_TIMEOUT:
        response.headers[REQUEST_ID] = request_id
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def error(status: int, message: str, request_id: str, code: str = "") -> Response:
    """An error in the API's own shape."""
    said = json.dumps({"request_id": request_id, "code": code, "message": message})
    return Response(said, status=status, content_type="application/json", headers={REQUEST_ID: request_id})


def _own(status: int, body: object) -> Response:
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
        return Response(body, status=status, content_type=f"{kind}; charset=utf-8")
    return Response(json.dumps(body), status=status, content_type="application/json")


def _default(status: int, request_id: str) -> Response:
    if status == GATEWAY_TIMEOUT:
        return Response(_GATEWAY_PAGE, status="524 A Timeout Occurred", content_type="text/html; charset=UTF-8")
    return error(status, _SAID.get(status) or _phrase(status), request_id)


def _phrase(status: int) -> str:
    known = {one.value: one.phrase for one in HTTPStatus}
    return known.get(status, f"status {status}").lower()
