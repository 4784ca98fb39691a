"""Shape and validation of what comes in and goes out, and the same words for it in the OpenAPI description."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, validate

if TYPE_CHECKING:
    from collections.abc import Mapping

TITLE_LENGTH = 100
DESCRIPTION_LENGTH = 20_000
Q_LENGTH = 200
LARGEST_PAGE = 200
LARGEST_ID = 2**63 - 1

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NO_NUL = r"^[^\x00]*$"
_NOT_BLANK = r"^[^\x00]*[^\s\x00][^\x00]*$"
_TRIMMED = rf"^\s*[^\s\x00](?:[^\x00]{{0,{TITLE_LENGTH - 2}}}[^\s\x00])?\s*$"


class _Text(fields.String):
    """A string that every database can store, trimmed where asked."""

    def __init__(self, *, trim: bool = False, **kwargs: Any) -> None:
        self.trim = trim
        super().__init__(**kwargs)

    def _deserialize(self, value: object, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        if found := _UNSTORABLE.search(text):
            what = "a NUL character" if found[0] == "\x00" else "a lone surrogate"
            raise ValidationError(f"Holds {what}, which cannot be stored.")
        return text.strip() if self.trim else text


class _Number(fields.Integer):
    """A whole number as people write it: ``int`` would also take ``1_0``, ``+1`` and other scripts' digits."""

    def _validated(self, value: object) -> int:
        if not re.fullmatch("-?[0-9]+", str(value), re.ASCII):
            raise self.make_error("invalid", input=value)
        return int(super()._validated(value))


def _fits_a_line(title: str) -> None:
    # A function rather than Length alone, which would describe the untrimmed title.
    validate.Length(min=1, max=TITLE_LENGTH, error="Must be {min} to {max} characters long when trimmed.")(title)


def _not_blank(text: str) -> None:
    if not text.strip():
        raise ValidationError("Must not be blank.")


class QuestionInput(Schema):
    """A question as it is asked."""

    title = _Text(
        required=True,
        trim=True,
        validate=_fits_a_line,
        metadata={"description": f"Stored trimmed, 1 to {TITLE_LENGTH} characters.", "pattern": _TRIMMED},
    )
    description = _Text(
        required=True,
        validate=[validate.Length(max=DESCRIPTION_LENGTH), _not_blank],
        metadata={"description": "Stored as given, not blank.", "pattern": _NOT_BLANK},
    )


class QuestionChanges(QuestionInput):
    """The fields of a question that are to change."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"partial": True, **kwargs})


class QuestionOutput(Schema):
    """A question as it is stored."""

    id = fields.Integer(required=True, metadata={"minimum": 1, "maximum": LARGEST_ID})
    title = fields.String(required=True, validate=validate.Length(min=1, max=TITLE_LENGTH))
    description = fields.String(required=True, validate=validate.Length(min=1, max=DESCRIPTION_LENGTH))


class ListQuery(Schema):
    """What a list can be asked for."""

    limit = _Number(
        load_default=50,
        validate=validate.Range(min=1, max=LARGEST_PAGE),
        metadata={"description": "How many questions at most."},
    )
    after = _Number(
        load_default=0,
        validate=validate.Range(min=0, max=LARGEST_ID),
        metadata={"description": "Only questions with a larger id: where the last page ended."},
    )
    q = _Text(
        load_default="",
        validate=validate.Length(max=Q_LENGTH),
        metadata={
            "description": "Only questions with this text in their title or description, whatever its case.",
            "pattern": _NO_NUL,
        },
    )


class Health(Schema):
    """The service's own state."""

    status = fields.String(required=True, validate=validate.OneOf(["ok"]))


class Problem(Schema):
    """An error (RFC 9457)."""

    type = fields.String(required=True, metadata={"description": "A URI for the kind of error, or about:blank."})
    title = fields.String(required=True, metadata={"description": "The status in words."})
    status = fields.Integer(required=True, validate=validate.Range(min=400, max=599))
    detail = fields.String(required=True, metadata={"description": "What is wrong, and what to do."})
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "What is wrong by field; present with 422."},
    )
