"""The bodies of requests; fields that are not known are left aside, since clients are newer than this."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from neon_emulator.schemas.fields import Decimal, Flag, Id, Instant, Lsn, Object, Text, Whole
from neon_emulator.service.wishes import BranchWish, EndpointWish, Moment, ProjectWish, RestoreWish

LONGEST_NAME = 256
LONGEST_ENDPOINT_NAME = 64
LONGEST_RETENTION = 2_592_000
LONGEST_SUSPEND = 604_800
SHORTEST_SUSPEND = 60
MOST_ANNOTATIONS = 50

_LENGTH = "must be {min} to {max} characters long"
_RANGE = "must be {min} to {max}"
_CHOICE = "must be one of: {choices}"


class _Body(Schema):
    class Meta:
        unknown = EXCLUDE


def _name(**options: Any) -> Text:
    return Text(validate=validate.Length(min=1, max=LONGEST_NAME, error=_LENGTH), **options)


def _suspend_timeout() -> Whole:
    return Whole(validate=_check_suspend_timeout)


def _check_suspend_timeout(seconds: int) -> None:
    if seconds not in {-1, 0} and not SHORTEST_SUSPEND <= seconds <= LONGEST_SUSPEND:
        raise ValidationError(f"must be -1, 0, or {SHORTEST_SUSPEND} to {LONGEST_SUSPEND}")


def _compute_unit() -> Decimal:
    return Decimal(validate=validate.Range(min=0.25, error="must be 0.25 or more"))


def _annotation(**options: Any) -> Object:
    return Object(validate=validate.Length(max=MOST_ANNOTATIONS, error="must not have more than {max} keys"), **options)


def _retention() -> Whole:
    return Whole(validate=validate.Range(min=0, max=LONGEST_RETENTION, error=_RANGE))


class _EndpointOptions(_Body):
    autoscaling_limit_min_cu = _compute_unit()
    autoscaling_limit_max_cu = _compute_unit()
    suspend_timeout_seconds = _suspend_timeout()
    provisioner = Text()
    settings = Object(allow_none=True)


class _NewEndpoint(_EndpointOptions):
    type = Text(required=True, validate=validate.OneOf(["read_write", "read_only"], error=_CHOICE))

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> EndpointWish:
        return EndpointWish(**data)


class _FullEndpoint(_EndpointOptions):
    name = Text(validate=validate.Length(min=1, max=LONGEST_ENDPOINT_NAME, error=_LENGTH))
    pooler_enabled = Flag()
    pooler_mode = Text(validate=validate.OneOf(["transaction"], error=_CHOICE))
    disabled = Flag()
    passwordless_access = Flag()


class _EndpointOfBranch(_FullEndpoint, _NewEndpoint):
    branch_id = Id(required=True)
    region_id = Text()


class NewEndpoint(_Body):
    """An endpoint to be made; loads as an `EndpointWish`."""

    endpoint = fields.Nested(_EndpointOfBranch, required=True)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> EndpointWish:
        wish: EndpointWish = data["endpoint"]
        return wish


class _EndpointFields(_FullEndpoint):
    branch_id = Id()


class EndpointChanges(_Body):
    """The settings of an endpoint that are to change."""

    endpoint = fields.Nested(_EndpointFields, required=True)


class _NewBranchFields(_Body):
    parent_id = Id()
    name = _name()
    parent_lsn = Lsn()
    parent_timestamp = Instant()
    protected = Flag()
    archived = Flag(validate=validate.Equal(comparable=False, error="the emulator does not archive branches"))
    init_source = Text(validate=validate.OneOf(["parent-data", "schema-only"], error=_CHOICE))
    expires_at = Instant(allow_none=True)


class NewBranch(_Body):
    """A branch to be made; loads as a `BranchWish`."""

    branch = fields.Nested(_NewBranchFields, load_default=dict)
    endpoints = fields.List(fields.Nested(_NewEndpoint), load_default=list)
    annotation_value = _annotation(load_default=dict)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> BranchWish:
        branch = dict(data["branch"])
        branch.pop("archived", None)
        at = Moment(branch.pop("parent_lsn", None), branch.pop("parent_timestamp", None))
        endpoints = tuple(data["endpoints"])
        return BranchWish(at=at, endpoints=endpoints, annotation=data["annotation_value"], **branch)


class _BranchFields(_Body):
    name = _name()
    protected = Flag()
    expires_at = Instant(allow_none=True)


class BranchChanges(_Body):
    """The fields of a branch that are to change; null takes its expiry away."""

    branch = fields.Nested(_BranchFields, required=True)


class Restore(_Body):
    """What a branch is to be restored to; loads as a `RestoreWish`."""

    source_branch_id = Id(required=True)
    source_lsn = Lsn()
    source_timestamp = Instant()
    preserve_under_name = _name()

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> RestoreWish:
        at = Moment(data.get("source_lsn"), data.get("source_timestamp"))
        return RestoreWish(data["source_branch_id"], at, data.get("preserve_under_name"))


class _FirstBranch(_Body):
    name = _name()
    role_name = Text()
    database_name = Text()
    annotations = _annotation()


class _EndpointDefaults(_Body):
    pg_settings = Object()
    pgbouncer_settings = Object()
    autoscaling_limit_min_cu = _compute_unit()
    autoscaling_limit_max_cu = _compute_unit()
    suspend_timeout_seconds = _suspend_timeout()


class _ProjectFields(_Body):
    name = _name()
    settings = Object()
    default_endpoint_settings = fields.Nested(_EndpointDefaults)
    history_retention_seconds = _retention()


class _NewProjectFields(_ProjectFields):
    branch = fields.Nested(_FirstBranch, load_default=dict)
    region_id = Text()
    provisioner = Text()
    pg_version = Whole(validate=validate.Range(min=14, max=18, error=_RANGE))
    store_passwords = Flag()
    org_id = Id()
    autoscaling_limit_min_cu = _compute_unit()
    autoscaling_limit_max_cu = _compute_unit()


class NewProject(_Body):
    """A project to be made; loads as a `ProjectWish`."""

    project = fields.Nested(_NewProjectFields, required=True)

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> ProjectWish:
        project = dict(data["project"])
        project.pop("org_id", None)
        units = ("autoscaling_limit_min_cu", "autoscaling_limit_max_cu")
        limits = {name: project.pop(name) for name in units if name in project}
        project["default_endpoint_settings"] = {**limits, **project.get("default_endpoint_settings", {})}
        branch = project.pop("branch")
        keys = {"name": "branch_name", "annotations": "annotation"}
        return ProjectWish(**project, **{keys.get(key, key): value for key, value in branch.items()})


class ProjectChanges(_Body):
    """The fields of a project that are to change."""

    project = fields.Nested(_ProjectFields, required=True)


class _DatabaseFields(_Body):
    name = Text()
    owner_name = Text()


class DatabaseChanges(_Body):
    """The fields of a database that are to change."""

    database = fields.Nested(_DatabaseFields, required=True)


class _NewDatabaseFields(_Body):
    name = Text(required=True)
    owner_name = Text(required=True)


class NewDatabase(_Body):
    """A database to be made."""

    database = fields.Nested(_NewDatabaseFields, required=True)


class _NewRoleFields(_Body):
    name = Text(required=True)
    no_login = Flag(load_default=False)


class NewRole(_Body):
    """A role to be made."""

    role = fields.Nested(_NewRoleFields, required=True)
