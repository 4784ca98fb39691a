"""The queries of requests; parameters that are not known are left aside."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, post_load, validate

from neon_emulator.schemas.fields import Id, Instant, Lsn, QueryFlag, QueryWhole, Text
from neon_emulator.service.wishes import ListWish

_RANGE = "must be {min} to {max}"
_CHOICE = "must be one of: {choices}"


class _Query(Schema):
    class Meta:
        unknown = EXCLUDE


def _limit(most: int, **options: Any) -> QueryWhole:
    return QueryWhole(validate=validate.Range(min=1, max=most, error=_RANGE), **options)


class Projects(_Query):
    """Which projects to list."""

    cursor = Text()
    limit = _limit(400, load_default=10)
    search = Text(load_default="")
    org_id = Id()
    timeout = QueryWhole(validate=validate.Range(min=100, max=30_000, error=_RANGE))
    recoverable = QueryFlag(load_default=False)


class Branches(_Query):
    """Which branches to list, and how; loads as a `ListWish`."""

    search = Text()
    sort_by = Text(validate=validate.OneOf(["name", "created_at", "updated_at"], error=_CHOICE))
    sort_order = Text(validate=validate.OneOf(["asc", "desc"], error=_CHOICE))
    limit = _limit(10_000)
    cursor = Text()
    include_deleted = QueryFlag()

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> ListWish:
        return ListWish(**data)


class Search(_Query):
    """Which branches to count."""

    search = Text(load_default="")


class Operations(_Query):
    """Which operations to list."""

    cursor = Text()
    limit = _limit(1000)


class SchemaOf(_Query):
    """Which database's schema, and as of when."""

    db_name = Text(required=True)
    lsn = Lsn()
    timestamp = Instant()
    format = Text(load_default="sql")


class Comparison(_Query):
    """Which database's schemas to compare, and as of when."""

    db_name = Text(required=True)
    base_branch_id = Id()
    lsn = Lsn()
    timestamp = Instant()
    base_lsn = Lsn()
    base_timestamp = Instant()


class ConnectionUri(_Query):
    """Which endpoint, role and database a URI is for."""

    branch_id = Id()
    endpoint_id = Id()
    database_name = Text(required=True)
    role_name = Text(required=True)
    pooled = QueryFlag()
