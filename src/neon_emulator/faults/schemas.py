"""What the control of the emulator is asked with."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from neon_emulator.faults.rules import ANY, Effect, Fault

LONGEST_DELAY = 600
FURTHEST = 315_576_000
_LONGEST_PATH = 500
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", ANY)


def _path(path: str) -> None:
    if not path.startswith("/") or path.startswith("/api/v2"):
        raise ValidationError("a pattern below /api/v2, such as /projects/*/branches")


class FaultSchema(Schema):
    """A fault, as it is set."""

    method = fields.String(load_default=ANY, validate=validate.OneOf(_METHODS))
    path = fields.String(load_default="/**", validate=[_path, validate.Length(max=_LONGEST_PATH)])
    skip = fields.Integer(load_default=0, strict=True, validate=validate.Range(min=0))
    times = fields.Integer(load_default=1, strict=True, validate=validate.Range(min=1))
    status = fields.Integer(strict=True, validate=validate.Range(min=400, max=599))
    retry_after = fields.Integer(strict=True, validate=validate.Range(min=0))
    body = fields.Raw()
    done = fields.Boolean(truthy={True}, falsy={False})
    delay_before = fields.Float(validate=validate.Range(min=0, max=LONGEST_DELAY))
    delay_after = fields.Float(validate=validate.Range(min=0, max=LONGEST_DELAY))
    close = fields.String(validate=validate.OneOf(("before", "after")))

    @validates_schema
    def _hold_together(self, data: dict[str, Any], **_: Any) -> None:
        if not {"status", "delay_before", "delay_after", "close"} & data.keys():
            raise ValidationError("one of status, delay_before, delay_after and close is needed", "status")
        if "status" in data and "close" in data:
            raise ValidationError("a closed connection has no status: leave out one of them", "close")
        for key in ("retry_after", "body", "done"):
            if key in data and "status" not in data:
                raise ValidationError("it goes with status alone", key)
        if data.get("close") == "before" and "delay_after" in data:
            raise ValidationError("nothing comes after close: before", "delay_after")

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Fault:
        rule = {key: data.pop(key) for key in ("method", "path", "skip")}
        return Fault(**rule, left=data.pop("times"), effect=Effect(**data))


class ClockSchema(Schema):
    """How far the clock is moved: by seconds, or to a time."""

    advance = fields.Float()
    advance_to = fields.AwareDateTime(format="iso")

    @validates_schema
    def _one(self, data: dict[str, Any], **_: Any) -> None:
        if len(data) != 1:
            raise ValidationError("either advance, in seconds, or advance_to, a time with its zone", "advance")


class SinceSchema(Schema):
    """From where on the requests are listed."""

    since = fields.Integer(load_default=0, validate=validate.Range(min=0))
