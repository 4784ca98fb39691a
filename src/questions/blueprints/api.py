"""flask-smorest with this project's rules: strict requests, problem+json, every answer described."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl

import flask_smorest
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from questions import errors
from questions.schemas import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import marshmallow
    from flask import Request, Response

    View = Callable[..., Any]

JSON = "application/json"

_log = logging.getLogger(__name__)

# Each reads as `@blueprint.problems(404, 412)`: what a view can answer beside its own.
_WHEN = {
    400: "The body is missing, or is not JSON.",
    401: "The token is missing or wrong.",
    403: "No token is configured, so that nobody may write from here.",
    404: "There is no such question.",
    412: "The question has changed since.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "A field or parameter is not as described.",
    503: "The database cannot be used now.",
}


class Parser(FlaskParser):
    """Reads a request strictly: a wrong type, an unreadable body and an unknown key are refused, not ignored."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": None, "query": None}  # noqa: RUF012  webargs' name; None: as the schema says

    def load_json(self, req: Request, schema: marshmallow.Schema) -> Any:  # noqa: ANN401  whatever JSON holds
        """The body as JSON."""
        body = _body(req)
        if not body:
            raise errors.MalformedInput("The body is empty; send a JSON object.")
        if not req.is_json:
            raise errors.UnsupportedMedia("The body must be JSON; send it with Content-Type: application/json.")
        try:
            return json.loads(body)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise errors.MalformedInput(f"The body is not JSON: {error.msg} at {where}.") from None
        except (ValueError, RecursionError):
            raise errors.MalformedInput("The body is not JSON that can be read.") from None

    def load_querystring(self, req: Request, schema: marshmallow.Schema) -> dict[str, str]:
        """The query, in which a byte that is not UTF-8 stays visible, as a surrogate that the schema refuses."""
        text = req.query_string.decode("utf-8", "surrogateescape")
        given = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
        if repeated := {name for name, times in Counter(name for name, _ in given).items() if times > 1}:
            raise errors.InvalidInput({_shown(name): ["Given more than once."] for name in repeated})
        return dict(given)

    def handle_error(
        self,
        error: marshmallow.ValidationError,
        req: Request,
        schema: marshmallow.Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        """One error, its messages by field."""
        by_field: dict[str, list[str]] = {}
        for messages in error.messages_dict.values():
            by_field |= messages
        raise errors.InvalidInput({_shown(name): texts for name, texts in by_field.items()})


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose views read strictly and describe their problems."""

    ARGUMENTS_PARSER = Parser()

    def problems(self, *statuses: int) -> Callable[[View], View]:
        """Describe the errors that a view can answer, beside those of every view that reads the database."""

        def decorate(view: View) -> View:
            for status in statuses:
                view = self.alt_response(
                    status, schema=Problem, content_type=errors.PROBLEM, description=_WHEN[status]
                )(view)
            return view

        return decorate


class Api(flask_smorest.Api):
    """The OpenAPI description, with this project's errors."""

    ERROR_SCHEMA = Problem
    DEFAULT_RESPONSE_CONTENT_TYPE = errors.PROBLEM  # of the errors that flask-smorest adds by itself

    def handle_http_exception(self, error: HTTPException) -> Response:
        """The one error shape, in place of flask-smorest's."""
        return errors.from_http(error)

    def describe_bearer_token(self) -> None:
        """Name the token in the description, so that its page can ask for it."""
        self.spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})


def _body(req: Request) -> bytes:
    try:
        body = req.get_data()
        # Of a chunked body, whose length nobody announced, Werkzeug reads as much as is allowed and leaves the rest.
        too_large = "wsgi.input_terminated" in req.environ and bool(req.environ["wsgi.input"].read(1))
    except HTTPException:
        raise
    except Exception as error:  # noqa: BLE001  each WSGI server has its own for chunks that are none or a lost client
        _log.info("a body cannot be read: %s", type(error).__name__)
        raise errors.MalformedInput("The body cannot be read: its chunks are malformed, or it ends early.") from None
    if too_large:
        raise RequestEntityTooLarge
    return body


def _shown(name: str) -> str:
    """A field's name as it can be sent back: an unknown one is the caller's text, marshmallow's is the whole body."""
    return "body" if name == "_schema" else re.sub("[\ud800-\udfff]", "\ufffd", name)
