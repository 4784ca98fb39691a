"""Requests as values, or a refusal that says which field is wrong, in Neon's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request
from marshmallow import ValidationError

from neon_emulator import strict_json
from neon_emulator.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from marshmallow import Schema

_REQUIRED = "Missing data for required field."
_NULL = "Field may not be null."


def body(schema: Schema, *, required: bool = True) -> Any:  # noqa: ANN401 - each schema makes its own kind
    """What a request's body says.

    Args:
        schema: what it should look like.
        required: whether there has to be one; else its absence means an empty object.

    Raises:
        InvalidRequest: where it does not look like that; the text names the field.
    """
    data = request.get_data()
    if not data and not required:
        data = b"{}"
    try:
        return schema.load(_parsed(data))
    except ValidationError as error:
        raise InvalidRequest(f"invalid request: decode application/json: {_told(error)}") from error


def query(schema: Schema) -> Any:  # noqa: ANN401 - each schema makes its own kind
    """What a request's query says, as the schema has it.

    Raises:
        InvalidRequest: where a parameter is wrong; the text names it.
    """
    try:
        return schema.load(request.args.to_dict())
    except ValidationError as error:
        raise InvalidRequest(f"invalid request: decode params: query: {_told(error)}") from error


def _parsed(data: bytes) -> dict[str, Any]:
    if not data:
        raise InvalidRequest("invalid request: decode request: body required")
    try:
        value = strict_json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"invalid request: decode application/json: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest("invalid request: decode application/json: the body must be an object")
    return value


def _told(error: ValidationError) -> str:
    messages = error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}
    found = ", ".join(f"{path} ({reason})" for path, reason in _flat(messages, ""))
    return f"invalid: {found}"


def _flat(messages: Mapping[Any, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, value in messages.items():
        if key == "_schema":
            here = path or "body"
        elif isinstance(key, int):
            here = f"{path}[{key}]"
        else:
            here = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict):
            yield from _flat(value, here)
        else:
            yield from ((here, _reason(str(message))) for message in value)


def _reason(message: str) -> str:
    known = {_REQUIRED: "field required", _NULL: "must not be null"}
    return known.get(message, message.rstrip("."))
